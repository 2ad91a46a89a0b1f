"""The Pipeline dashboard: is everything counted, how far behind is it, and what would a restart cost.

`max by (...)` takes `instance` away: while a partition moves, two workers can show the same series.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import table, timeseries
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

from grafana import clickhouse
from grafana.parts import NOTHING, PROMETHEUS, alerts, described, legend, line, properties, shell, sources

UID: Final = "feedback-pipeline"
HALF: Final = (12, 8)

REASONS_SQL = """\
SELECT topic, reason, stage, count() AS records, max(time) AS latest
FROM dead_letters FINAL
WHERE $__timeFilter(time)
GROUP BY topic, reason, stage
ORDER BY records DESC"""

OF_PARTITION: Final = "max by (topic, partition)"


def dashboard() -> models.Dashboard:
    """The whole dashboard in Grafana's classic model, the only one that file provisioning takes."""
    board = shell("Feedback / Pipeline", UID, "How the pipeline itself is.").annotation(alerts())
    for variable in sources():
        board = board.with_variable(variable)
    for panel in (flow(), dead_letters(), lag(), freshness(), store(), journal(), ids(), corrections()):
        board = board.with_panel(panel)
    return board.build()


def _graph(title: str, text: str, unit: str) -> timeseries.Panel:
    panel = described(timeseries.Panel(), title, text, unit, PROMETHEUS, HALF)
    return panel.no_value(NOTHING).min(0).legend(legend(looks.LegendPlacement.BOTTOM))


def flow() -> timeseries.Panel:
    """What comes of the records, as they are settled."""
    text = "Records settled a second, by outcome; dead letters by reason are in the store."
    settled = "sum by (outcome) (rate(feedback_records_total[$__rate_interval]))"
    ready = "sum (feedback_worker_ready)"
    right = properties(unit=units.Short, decimals=0, custom_axisPlacement="right")
    return (
        _graph("Records by outcome", text, units.RecordsPerSecond)
        .with_target(line("A", settled, "{{outcome}}"))
        .with_target(line("B", ready, "workers that are ready"))
        .override_by_query("B", right)
    )


def dead_letters() -> table.Panel:
    """Why records could not count."""
    text = "Records that could not count, by reason: positions and raw bytes are in the table dead_letters."
    return (
        described(table.Panel(), "Dead letters by reason", text, units.Short, clickhouse.SOURCE, HALF)
        .no_value(NOTHING)
        .with_target(clickhouse.SQL(REASONS_SQL, "table"))
        .decimals(0)
    )


def lag() -> timeseries.Panel:
    """Records that wait."""
    text = "Records in the topic that are not settled yet. It may rise in an outage; after it, it must fall."
    waiting = f"sum by (topic) ({OF_PARTITION} (feedback_consumer_lag_records))"
    owed = f"sum by (topic) ({OF_PARTITION} (feedback_outbox_effects))"
    return (
        _graph("Lag", text, units.Short)
        .decimals(0)
        .with_target(line("A", waiting, "{{topic}}: records waiting"))
        .with_target(line("B", owed, "{{topic}}: batches still to be sent on"))
    )


def freshness() -> timeseries.Panel:
    """How old a record is when a stage is done with it."""
    text = "From the broker's time of a record to the end of a stage: median and p99."
    buckets = "sum by (le, stage) (rate(feedback_end_to_end_latency_seconds_bucket[$__rate_interval]))"
    return (
        _graph("Freshness", text, units.Seconds)
        .with_target(line("A", f"histogram_quantile(0.5, {buckets})", "{{stage}}, median"))
        .with_target(line("B", f"histogram_quantile(0.99, {buckets})", "{{stage}}, p99"))
    )


def store() -> timeseries.Panel:
    """Whether the store takes rows, and how fast."""
    text = "Rows stored a second, batches tried again, and 1 while the store takes rows."
    rows = "sum by (table) (rate(feedback_sink_rows_total[$__rate_interval]))"
    retries = "sum by (code) (rate(feedback_sink_retries_total[$__rate_interval]))"
    right = properties(unit=units.Short, decimals=0, custom_axisPlacement="right")
    return (
        _graph("Store", text, units.RecordsPerSecond)
        .with_target(line("A", rows, "{{table}}"))
        .with_target(line("B", retries, "tried again: {{code}}"))
        .with_target(line("C", "max (feedback_store_up)", "store is up"))
        .override_by_query("C", right)
    )


def journal() -> timeseries.Panel:
    """What a recovery would read, and how long the last ones took."""
    text = (
        "What a recovery would read behind the last snapshot, that snapshot's age, and the latest recovery."
    )
    tail = f"sum by (topic) ({OF_PARTITION} (feedback_journal_tail_bytes))"
    age = f"time() - min by (topic) ({OF_PARTITION} (feedback_snapshot_timestamp_seconds))"
    recovery = "max by (topic) (feedback_recovery_seconds)"
    right = properties(unit=units.Seconds, custom_axisPlacement="right")
    return (
        _graph("Journal", text, units.BytesSI)
        .with_target(line("A", tail, "{{topic}}: bytes behind the snapshot"))
        .with_target(line("B", age, "{{topic}}: age of the oldest snapshot"))
        .with_target(line("C", recovery, "{{topic}}: latest recovery"))
        .override_by_query("B", right)
        .override_by_query("C", right)
    )


def ids() -> timeseries.Panel:
    """What the state costs."""
    text = "What the worker holds: ids within the horizon and their memory, and open cells."
    n = f"sum by (topic) ({OF_PARTITION} (feedback_ids_remembered))"
    memory = f"sum by (topic) ({OF_PARTITION} (feedback_ids_memory_bytes))"
    right = properties(unit=units.BytesSI, custom_axisPlacement="right")
    return (
        _graph("Ids and cells", text, units.Short)
        .with_target(line("A", n, "{{topic}}: ids"))
        .with_target(line("B", memory, "{{topic}}: memory"))
        .with_target(line("C", f"sum ({OF_PARTITION} (feedback_open_cells))", "open cells"))
        .override_by_query("B", right)
    )


def corrections() -> timeseries.Panel:
    """What the rules of the journal had to put right."""
    text = (
        "All of these are put right by themselves, but for misplaced records, whose duplicates are not seen."
    )
    names = {
        "feedback_journal_conflicts_total": "journal records that came second",
        "feedback_gap_filled_records_total": "records read that were not delivered",
        "feedback_misplaced_records_total": "records in a wrong partition",
    }
    panel = _graph("Corrections", text, units.Short).decimals(0)
    for ref_id, (name, label) in zip("ABC", names.items(), strict=True):
        increase = f"sum by (topic) (increase({name}[$__rate_interval]))"
        panel = panel.with_target(line(ref_id, increase, f"{{{{topic}}}}: {label}"))
    missing = f"sum by (topic) ({OF_PARTITION} (feedback_deltas_missing))"
    return panel.with_target(line("D", missing, "{{topic}}: changes of cells that are missing"))
