"""`feedback report`."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.common import ConfigOption, JsonOption, console, fail, load_settings, moment, plain

if TYPE_CHECKING:
    from datetime import datetime

    from pipeline.config import Settings
    from pipeline.measures.windows import Window
    from pipeline.stores.report import Line

_DIMENSIONS = ("touchpoint", "channel", "segment")
_SHARES = ("csat", "ces_easy", "reopen", "fcr", "sla_breach", "response_rate")
_LEGEND = (
    "[dim]Each score: its value, 95 % interval, n, and the change against the window of the same length before. "
    "↑ ↓ are significant (95 %), + and - alone are not, ? is not known, new: nobody answered before.[/]"
)
_DOUBTED = 10  # names below a report


def run(
    config: ConfigOption = None,
    at: Annotated[
        str, typer.Option(help="Where the windows end, ISO 8601, UTC if it says no zone; default: now.")
    ] = "",
    window: Annotated[
        str, typer.Option(help="Windows such as 1h, separated by commas; default: all of the configuration.")
    ] = "",
    by: Annotated[
        str, typer.Option(help="Of touchpoint, channel, segment, separated by commas.")
    ] = "touchpoint",
    as_json: JsonOption = False,
) -> None:
    """Scores out of the store: value, 95 % interval, number of answers, and the change against the window before.

    Without answers there is no line: no score is not a score of 0. An empty touchpoint, channel or segment means
    all of them together.
    """
    ends = moment("--at", at) if at else None
    dimensions = _dimensions(by)
    settings = load_settings(config)
    lines = _lines(settings, ends, window, dimensions)
    if as_json:
        json.dump([line.as_json() for line in lines], sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif lines:
        _print(lines)
    else:
        console.print("No answers in these windows.")
    _warn(lines)
    _doubt({line.touchpoint for line in lines}, settings.touchpoints)


def _lines(settings: Settings, at: datetime | None, window: str, by: Sequence[str]) -> list[Line]:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from pipeline.embedded.store import open_store
    from pipeline.stores.client import connect
    from pipeline.stores.definitions import refuse_other_scales
    from pipeline.stores.report import report

    windows = _windows(window) or settings.windows
    with open_store(settings):
        client = connect(settings, write=False)
        try:
            refuse_other_scales(client, settings.catalogue().values())
            return report(client, settings.catalogue(), windows, by, at)
        except ClickHouseError as fault:
            fail(f"the store cannot tell: {fault}; was `feedback setup` run?")
        finally:
            client.close()


def _windows(text: str) -> tuple[Window, ...]:
    from pipeline.measures.windows import parse

    try:
        return tuple(parse(name.strip()) for name in text.split(",") if name.strip())
    except ValueError as fault:
        fail(str(fault))


def _dimensions(text: str) -> tuple[str, ...]:
    given = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in given if name not in _DIMENSIONS]
    if unknown:
        fail(f"--by does not know {unknown[0]}: choose from {', '.join(_DIMENSIONS)}")
    return given


def _print(lines: Iterable[Line]) -> None:
    """A row a series, a column a window; interval and n stand below each score."""
    from rich.console import Console
    from rich.table import Table

    rows: dict[tuple[str, str, str, str, str], dict[str, str]] = {}
    for line in lines:
        series = line.touchpoint, line.channel, line.segment, line.metric, line.instrument
        rows.setdefault(series, {})[line.window] = _shown(line)
    windows = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table(box=None, header_style="bold", padding=(0, 1, 1, 0))
    table.add_column("score", min_width=10, overflow="fold")
    for name in windows:
        table.add_column(name, justify="right", no_wrap=True)
    for series, row in rows.items():
        table.add_row(_title(*series), *(row.get(name, "") for name in windows))
    console = Console(highlight=False)
    console.print(table)
    console.print(_LEGEND)


def _title(touchpoint: str, channel: str, segment: str, metric: str, instrument: str) -> str:
    place = " / ".join(name for name in (touchpoint or "all", channel, segment) if name)
    return f"[bold]{plain(place)}[/]\n{metric}\n[dim]{plain(instrument)}[/]"


def _warn(lines: Iterable[Line]) -> None:
    """On stderr, so that it spoils no JSON."""
    from pipeline.stores.report import against_csat

    for one in against_csat(lines):
        ease, satisfied = one.ease.value or 0.0, one.satisfied.value or 0.0
        console.print(
            f"[yellow]warning:[/] {plain(one.touchpoint)}, {one.window}: effort runs against CSAT. By "
            f"{one.effort} it was {'hard' if ease < 50 else 'easy'} (ease {ease:.0f} of 100, n {one.ease.n}), "
            f"and by {one.csat} {satisfied:.0%} are satisfied (n {one.satisfied.n}). Is the question asked the "
            "other way round? docs/runbooks/effort-against-csat.md says how to tell."
        )


def _doubt(names: Iterable[str], known: Collection[str]) -> None:
    """Names that the configuration does not have, with those that were probably meant."""
    from pipeline.measures.touchpoints import doubted, unknown

    found = unknown(names, known)
    if found:
        more = f" and {len(found) - _DOUBTED} more" if len(found) > _DOUBTED else ""
        told = ", ".join(doubted(name, known) for name in found[:_DOUBTED])
        console.print(
            f"[yellow]not in the configuration:[/] {plain(told)}{more}. They count all the same; name them as "
            "touchpoints there, or mend the app that sends them."
        )


def _shown(line: Line) -> str:
    metric, score = line.metric, line.score
    below = f"n {score.n}"
    if score.lower is not None and score.upper is not None:
        ends = (_number(metric, end, digits=0) for end in (score.lower, score.upper))
        below = f"{' to '.join(ends)}\n{below}"
    return f"[bold]{_number(metric, score.value, digits=1)}[/]\n[dim]{below}[/]\n{_change(line)}"


def _change(line: Line) -> str:
    """An arrow only where it is significant: without one, chance alone may have done it."""
    if line.change is None:
        return "[dim]new[/]"
    sign = "-" if line.change < 0 else "+"
    size = _difference(line.metric, abs(line.change))
    if line.significant is None:
        return f"[dim]{sign}{size}?[/]"
    arrow = "↓" if line.change < 0 else "↑"
    return f"[bold]{arrow} {sign}{size}[/]" if line.significant else f"[dim]{sign}{size}[/]"


def _difference(metric: str, size: float) -> str:
    if metric == "resolution":
        return _duration(size)
    if metric in _SHARES:
        return f"{100 * size:.1f} points"
    return f"{size:.2f}" if metric in ("ces", "ces_ease") else f"{size:.1f}"


def _number(metric: str, value: float | None, digits: int) -> str:
    if value is None:
        return "?"
    if metric == "resolution":
        return _duration(value)
    if metric in _SHARES:
        return f"{100 * value:.{digits}f}%"
    if metric in ("ces", "ces_ease"):
        return f"{value:.{1 + digits}f}"
    return f"{value:+.{digits}f}"


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
