"""`feedback setup`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.common import ConfigOption, console, fail, load_settings

if TYPE_CHECKING:
    from pipeline.config import Settings


def run(
    config: ConfigOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only report what is missing; exit code 1 if anything is.")
    ] = False,
) -> None:
    """Make the topics, schemas and tables that are missing, and correct their settings.

    Run it before the first start and after each upgrade; again does no harm. It never changes the number of
    partitions and never deletes anything.
    """
    settings = load_settings(config)
    with _store(settings, start=not check):
        _refuse_what_is_stored_otherwise(settings, check=check)
        complete = _topics(settings, check=check)
        complete = _schemas(settings, check=check) and complete
        complete = _tables(settings, check=check) and complete
    if complete:
        console.print("[green]everything is in place[/]")
    elif check:
        console.print("run feedback setup to mend this")
        raise typer.Exit(1)


@contextmanager
def _store(settings: Settings, *, start: bool) -> Iterator[None]:
    """Have the embedded store answer meanwhile, where the configuration wants one."""
    from pipeline.embedded.store import ensure_store

    started = ensure_store(settings) if start else None
    try:
        yield
    finally:
        if started is not None:
            started.stop()


def _refuse_what_is_stored_otherwise(settings: Settings, *, check: bool) -> None:
    """New topics over tables that still tell of the old ones, or scales over answers on others, were wrong numbers."""
    from pipeline.errors import FeedbackError
    from pipeline.reset.tables import half_done
    from pipeline.stores.client import connect
    from pipeline.stores.definitions import refuse_other_scales

    try:
        client = connect(settings, write=False)
    except FeedbackError:
        return  # no database yet: nothing was ever stored
    with client:
        refuse_other_scales(client, settings.catalogue().values())
        if not check and half_done(client):
            fail("a `feedback reset` was broken off: run it again before anything else")


def _topics(settings: Settings, *, check: bool) -> bool:
    """Whether there was nothing to do."""
    from pipeline.streams.setup import ensure

    report = asyncio.run(ensure(settings, check=check))
    for name in report.missing:
        typer.echo(f"topic {name}: {'is missing' if check else 'made'}")
    for change in report.changed:
        typer.echo(f"topic {change}")
    for line in report.instruments:
        typer.echo(f"instrument {line}{' is not recorded' if check else ''}")
    return report.complete


def _schemas(settings: Settings, *, check: bool) -> bool:
    """Whether the registry had all of them, where there is one."""
    from pipeline.streams.registering import find, put

    if not settings.registry_url:
        return True
    missing = [subject for subject, number in asyncio.run(find(settings)).items() if number is None]
    if missing and not check:
        asyncio.run(put(settings))
    for subject in missing:
        typer.echo(f"schema of {subject}: {'is missing' if check else 'registered'}")
    return not missing


def _tables(settings: Settings, *, check: bool) -> bool:
    """Whether there was nothing to do."""
    from pipeline.stores.client import connect
    from pipeline.stores.migrate import bring_up, pending

    # "default" is there before our own database is.
    client = connect(settings, write=not check, database="default")
    done = pending(client, settings.store.database) if check else bring_up(client, settings)
    for name in done:
        typer.echo(f"migration {name}: {'is missing' if check else 'applied'}")
    return not done
