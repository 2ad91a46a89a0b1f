"""`feedback trace`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.common import ConfigOption, JsonOption, fail, load_settings, plain
from pipeline.cli.terms import terms_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.verify.trace import Event, Trace


def run(
    identity: Annotated[str, typer.Argument(metavar="ID", help="A response_id, an event_id or a case_id.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Where is my event: its position, its outcome, the cell it counts in, and what came before it.

    Every record of the id is a line, in the order in which they lie in the topic; dead letters whose bytes hold the id
    come last.
    """
    found = _found(config, identity)
    if not found.events and not found.dead_letters:
        fail(
            f"nothing is known of {identity}, in the raw tables and among the dead letters alike: a record is stored "
            "seconds after it was sent, and only with a worker running"
        )
    if as_json:
        json.dump(found.as_json(), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        _print(found)


def _found(config: object, identity: str) -> Trace:
    from pipeline.embedded.store import open_store
    from pipeline.stores.client import connect
    from pipeline.verify.raw import KINDS
    from pipeline.verify.trace import trace

    settings = load_settings(config)  # type: ignore[arg-type]  # a Path or None, by typer
    horizons = {kind: round(settings.horizon_of(kind) * 1000) for kind in KINDS}
    with open_store(settings), connect(settings, write=False) as client:
        return trace(client, settings.kafka.prefix, horizons, identity, terms_of(settings))


def _print(found: Trace) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 1, 1, 0))
    for name in ("position", "what", "outcome", "cell"):
        table.add_column(name, overflow="fold")
    for event in found.events:
        table.add_row(*_line(event))
    for clock in found.clocks:
        said = f"{clock['seconds']:g} s" if clock["instrument"] else ("no", "yes")[clock["bin"]]
        table.add_row("", f"{clock['instrument'] or clock['metric']}\n[dim]{said}[/]", "", _cell(clock))
    for letter in found.dead_letters:
        place = f"{letter['topic']}/{letter['partition']} {letter['offset']}\n[dim]{letter['time']}[/]"
        table.add_row(place, "", f"dead_letter\n[dim]{letter['reason']}: {plain(letter['detail'])}[/]", "")
    Console(highlight=False).print(table)


def _line(event: Event) -> tuple[str, str, str, str]:
    version = f", revision {event.revision}" if event.revision else ""
    what = (
        f"{plain(event.what)}\n[dim]{plain(event.id)}{version}{', retracted' if event.retracted else ''}[/]"
    )
    notes = ["will be, once it is counted"] if event.pending else []
    if event.before is not None:
        notes.append(f"offset {event.before} came before it")
    if event.outcome == "late" and event.counts:
        notes.append("counts since `feedback rebuild`")
    cell = _cell(event.cell) if event.cell else ""
    if cell and not event.counts:
        cell += "\n[dim]no more: a newer version took it out[/]"
    place = f"{event.topic}/{event.partition} {event.offset}\n[dim]arrived {event.arrived}[/]"
    return place, f"{what}\n[dim]{event.happened}[/]", f"{event.outcome}\n[dim]{', '.join(notes)}[/]", cell


def _cell(cell: Mapping[str, Any]) -> str:
    names = ("metric", "instrument", "touchpoint", "channel", "segment")
    return f"{' / '.join(plain(cell[name]) for name in names)}\n{cell['bucket']}, bin {cell['bin']}"
