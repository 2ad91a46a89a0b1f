"""`feedback check-config`."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from pipeline.cli.common import ConfigOption, console, load_settings
from pipeline.config import Settings

BYTES_AN_ID = 37  # measured: python -m bench.recovery
_LOGIN = re.compile(r"//[^/@]*@")  # in an address
_BUSY_SHARE = 0.5  # of the machine's memory; the rest is for the windows, the store and the system


def run(
    config: ConfigOption = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Print every key with its default and meaning.")
    ] = False,
) -> None:
    """Check the configuration: every fault at once, or what is in force and the memory it will take.

    Ids are remembered for the horizon, so rate times horizon is what a worker must hold. Where a broker answers, the
    configuration is compared with what was set up there: partitions, and the scales of instruments.
    """
    if keys:
        from pipeline.config.reference import reference

        typer.echo(reference(), nl=False)
        return
    settings = load_settings(config)
    for line in changed(settings.model_dump(mode="json"), Settings().model_dump(mode="json")):
        typer.echo(line)
    typer.echo(memory_line(settings))
    warning = memory_warning(settings)
    if warning:
        console.print(f"[yellow]warning:[/] {warning}")
    _compare_with_what_is_set_up(settings)
    console.print("[green]the configuration is valid[/]")


def _compare_with_what_is_set_up(settings: Settings) -> None:
    from pipeline.errors import Away
    from pipeline.streams.setup import ensure

    try:
        lack = asyncio.run(ensure(settings, check=True)).lack
    except Away as away:
        console.print(f"not compared with what is set up: {away}", markup=False)
        return
    if lack:
        console.print(lack, markup=False)


def changed(values: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """`key = value` of everything that is not at its default; secrets come masked from pydantic."""
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, dict) and (isinstance(default, dict) or default is None):
            yield from changed(value, default or {}, f"{prefix}{key}.")
        elif value != default:
            yield f"{prefix}{key} = {_LOGIN.sub('//***@', str(value))}"


def memory_of_ids(settings: Settings) -> float:
    """Bytes that the ids take when all expected events come on the input with the longer horizon."""
    horizon = max(settings.horizon_of("responses"), settings.horizon_of("touchpoints"))
    return settings.expected_rate * horizon * BYTES_AN_ID


def memory_line(settings: Settings) -> str:
    """What the ids take, as a sentence."""
    megabytes = memory_of_ids(settings) / 1e6
    return (
        f"at {settings.expected_rate:g} events/s the ids of the horizon take about {megabytes:,.0f} MB "
        "over all workers"
    )


def memory_warning(settings: Settings) -> str:
    """Why this machine is too small for it; empty if it is not."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory_of_ids(settings) <= machine * _BUSY_SHARE:
        return ""
    return (
        f"that is more than half of this machine's {machine / 1e9:.1f} GB: shorten horizon "
        "(or horizons.responses, horizons.touchpoints), or spread the partitions over more workers"
    )
