"""`feedback schema list`, `check` and `register`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.table import Table

from pipeline.cli.common import ConfigOption, JsonOption, console, fail, load_settings

run = typer.Typer(
    help="The Avro schemas of all records, and what a registry knows of them.", no_args_is_help=True
)


@run.command("list")
def show(as_json: JsonOption = False) -> None:
    """The schemas and their ids, as schemas/registry.json has them."""
    from pipeline.events.schemas import all_schemas

    rows = [
        {"subject": one.subject, "version": one.version, "id": one.schema_id, "record": one.name}
        for one in all_schemas()
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("subject", "version", "id", "record")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)


@run.command()
def check(config: ConfigOption = None) -> None:
    """Whether every version can read all earlier ones, here and in the registry; exit code 1 if not."""
    from pipeline.events.compatibility import faults
    from pipeline.events.schemas import all_schemas
    from pipeline.streams.registering import incompatible

    found = list(faults(all_schemas()))
    settings = load_settings(config)
    if settings.registry_url:
        found += asyncio.run(incompatible(settings))
    for fault in found:
        typer.echo(fault)
    if found:
        fail("records that are there could not be read any more: give new fields a default, keep other types")
    console.print("[green]every version reads all earlier ones[/]")


@run.command()
def register(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    dry_run: Annotated[
        bool, typer.Option("--check", help="Only say which are missing; exit code 1 if any is.")
    ] = False,
) -> None:
    """Make our schemas known to the registry of the configuration; again does no harm."""
    from pipeline.streams.registering import find, put

    settings = load_settings(config)
    if not settings.registry_url:
        fail(
            "there is no registry_url in the configuration: ids come from schemas/registry.json, nothing is to do"
        )
    ids = asyncio.run(find(settings) if dry_run else put(settings))
    if as_json:
        typer.echo(json.dumps(ids))
    else:
        for subject, number in ids.items():
            typer.echo(f"{subject}: {'is missing' if number is None else number}")
    if None in ids.values():
        fail("the registry does not know all of our schemas: run feedback schema register")
