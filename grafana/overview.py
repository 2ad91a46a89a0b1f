"""The Overview dashboard: scores, where they fall short, how long cases take, whether the pipeline keeps up.

Its numbers are made elsewhere (`feedback_score*` by the worker, views by ClickHouse): a panel only selects.
`max by (...)` takes `instance` away: while a partition moves, two workers can show the same series.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import common, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

from grafana import clickhouse
from grafana.parts import (
    PROMETHEUS,
    alerts,
    described,
    legend,
    line,
    now,
    properties,
    row,
    shell,
    sources,
    thresholds,
)

UID: Final = "feedback-overview"  # the alert's dashboard_url leads here
THIRD, HALF = (8, 8), (12, 10)

# One touchpoint or the overall series: intervals cannot be summed, so no other choice could be answered.
CHOSEN = 'window="$window", touchpoint=~"$touchpoint", channel="", segment=""'
EACH_TOUCHPOINT = 'metric="csat", window="$window", touchpoint!="", channel="", segment=""'

RESPONSES_SQL = """\
SELECT $__timeInterval(bucket) AS time, touchpoint, sum(n) AS responses
FROM answers
WHERE $__timeFilter(bucket) AND $__conditionalAll(touchpoint = ${touchpoint:singlequote}, $touchpoint)
GROUP BY time, touchpoint
ORDER BY time, touchpoint"""

OUTCOMES_SQL = """\
SELECT topic, outcome, sum(n) AS records
FROM outcomes
WHERE day >= toDate($__fromTime) AND day <= toDate($__toTime)
GROUP BY topic, outcome
ORDER BY topic, records DESC"""


def dashboard() -> models.Dashboard:
    """The whole dashboard in Grafana's classic model, the only one that file provisioning takes."""
    board = shell("Feedback / Overview", UID, "Rolling customer feedback.").annotation(alerts())
    for variable in (*sources(), touchpoint_variable(), window_variable()):
        board = board.with_variable(variable)
    for panel in (nps(), csat(), ces(), touchpoints(), responses(), resolution(), outcomes(), pipeline()):
        board = board.with_panel(panel)
    return board.build()


def touchpoint_variable() -> build.QueryVariable:
    """All means overall: `^$` matches the one series without a touchpoint."""
    return (
        build.QueryVariable("touchpoint")
        .label("Touchpoint (All: overall)")
        .datasource(PROMETHEUS)
        .query('label_values(feedback_score_responses{channel="", segment=""}, touchpoint)')
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .include_all(True)
        .all_value("^$")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def window_variable() -> build.QueryVariable:
    """Which window of the scores."""
    return (
        build.QueryVariable("window")
        .label("Window")
        .datasource(PROMETHEUS)
        .query("label_values(feedback_score_responses, window)")
        .refresh(models.VariableRefresh.ON_DASHBOARD_LOAD)
        .current(models.VariableOption(selected=True, text="24h", value="24h"))
    )


def nps() -> stat.Panel:
    """NPS with interval and n."""
    text = "100 x (promoters - detractors) / responses, with its 95 % interval and n."
    panel = _score("nps", "NPS", text, units.NoUnit).min(-100).max(100).decimals(0)
    return panel.thresholds(thresholds("red", (0, "orange"), (30, "yellow"), (50, "green")))


def csat() -> stat.Panel:
    """CSAT with interval and n."""
    text = "Share of the top boxes (5-point: 4 and 5), with its 95 % interval and n."
    panel = _score("csat", "CSAT", text, units.PercentUnit).min(0).max(1).decimals(1)
    return panel.thresholds(thresholds("red", (0.7, "orange"), (0.8, "green")))


def ces() -> stat.Panel:
    """CES with interval and n. No colours: what is good depends on the instrument's scale."""
    text = "Mean on the instrument's scale, always turned to high = easy, with its 95 % interval and n."
    return _score("ces", "CES", text, units.NoUnit).decimals(2).thresholds(thresholds("text"))


def _score(metric: str, title: str, description: str, unit: str) -> stat.Panel:
    """One stat a value, never one over several instruments: their scales differ."""
    panel = described(stat.Panel(), title, description, unit, PROMETHEUS, (8, 6))
    names = {"A": "", "B": "_lower", "C": "_upper", "D": "_responses"}
    legends = {"A": "{{instrument}}", "B": "at least", "C": "at most", "D": "n"}
    for ref_id, name in names.items():
        expr = f'max by (instrument) (feedback_score{name}{{metric="{metric}", {CHOSEN}}})'
        panel = panel.with_target(now(ref_id, expr, legends[ref_id]))
    plain = {"color": {"mode": "fixed", "fixedColor": "text"}}
    panel = panel.override_by_query("B", properties(**plain)).override_by_query("C", properties(**plain))
    return (
        panel.override_by_query("D", properties(unit=units.Short, decimals=0, **plain))
        .color_mode(looks.BigValueColorMode.VALUE)
        .graph_mode(looks.BigValueGraphMode.NONE)
        .text_mode(looks.BigValueTextMode.VALUE_AND_NAME)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )


def touchpoints() -> table.Panel:
    """CSAT of every touchpoint beside its target, the furthest below first."""
    text = "The furthest below its target first. A page needs `at most` below it, n >= 30, for 10 minutes."
    title = "CSAT by touchpoint against target"
    panel = described(table.Panel(), title, text, units.PercentUnit, PROMETHEUS, HALF)
    columns = {"A": "", "B": "_lower", "C": "_upper", "D": "_responses"}
    for ref_id, name in columns.items():
        panel = panel.with_target(row(ref_id, _by_touchpoint(f"feedback_score{name}")))
    target = 'max by (touchpoint) (feedback_score_target{metric="csat"})'
    gap = f"{_by_touchpoint('feedback_score')} - on (touchpoint) group_left () {target}"
    steps = [{"value": None, "color": "red"}, {"value": 0, "color": "green"}]
    coloured = properties(
        thresholds={"mode": "absolute", "steps": steps}, custom_cellOptions={"type": "color-text"}
    )
    return (
        panel.with_target(row("E", gap))
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=_columns()))
        .decimals(1)
        .thresholds(thresholds("text"))
        .override_by_name("n", properties(unit=units.Short, decimals=0))
        .override_by_name("against target", coloured)
        .sort_by([common.TableSortByFieldState().display_name("against target").desc(False)])
    )


