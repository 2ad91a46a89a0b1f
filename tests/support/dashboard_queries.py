"""Every query of a committed dashboard, with variables and macros put in as Grafana and its plugin do it.

for query in queries(DASHBOARD, start=start, end=end, window="1h"):
    assert run(query, monitoring, "http://127.0.0.1:8123"), query.where
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from tests.support.monitoring import Monitoring

DASHBOARD = Path(__file__).parents[2] / "grafana" / "dashboards" / "overview.json"
ALL = "$__all"  # what Grafana stores where a variable stands on All
Source = Literal["prometheus", "clickhouse"]


@dataclass(frozen=True, slots=True)
class Query:
    """A query as the data source gets it. `over` is "time" for a graph, "now" for a single answer."""

    where: str
    source: Source
    over: Literal["time", "now"]
    text: str
    seconds: float


def load(path: Path = DASHBOARD) -> dict[str, Any]:
    """The dashboard as JSON."""
    board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return board


def queries(
    path: Path = DASHBOARD, *, start: datetime, end: datetime, touchpoint: str = ALL, window: str = "24h"
) -> list[Query]:
    """All queries of the panels and variables for one choice of variables and one time range."""
    board = load(path)
    chosen = {"touchpoint": touchpoint, "window": window}
    return [*_of_variables(board, start, end), *_of_panels(board, chosen, start, end)]


def run(query: Query, monitoring: Monitoring, store: str, database: str = "feedback") -> list[Any]:
    """What the query returns: Prometheus samples, or rows of the store's HTTP door at `store`."""
    if query.source == "clickhouse":
        return select(query, store, database)
    if query.over == "now":
        return list(monitoring.query(query.text))
    return list(monitoring.query_range(query.text, query.seconds, step=max(1.0, query.seconds / 500)))


def select(query: Query, store: str, database: str = "feedback") -> list[Any]:
    """Rows of a ClickHouse query. A graph needs a time in order and a number: the plugin refuses others."""
    url = f"{store}/?{urllib.parse.urlencode({'database': database, 'default_format': 'JSONCompact'})}"
    try:
        with urllib.request.urlopen(url, query.text.encode(), timeout=30) as answer:
            body = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{query.where}: {error.read().decode()[:500]}") from error
    if query.over == "time":
        _check_graph(query.where, [column["type"] for column in body["meta"]], body["data"])
    rows: list[Any] = body["data"]
    return rows


def _check_graph(where: str, types: list[str], rows: list[list[Any]]) -> None:
    times = [position for position, kind in enumerate(types) if "Date" in kind]
    assert times, f"{where}: no time column in {types}"
    assert any(re.match(r"(Nullable\()?(U?Int|Float)", kind) for kind in types), (
        f"{where}: no number in {types}"
    )
    column = [row[times[0]] for row in rows]
    assert column == sorted(column), f"{where}: not in the order of time"


def _of_variables(board: dict[str, Any], start: datetime, end: datetime) -> Iterator[Query]:
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert match, f"variable {variable['name']}: not a label_values query"
            text = f"count by ({match[2]}) ({match[1]})"
            seconds = (end - start).total_seconds()
            yield Query(f"variable {variable['name']}", "prometheus", "now", text, seconds)


def _of_panels(
    board: dict[str, Any], chosen: Mapping[str, str], start: datetime, end: datetime
) -> Iterator[Query]:
    everything = {one["name"]: one.get("allValue") for one in board["templating"]["list"]}
    for panel in board["panels"]:
        for target in panel["targets"]:
            where, seconds = f"{panel['title']}, {target['refId']}", (end - start).total_seconds()
            if "rawSql" in target:
                text = sql(target["rawSql"], chosen, start, end)
                yield Query(where, "clickhouse", "now" if target["format"] else "time", text, seconds)
            else:
                text = promql(target["expr"], chosen, everything)
                yield Query(where, "prometheus", "now" if target.get("instant") else "time", text, seconds)


def promql(expr: str, chosen: Mapping[str, str], everything: Mapping[str, str | None]) -> str:
    """Variables in a PromQL expression: All becomes the variable's own value for it, the rest is escaped."""

    def value(match: re.Match[str]) -> str:
        picked = chosen[match[1]]
        if picked == ALL:
            return everything[match[1]] or ".+"
        return re.escape(picked).replace("\\", "\\\\")

    return re.sub(r"\$(\w+)", value, expr.replace("$__rate_interval", "1m"))


def sql(text: str, chosen: Mapping[str, str], start: datetime, end: datetime, interval: int = 60) -> str:
    """Macros and variables in SQL, as plugin 4.20 expands them; an unknown macro is a ValueError."""
    text = re.sub(r"\$__conditionalAll\((.+), \$(\w+)\)", lambda m: _unless_all(m, chosen), text)
    text = re.sub(r"\$\{(\w+):singlequote\}", lambda m: _quoted(chosen[m[1]]), text)
    since, until = f"toDateTime({int(start.timestamp())})", f"toDateTime({int(end.timestamp())})"
    text = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {since} AND \1 <= {until}", text)
    bucket = rf"toStartOfInterval(toDateTime(\1), INTERVAL {interval} second)"
    text = re.sub(r"\$__timeInterval\((\w+)\)", bucket, text)
    text = re.sub(r"\$__fromTime\b", since, text)
    text = re.sub(r"\$__toTime\b", until, text)
    if "$" in text:
        raise ValueError(f"left over: {text[text.index('$') :][:40]}")
    return text


def _unless_all(match: re.Match[str], chosen: Mapping[str, str]) -> str:
    return "1=1" if chosen[match[2]] == ALL else match[1]


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
