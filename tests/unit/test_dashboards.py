"""The committed dashboards: what the generator renders, and nothing in them that Grafana shows wrongly."""

import copy
import json
import re
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

from grafana import clickhouse, generate, metrics_page
from pipeline.stores import metrics
from tests.support import dashboard_queries
from tests.support.dashboard_queries import ALL, load
from tests.support.metric_names import unknown

UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
Json = dict[str, Any]
START, END = datetime(2026, 11, 21, 12, tzinfo=UTC), datetime(2026, 11, 21, 13, tzinfo=UTC)


def faults(board: Json) -> list[str]:
    """Everything that Grafana would swallow in silence and show wrongly."""
    found = [f"uid {board['uid']}"] * (not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", board["uid"]))
    found += ["an id of one installation"] * (board.get("id") is not None)
    found += ["not the classic model"] * ("apiVersion" in board or board["schemaVersion"] < 39)
    ids = [panel.get("id") for panel in board["panels"]]
    found += [f"panel ids {ids}"] * (None in ids or len(set(ids)) != len(ids))
    for panel in board["panels"]:
        found += [f"{panel['title']}: {fault}" for fault in panel_faults(panel, board["templating"]["list"])]
    for one, other in combinations(board["panels"], 2):
        found += [f"{one['title']} overlaps {other['title']}"] * overlap(one["gridPos"], other["gridPos"])
    return found


def panel_faults(panel: Json, variables: list[Json]) -> list[str]:
    defaults, place = panel["fieldConfig"]["defaults"], panel["gridPos"]
    found = ["no title"] * (not panel.get("title")) + ["no description"] * (not panel.get("description"))
    found += [f"unit {defaults.get('unit')}"] * (defaults.get("unit") not in UNITS)
    found += ["no text for no data"] * (defaults.get("noValue") not in {"no responses", "nothing shown"})
    found += ["wider than the grid"] * (place["x"] + place["w"] > 24)
    found += ["thresholds out of order"] * (not in_order(defaults.get("thresholds", {}).get("steps", [])))
    ids = [target.get("refId") for target in panel["targets"]]
    found += [f"refIds {ids}"] * (None in ids or len(set(ids)) != len(ids))
    return found + [fault for target in panel["targets"] for fault in target_faults(panel, target, variables)]


def target_faults(
    panel: dict[str, Any], target: dict[str, Any], variables: list[dict[str, Any]]
) -> list[str]:
    sources = {f"${{{one['name']}}}": one["query"] for one in variables if one["type"] == "datasource"}
    used = re.findall(r"\$\{?(?!__)(\w+)", target.get("expr") or target.get("rawSql") or "")
    unknown = set(used) - {one["name"] for one in variables}
    found = [f"unknown variables {unknown}"] * bool(unknown)
    for source in (panel["datasource"], target["datasource"]):
        found += [f"data source {source}"] * (sources.get(source["uid"]) != source["type"])
    if "rawSql" in target:
        found += ["not the panel's shape"] * ((panel["type"] == "timeseries") != (target["format"] == 0))
    return found


def in_order(steps: list[Json]) -> bool:
    values = [step["value"] for step in steps]
    return not values or (values[0] is None and None not in values[1:] and values[1:] == sorted(values[1:]))


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    return across and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]


@pytest.mark.parametrize("name", generate.rendered())
def test_the_committed_file_is_what_the_generator_renders(name: str) -> None:
    committed = (generate.FOLDER / name).read_text(encoding="utf-8")
    assert committed == generate.rendered()[name], "run: python -m grafana.generate"


def test_the_page_of_metrics_is_what_the_generator_renders() -> None:
    committed = generate.METRICS_PAGE.read_text(encoding="utf-8")
    assert committed == metrics_page.text(), "run: python -m grafana.generate"


def test_the_page_of_metrics_explains_every_metric_and_label() -> None:
    text = metrics_page.text()
    for metric in metrics.ALL:
        assert text.count(f"| `{metric.name}` |") == 1
    assert metrics_page.LABELS.keys() == {label for metric in metrics.ALL for label in metric.labels}


def test_no_file_without_a_generator() -> None:
    assert {path.name for path in generate.FOLDER.iterdir()} == set(generate.rendered())


@pytest.mark.parametrize("name", generate.rendered())
def test_a_file_survives_being_read_and_written_by_the_sdk(name: str) -> None:
    plugins.register_default_plugins()
    clickhouse.register()
    text = (generate.FOLDER / name).read_text(encoding="utf-8")
    read = generate.finish(models.Dashboard.from_json(json.loads(text)))
    assert generate.encode(read) == text


@pytest.mark.parametrize("name", generate.rendered())
def test_structure(name: str) -> None:
    board = load(generate.FOLDER / name)
    assert faults(board) == []
    assert 6 <= len(board["panels"]) <= 8
    assert [one["name"] for one in board["templating"]["list"]][:2] == ["datasource", "clickhouse"]


def spoil(board: Json, path: str, value: Any) -> Json:
    """A copy of the board with `value` at the dotted `path`."""
    spoilt = copy.deepcopy(board)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place: Any = spoilt
    for key in parents:
        place = place[key]
    place[last] = value
    return spoilt


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("uid", "an uid with spaces"),
        ("id", 7),
        ("panels.1.id", 1),
        ("panels.1.gridPos.x", 7),
        ("panels.2.gridPos.w", 9),
        ("panels.0.description", ""),
        ("panels.0.fieldConfig.defaults.unit", "percents"),
        ("panels.0.fieldConfig.defaults.noValue", "0"),
        ("panels.0.fieldConfig.defaults.thresholds.steps.2.value", -5),
        ("panels.0.targets.1.refId", "A"),
        ("panels.0.targets.0.expr", "feedback_score{touchpoint=~'$touchpiont'}"),
        ("panels.0.targets.0.datasource.uid", "PBFA97CFB590B2093"),
        ("panels.4.targets.0.format", 1),
    ],
)
def test_the_lint_sees_it(path: str, value: Any) -> None:
    assert len(faults(spoil(load(), path, value))) == 1


@pytest.mark.parametrize("name", generate.rendered())
def test_prometheus_is_asked_for_what_the_worker_shows(name: str) -> None:
    board = load(generate.FOLDER / name)
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"] if "expr" in target]
    asked += [one["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    assert [(expr, unknown(expr)) for expr in asked if unknown(expr)] == []


def every(**chosen: str) -> dict[str, dashboard_queries.Query]:
    return {query.where: query for query in dashboard_queries.queries(start=START, end=END, **chosen)}


def test_all_selects_the_overall_series_and_every_row() -> None:
    all_ = every(touchpoint=ALL, window="1h")
    assert 'window="1h", touchpoint=~"^$"' in all_["NPS, A"].text
    assert " AND 1=1\n" in all_["Responses by touchpoint, A"].text
    assert all_["variable window"].text == "count by (window) (feedback_score_responses)"


def test_a_name_with_a_quote_stays_a_value() -> None:
    one = every(touchpoint="o'brien's (desk)")
    assert "touchpoint = 'o\\'brien\\'s (desk)'" in one["Responses by touchpoint, A"].text
    assert "touchpoint=~\"o'brien's\\\\ \\\\(desk\\\\)\"" in one["NPS, A"].text


def test_macros_are_those_of_the_plugin() -> None:
    text = every()["Outcomes of records, A"].text
    assert f"day >= toDate(toDateTime({int(START.timestamp())}))" in text
    with pytest.raises(ValueError, match="__timeGroup"):
        dashboard_queries.sql("SELECT $__timeGroup(bucket, 5m)", {}, START, END)