def _by_touchpoint(metric: str) -> str:
    return f"max by (touchpoint, instrument) ({metric}{{{EACH_TOUCHPOINT}}})"


def _columns() -> dict[str, object]:
    """Names and order for what Grafana calls `Value #A` and so on after the merge."""
    names = {"Value #A": "CSAT", "Value #B": "at least", "Value #C": "at most", "Value #D": "n"}
    names["Value #E"] = "against target"
    order = ["touchpoint", "instrument", "Value #A", "Value #E", "Value #B", "Value #C", "Value #D"]
    return {
        "excludeByName": {"Time": True},
        "renameByName": names,
        "indexByName": {name: position for position, name in enumerate(order)},
    }


def responses() -> timeseries.Panel:
    """Answered surveys over time, stacked by touchpoint."""
    text = "Answered surveys of all instruments, by the minute they were answered. Late ones join by rebuild."
    return (
        described(timeseries.Panel(), "Responses by touchpoint", text, units.Short, clickhouse.SOURCE, HALF)
        .with_target(clickhouse.SQL(RESPONSES_SQL, "timeseries"))
        .interval("1m")  # the views have a row a minute
        .display_name("${__field.labels.touchpoint}")
        .min(0)
        .decimals(0)
        .draw_style(looks.GraphDrawStyle.BARS)
        .fill_opacity(80)
        .stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
        .legend(legend(looks.LegendPlacement.RIGHT))
    )


def resolution() -> timeseries.Panel:
    """First resolution time, median and 90th percentile, with the number of cases."""
    text = "From opening to first resolve, of the cases resolved in the window: median, 90th percentile, n."
    times = f'feedback_resolution_window_seconds{{clock="first_resolution", stat=~"p50|p90", {CHOSEN}}}'
    cases = f'feedback_score_responses{{metric="resolution", instrument="first_resolution", {CHOSEN}}}'
    right = properties(unit=units.Short, decimals=0, custom_axisPlacement="right", custom_fillOpacity=10)
    return (
        described(timeseries.Panel(), "Resolution time", text, units.Seconds, PROMETHEUS, THIRD)
        .with_target(line("A", f"max by (stat) ({times})", "{{stat}}"))
        .with_target(line("B", f"max ({cases})", "cases"))
        .override_by_query("B", right)
        .min(0)
        .legend(legend(looks.LegendPlacement.BOTTOM))
    )


def outcomes() -> table.Panel:
    """What became of every record read: exact counts, from the store."""
    text = "Every record read ends as exactly one of these. Look into dead letters with `feedback dlq list`."
    return (
        described(table.Panel(), "Outcomes of records", text, units.Short, clickhouse.SOURCE, THIRD)
        .with_target(clickhouse.SQL(OUTCOMES_SQL, "table"))
        .decimals(0)
    )


def pipeline() -> timeseries.Panel:
    """How far behind the stream is, in records and in seconds."""
    text = "Records waiting, age of the newest event, p99 from the broker's time of a record to each stage's end."
    waiting = "sum by (topic) (max by (topic, partition) (feedback_consumer_lag_records))"
    age = "time() - max by (topic) (feedback_watermark_timestamp_seconds)"
    buckets = "sum by (le, stage) (rate(feedback_end_to_end_latency_seconds_bucket[$__rate_interval]))"
    right = properties(unit=units.Short, decimals=0, custom_axisPlacement="right")
    return (
        described(timeseries.Panel(), "Lag and freshness", text, units.Seconds, PROMETHEUS, THIRD)
        .with_target(line("A", waiting, "{{topic}}: records waiting"))
        .with_target(line("B", age, "{{topic}}: age of the newest event"))
        .with_target(line("C", f"histogram_quantile(0.99, {buckets})", "{{stage}}, p99"))
        .override_by_query("A", right)
        .min(0)
        .legend(legend(looks.LegendPlacement.BOTTOM))
    )
