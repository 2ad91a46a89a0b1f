"""`feedback verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cli.common import ConfigOption, JsonOption, console, load_settings, plain, progress, tell
from pipeline.cli.terms import terms_of

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.verify.result import Result


def run(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Recompute outcomes and cells from the raw tables; any difference is an error (exit code 1).

    The raw tables are the log: one row a record that is no dead letter. The recount shares no code with the worker.
    The stream may go on meanwhile: what differs is looked at again.
    """
    tell(_verified(config), _print, as_json=as_json)


def _verified(config: Path | None) -> Result:
    from pipeline.embedded.store import open_store
    from pipeline.stores.client import connect
    from pipeline.verify.check import verify
    from pipeline.verify.raw import KINDS

    settings = load_settings(config)
    horizons = {kind: round(settings.horizon_of(kind) * 1000) for kind in KINDS}
    with open_store(settings), connect(settings, write=False, timeout=600.0) as client:
        return verify(
            client,
            settings.kafka.prefix,
            horizons,
            settings.raw_retention,
            terms_of(settings),
            lambda offsets: progress("recounting", total=offsets or None),
        )


def _print(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table

    checked = result.checked
    table = Table(box=None, header_style="bold")
    columns = ("topic", "partition", "to_offset", "records", "raw_rows", "dead_letters")
    for name in columns:
        table.add_column(name.replace("_", " "), justify="left" if name == "topic" else "right")
    for one in checked["partitions"]:
        table.add_row(*(str(one[name]) for name in columns))
    out = Console(highlight=False)
    out.print(table)
    since = f"from {checked['from']} on" if checked["from"] else "from the first record on"
    out.print(f"{checked['cells']:,} cells and the outcomes of {checked['raw_rows']:,} raw rows, {since}.")
    for detail in result.details:
        out.print(plain(_sentence(detail)))
    if checked["not_covered"]:
        console.print(f"not covered: {plain(', '.join(checked['not_covered']))}")
    if not checked["rules_told"]:
        console.print(
            "what hangs on [sla], [schedules], [cases], [follow_ups] and [instruments] was not judged, since nobody "
            "knows since when workers have had these: run feedback setup, then start them",
            markup=False,
        )
    if checked["still_moving"]:
        console.print(f"{checked['still_moving']} values moved all the time: run it again to judge these")
    since = checked["rebuilt"]
    if since and (since["twice"] or since["waiting"]):
        console.print(
            f"since the last rebuild {since['waiting']:,} more records wait for the next one, and {since['twice']:,} "
            "count twice until then: run feedback rebuild"
        )
    out.print(f"[bold]{result.differences:,} differences[/]")


def _sentence(detail: object) -> str:
    one: dict[str, object] = dict(detail)  # type: ignore[call-overload]  # a mapping
    sides = f"recounted {one.pop('recounted')}, stored {one.pop('stored')}"
    return f"{one.pop('kind')} {' / '.join(str(value) for value in one.values())}: {sides}"
