"""`feedback query`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from pipeline.cli.common import ConfigOption, JsonOption, fail, load_settings

_SETTINGS = {
    "output_format_json_quote_64bit_integers": 0,
    "wait_end_of_query": 1,
    "session_timezone": "UTC",  # the *_at views read `at` as UTC, and a server may have another zone
}


def run(
    sql: Annotated[str, typer.Argument(help="One statement that reads; - for stdin.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    param: Annotated[
        list[str] | None,
        typer.Option(
            help="A value for {name:Type} in the statement.", metavar="NAME=VALUE", show_default=False
        ),
    ] = None,
) -> None:
    """Ask the store in SQL: a table for people, or with --json a list of row objects.

    feedback query "SELECT touchpoint, value, n FROM csat_at(at = now(), seconds = 3600) WHERE channel = ''"
    """
    parameters = _parameters(param or ())
    text = sys.stdin.read() if sql == "-" else sql
    columns, rows = _answer(config, text, parameters)
    if as_json:
        json.dump([dict(zip(columns, row, strict=True)) for row in rows], sys.stdout, default=str, indent=1)
        sys.stdout.write("\n")
    else:
        _print(columns, rows)


def _answer(config: Any, sql: str, parameters: Mapping[str, str]) -> tuple[Sequence[str], list[list[Any]]]:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from pipeline.embedded.store import open_store
    from pipeline.stores.client import connect

    settings = load_settings(config)
    with open_store(settings):
        client = connect(settings, write=False)
        try:
            raw = client.raw_query(
                sql,
                parameters=dict(parameters),
                fmt="JSONCompact",
                settings=_SETTINGS,
            )
        except ClickHouseError as fault:
            fail(_said(fault))
    return _parsed(raw)


def _parsed(raw: bytes) -> tuple[Sequence[str], list[list[Any]]]:
    """Columns and rows; a statement such as SET gives none."""
    if not raw.strip():
        return (), []
    answer = json.loads(raw)
    return [column["name"] for column in answer["meta"]], answer["data"]


def _said(fault: Exception) -> str:
    """What the server said, without what the client puts around it."""
    text = str(fault)
    start = text.find("DB::Exception: ")
    return f"the store says: {text[start + 15 :].partition(' (version ')[0]}" if start >= 0 else text


def _parameters(given: Iterable[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    wrong = [name for name, sign, _ in pairs if not sign or not name]
    if wrong:
        fail(f"--param {wrong[0]}: write it as NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _print(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pipeline.logs import printable

    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else printable(str(value))) for value in row))
    Console(highlight=False).print(table)
