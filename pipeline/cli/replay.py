"""`feedback replay`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.common import ConfigOption, console, load_settings
from pipeline.cli.sending import BootstrapOption, late_progress, open_client, scales_of
from pipeline.logs import printable

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.replay import EventMap, History, Report


FileArgument = Annotated[
    Path,
    typer.Argument(help="CSV, JSON (lines or a list) or Avro, also as .gz.", exists=True, dir_okay=False),
]
MapOption = Annotated[
    Path, typer.Option("--map", help="Mapping from rows to events, TOML.", exists=True, dir_okay=False)
]
ShiftOption = Annotated[
    bool, typer.Option("--shift-to-now", help="Move all times so that the last event is now.")
]
SpeedOption = Annotated[
    float | None,
    typer.Option(
        help="60 plays an hour in a minute; default: as fast as it goes.", min=0.001, show_default=False
    ),
]


def run(
    file: FileArgument,
    mapping: MapOption,
    shift_to_now: ShiftOption = False,
    speed: SpeedOption = None,
    bootstrap: BootstrapOption = None,
    config: ConfigOption = None,
) -> None:
    """Send history from a file, sorted by time.

    What a row means is said by the mapping; docs/replay.md explains its language. A row that makes no
    event is reported with its line and the rest goes on; the exit code is 0 only when all rows went well.
    Live counting takes what is at most `horizon` behind the newest event, so old history goes into an empty
    pipeline (or a kafka.prefix of its own) or is followed by a rebuild.
    """
    from pipeline.replay import load_mapping, send_history

    settings = load_settings(config)
    rules = load_mapping(mapping)
    history = _read(file, rules, settings)
    _complain(history)
    count = len(history.messages)
    with open_client(settings, "replay", bootstrap) as feedback, late_progress("sending", count) as tell:
        report = send_history(
            history, feedback, shift_to_now=shift_to_now, speed=speed, on_sent=lambda sent, _: tell(sent)
        )
    _summarise(report)
    if report.faults:
        raise typer.Exit(1)


def _complain(history: History) -> None:
    for fault in history.faults:
        console.print(printable(str(fault)), markup=False, highlight=False)
    for number in history.idle:
        console.print(f"event {number} of the mapping: no row meets its conditions")


def _read(file: Path, rules: EventMap, settings: Settings) -> History:
    from pipeline.client.message import Rules
    from pipeline.replay import read_history

    checks = Rules(now=time.time_ns() // 1_000_000, scales=scales_of(settings), known_only=True)
    with late_progress("reading", file.stat().st_size) as tell:
        return read_history(file, rules, checks, lambda done, _: tell(done))


def _summarise(report: Report) -> None:
    bad = len({fault.place for fault in report.faults})
    console.print(f"{report.rows:,} rows, {bad:,} of them bad; {report.events:,} events acknowledged", end="")
    if report.first and report.last:
        speed = report.events / max(report.seconds, 0.001)
        console.print(
            f" ({speed:,.0f}/s), from {report.first:%Y-%m-%d %H:%M} to {report.last:%Y-%m-%d %H:%M} UTC",
            end="",
        )
    console.print()
