"""`feedback follow-ups`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from pipeline.cli.common import ConfigOption, JsonOption, console, fail, load_settings, plain

Kind = Literal["detractor", "hard_effort", "sla_breach", "reopened"]


def run(
    config: ConfigOption = None,
    kind: Annotated[Kind | None, typer.Option(help="Only these.", show_default=False)] = None,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only those that wait longer than was allowed.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Those that a contact has closed, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many at most.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Whom somebody must call back, the most overdue first.

    Each detractor, very hard effort, broken promise and reopened case is listed until somebody was in contact with
    that customer or about that case.
    """
    rows, owners = _rows(config, kind or "", overdue=overdue, closed=everything, limit=limit)
    if as_json:
        listed = [{**row, "owner": owners.get(row["touchpoint"], "")} for row in rows]
        json.dump(listed, sys.stdout, default=_written, indent=1)
        sys.stdout.write("\n")
    elif rows:
        _print(rows, owners)
    else:
        console.print("Nobody waits for a call.")


def _rows(
    config: Any, kind: str, *, overdue: bool, closed: bool, limit: int
) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, str]]:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from pipeline.embedded.store import open_store
    from pipeline.stores.client import connect
    from pipeline.stores.follow_ups import listed

    settings = load_settings(config)
    owners = {name: one.owner for name, one in settings.touchpoints.items() if one.owner}
    with open_store(settings), connect(settings, write=False) as client:
        try:
            return listed(client, kind=kind, overdue=overdue, closed=closed, limit=limit), owners
        except ClickHouseError as fault:
            fail(f"the store cannot tell: {fault}; was `feedback setup` run?")


def _written(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _print(rows: Sequence[Mapping[str, Any]], owners: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in ("due (UTC)", "why", "who", "where", "owner"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(_due(row), _why(row), _who(row), *map(plain, _where(row, owners)))
    Console(highlight=False).print(table)


def _due(row: Mapping[str, Any]) -> str:
    due = f"{row['due_at']:%Y-%m-%d %H:%M}" if row["due_at"] else ""
    if row["contacted_at"]:
        return f"[green]done[/] after {row['seconds_to_contact'] / 3600:.1f} h"
    return f"[bold red]{due}[/] overdue" if row["overdue"] else due


def _why(row: Mapping[str, Any]) -> str:
    if row["score"] is None:
        return str(row["kind"])
    return f"{row['kind']}\n[dim]{row['score']} on {row['instrument']}[/]"


def _where(row: Mapping[str, Any], owners: Mapping[str, str]) -> tuple[str, str]:
    return row["touchpoint"], owners.get(row["touchpoint"], "")


def _who(row: Mapping[str, Any]) -> str:
    named = (("customer", row["customer_id"]), ("case", row["case_id"]), ("answer", row["response_id"]))
    return "\n".join(f"[dim]{what}[/] {plain(name)}" for what, name in named if name)
