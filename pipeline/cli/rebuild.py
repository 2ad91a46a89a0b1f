"""`feedback rebuild`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.common import (
    ConfigOption,
    JsonOption,
    console,
    fail,
    load_settings,
    moment,
    plain,
    progress,
    tell,
)
from pipeline.cli.terms import terms_of

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.rebuild.stored import Span
    from pipeline.verify.result import Result

_WRITTEN = "ISO 8601, UTC if it says no zone"


def run(
    config: ConfigOption = None,
    first: Annotated[str, typer.Option("--from", help=f"{_WRITTEN}; default: the first record.")] = "",
    stop: Annotated[
        str, typer.Option("--to", help=f"Not included. {_WRITTEN}; default: the last record.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Count what live counting left out: late records, history, a changed mapping of instruments.

    Everything in the raw tables is recounted by id; what live cells lack (or have too much) becomes cells of origin
    'rebuild', which all views add. Live cells stay as they are. Run it as often as you like, also while the stream
    moves: a second run changes nothing.
    """
    tell(_rebuilt(config, _wanted(first, stop)), _print, as_json=as_json)


def _wanted(first: str, stop: str) -> Span:
    from pipeline.rebuild.run import EVERYTHING
    from pipeline.rebuild.stored import Span

    wanted = Span(
        _minute("--from", first) if first else EVERYTHING.first,
        _minute("--to", stop) if stop else EVERYTHING.stop,
    )
    if wanted.first >= wanted.stop:
        fail("--from must be before --to, by at least a minute")
    return wanted


def _minute(option: str, text: str) -> int:
    return int(moment(option, text).timestamp()) // 60


def _rebuilt(config: Path | None, wanted: Span) -> Result:
    from pipeline.embedded.store import open_store
    from pipeline.rebuild.run import rebuild
    from pipeline.stores.client import connect
    from pipeline.stores.definitions import refuse_other_scales

    settings = load_settings(config)
    metrics = {name: one.metric for name, one in settings.catalogue().items()}
    with open_store(settings), connect(settings, write=True, timeout=600.0) as client:
        refuse_other_scales(client, settings.catalogue().values())
        return rebuild(
            client,
            settings.kafka.prefix,
            metrics,
            settings.raw_retention,
            terms_of(settings),
            wanted,
            lambda spans: progress("recounting", total=spans or None),
        )


def _print(result: Result) -> None:
    checked = result.checked
    since = f" from {checked['from']}" if checked["from"] else ""
    until = f" to {checked['to']}" if checked["to"] else ""
    if checked["not_covered"]:
        console.print(f"not covered: {plain(', '.join(checked['not_covered']))}")
    if checked["still_moving"]:
        console.print(f"{checked['still_moving']} minutes moved all the time: run it again to rebuild these")
    if checked["changed"]:
        typer.echo(f"rebuilt {checked['changed']:,} cells{since}{until}")
    else:
        typer.echo(f"nothing to rebuild{since}{until}: all cells are as a recount gives them")
    if result.differences:
        typer.echo(f"{result.differences:,} cells are not as they were written: is another rebuild running?")
