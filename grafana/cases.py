"""The Cases dashboard: how long cases take by every clock, which promises were kept, and who waits for a call.

A median alone flatters while slow cases are open, so open ones and their age stand beside it.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import table, timeseries
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

from grafana import clickhouse
from grafana.overview import CHOSEN, touchpoint_variable, window_variable
from grafana.parts import NOTHING, PROMETHEUS, alerts, described, legend, line, properties, shell, sources

UID: Final = "feedback-cases"
HALF: Final = (12, 8)
OF_TOUCHPOINT: Final = "$__conditionalAll(touchpoint = ${touchpoint:singlequote}, $touchpoint)"

FOLLOW_UPS_SQL: Final = f"""\
SELECT kind, touchpoint, count() AS calls, countIf(contacted_at IS NULL) AS waiting, countIf(overdue) AS too_long,
    maxOrNullIf(dateDiff('second', due_at, now64(3)), overdue) AS longest,
    quantileExactOrNull(0.5)(seconds_to_contact) AS p50, quantileExactOrNull(0.9)(seconds_to_contact) AS p90
FROM current_follow_ups
WHERE $__timeFilter(occurred_at) AND {OF_TOUCHPOINT}
GROUP BY kind, touchpoint
ORDER BY too_long DESC, waiting DESC, kind, touchpoint"""  # noqa: S608 - names of ours

CONTACTED_SQL: Final = f"""\
SELECT $__timeInterval(contacted_at) AS time, kind, quantileExact(0.5)(seconds_to_contact) AS seconds
FROM current_follow_ups
WHERE $__timeFilter(contacted_at) AND {OF_TOUCHPOINT}
GROUP BY time, kind
ORDER BY time, kind"""  # noqa: S608 - names of ours


def dashboard() -> models.Dashboard:
    """The whole dashboard in Grafana's classic model, the only one that file provisioning takes."""
    board = shell("Feedback / Cases", UID, "How long cases take, and who waits for a call.").annotation(
        alerts()
    )
    for variable in (*sources(), touchpoint_variable(), window_variable()):
        board = board.with_variable(variable)
    for panel in (clocks(), shares(), waiting(), still_open(), follow_ups(), contacted()):
        board = board.with_panel(panel)
    return board.build()


def _graph(title: str, text: str, unit: str) -> timeseries.Panel:
    panel = described(timeseries.Panel(), title, text, unit, PROMETHEUS, HALF)
    return panel.min(0).legend(legend(looks.LegendPlacement.BOTTOM))


def clocks() -> timeseries.Panel:
    """The same cases by every clock."""
    text = "Medians of one set of cases: which clock is meant makes the difference between hours and a week."
    medians = f'feedback_resolution_window_seconds{{stat="p50", {CHOSEN}}}'
    return _graph("Clocks", text, units.Seconds).with_target(
        line("A", f"max by (clock) ({medians})", "{{clock}}")
    )


def shares() -> timeseries.Panel:
    """What was promised, and what held."""
    text = "Cases reopened, solved with one contact (final after its window), and not solved by their due time; and n."
    names = 'metric=~"reopen|fcr|sla_breach"'
    right = properties(unit=units.Short, decimals=0, custom_axisPlacement="right")
    return (
        _graph("Reopened, solved at once, promise broken", text, units.PercentUnit)
        .with_target(line("A", f"max by (metric) (feedback_score{{{names}, {CHOSEN}}})", "{{metric}}"))
        .with_target(
            line("B", f"max by (metric) (feedback_score_responses{{{names}, {CHOSEN}}})", "{{metric}}: n")
        )
        .override_by_query("B", right)
    )


def waiting() -> timeseries.Panel:
    """How much of the time cases waited on the customer."""
    text = "1 - agent / full resolution, of the means. Waiting is how a resolution time is made to look good."
    agent, full = (
        f'max (feedback_resolution_window_seconds{{clock="{clock}", stat="mean", {CHOSEN}}})'
        for clock in ("agent", "full_resolution")
    )
    return _graph("Time spent waiting on the customer", text, units.PercentUnit).with_target(
        line("A", f"1 - {agent} / {full}", "share")
    )


def still_open() -> timeseries.Panel:
    """What no resolution time tells yet."""
    text = "Cases that are open now, and their mean age, of all touchpoints."
    count, age = (
        f"sum (max by (topic, partition, touchpoint) ({name}))"
        for name in ("feedback_open_cases", "feedback_open_cases_age_seconds")
    )
    right = properties(unit=units.Seconds, custom_axisPlacement="right")
    return (
        _graph("Open cases", text, units.Short)
        .no_value(NOTHING)
        .with_target(line("A", count, "open"))
        .with_target(line("B", f"{age} / {count}", "mean age"))
        .override_by_query("B", right)
    )


def follow_ups() -> table.Panel:
    """Whom somebody must call: how many wait, how many too long, and how long it takes until somebody calls."""
    text = "Of the time range: how many wait for a contact, how many longer than allowed, and the waits that ended."
    panel = described(table.Panel(), "Follow-ups", text, units.Short, clickhouse.SOURCE, HALF)
    seconds = {"longest": "overdue for up to", "p50": "median to contact", "p90": "p90 to contact"}
    for name, shown in seconds.items():
        panel = panel.override_by_name(name, properties(unit=units.Seconds, displayName=shown))
    steps = [{"value": None, "color": "text"}, {"value": 1, "color": "red"}]
    coloured = properties(
        displayName="overdue",
        thresholds={"mode": "absolute", "steps": steps},
        custom_cellOptions={"type": "color-text"},
    )
    return (
        panel.no_value(NOTHING)
        .override_by_name("too_long", coloured)
        .decimals(0)
        .with_target(clickhouse.SQL(FOLLOW_UPS_SQL, "table"))
    )


def contacted() -> timeseries.Panel:
    """Time from what happened to the first contact after it."""
    text = (
        "Median time from a bad answer, a broken promise or a reopening to the contact that ended the wait."
    )
    return (
        described(timeseries.Panel(), "Time to contact", text, units.Seconds, clickhouse.SOURCE, HALF)
        .no_value(NOTHING)
        .with_target(clickhouse.SQL(CONTACTED_SQL, "timeseries"))
        .interval("5m")
        .display_name("${__field.labels.kind}")
        .min(0)
        .legend(legend(looks.LegendPlacement.BOTTOM))
    )
