"""Every metric there is, declared once: code, documentation and dashboard tests go by this list."""

from __future__ import annotations

from pipeline.stores.metric import Kind, Metric

_PLACE = ("window", "touchpoint", "channel", "segment")
_SERIES = ("metric", "instrument", *_PLACE)
OF_A_PARTITION = ("topic", "partition")
_LATENCY = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)

# Windows. Only leaves carry the additive counts, so that sums over them are right; an empty touchpoint, channel
# or segment of the ready values is the marginal over it. Without responses there is no sample.
NPS_RESPONSES = Metric(
    "feedback_nps_window_responses",
    Kind.GAUGE,
    "NPS responses in the window, by group.",
    ("instrument", *_PLACE, "group"),
    "responses",
)
CSAT_RESPONSES = Metric(
    "feedback_csat_window_responses",
    Kind.GAUGE,
    "CSAT responses in the window, by result.",
    ("instrument", *_PLACE, "result"),
    "responses",
)
CES_RESPONSES = Metric(
    "feedback_ces_window_responses",
    Kind.GAUGE,
    "CES responses in the window.",
    ("instrument", *_PLACE),
    "responses",
)
CES_SCORE_SUM = Metric(
    "feedback_ces_window_score_sum",
    Kind.UNTYPED,  # a gauge, but promtool takes the suffix _sum for a histogram's in everything that has a type
    "Sum of the CES scores in the window, turned to high = easy.",
    ("instrument", *_PLACE),
)
RESOLUTION_CASES = Metric(
    "feedback_resolution_window_cases",
    Kind.GAUGE,  # not a histogram: a case that is reopened leaves it again
    "Cases of the window whose clock stopped within so many seconds, cumulative.",
    ("clock", *_PLACE, "within"),
    "cases",
)
RESOLUTION_SECONDS = Metric(
    "feedback_resolution_window_seconds",
    Kind.GAUGE,
    "Resolution time of the cases of the window: p50, p90, p95, p99 or mean.",
    ("clock", *_PLACE, "stat"),
    "seconds",
)
SCORE = Metric(
    "feedback_score", Kind.GAUGE, "Rolling score: shares 0 to 1, NPS -100 to 100, CES on its scale.", _SERIES
)
SCORE_LOWER = Metric("feedback_score_lower", Kind.GAUGE, "Lower end of the score's 95 % interval.", _SERIES)
SCORE_UPPER = Metric("feedback_score_upper", Kind.GAUGE, "Upper end of the score's 95 % interval.", _SERIES)
SCORE_RESPONSES = Metric(
    "feedback_score_responses", Kind.GAUGE, "Responses that the score is made of.", _SERIES, "responses"
)
SCORE_TARGET = Metric(
    "feedback_score_target", Kind.GAUGE, "What the score should reach.", ("metric", "touchpoint")
)
EFFORT_AGAINST_CSAT = Metric(
    "feedback_effort_against_csat",
    Kind.GAUGE,
    "1 where effort scores run against CSAT: mostly a scale the wrong way round. Pairs that this worker owns both of.",
    ("instrument", "csat", "window", "touchpoint"),
)
UNKNOWN_TOUCHPOINTS = Metric(
    "feedback_unknown_touchpoints",
    Kind.GAUGE,
    "Touchpoints in the windows that the configuration does not name: often typing errors. Only where it names any.",
    unit="touchpoints",
)
FOLDED_SERIES = Metric(
    "feedback_folded_series",
    Kind.GAUGE,
    "Series (lines of a scrape) beyond metrics.max_series: they are shown together as __other__.",
    unit="series",
)

# The pipeline itself.
RECORDS = Metric(
    "feedback_records_total", Kind.COUNTER, "Records settled, by outcome.", ("topic", "outcome"), "records"
)
MISPLACED = Metric(
    "feedback_misplaced_records_total",
    Kind.COUNTER,
    "Records in another partition than their key says: their duplicates are not seen.",
    ("topic",),
    "records",
)
DEAD_LETTERS = Metric(
    "feedback_dead_letters_total", Kind.COUNTER, "Records that cannot count.", ("reason", "stage"), "records"
)
LAG = Metric(
    "feedback_consumer_lag_records",
    Kind.GAUGE,
    "Records in the topic that are not settled yet; what an open transaction holds back is not among them.",
    OF_A_PARTITION,
    "records",
)
EXPIRED = Metric(
    "feedback_expired_offsets_total",
    Kind.COUNTER,
    "Offsets of an input topic that were deleted before they were read; no number holds them.",
    ("topic",),
)
REGISTRY_UP = Metric(
    "feedback_registry_up",
    Kind.GAUGE,
    "1 while the schema registry answers, else 0; none without a registry.",
)
WATERMARK = Metric(
    "feedback_watermark_timestamp_seconds",
    Kind.GAUGE,
    "Highest event time of the records of a partition so far.",
    OF_A_PARTITION,
    "seconds",
)
LATENCY = Metric(
    "feedback_end_to_end_latency_seconds",
    Kind.HISTOGRAM,
    "From the broker's time of a record to the end of a stage.",
    ("stage",),
    "seconds",
    _LATENCY,
)
SINK_ROWS = Metric("feedback_sink_rows_total", Kind.COUNTER, "Rows stored.", ("table",), "rows")
SINK_FLUSH = Metric(
    "feedback_sink_flush_seconds",
    Kind.HISTOGRAM,
    "Time to store one batch.",
    ("table",),
    "seconds",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
SINK_RETRIES = Metric(
    "feedback_sink_retries_total", Kind.COUNTER, "Batches tried again, by error code.", ("code",)
)
STORE_UP = Metric("feedback_store_up", Kind.GAUGE, "1 while the store takes rows, else 0.")
JOURNAL_CONFLICTS = Metric(
    "feedback_journal_conflicts_total",
    Kind.COUNTER,
    "Journal records that landed behind somebody else's and did not count.",
    ("topic",),
)
JOURNAL_RECORDS = Metric(
    "feedback_journal_tail_records",
    Kind.GAUGE,
    "Records behind the last snapshot: what a recovery folds.",
    OF_A_PARTITION,
    "records",
)
JOURNAL_BYTES = Metric(
    "feedback_journal_tail_bytes",
    Kind.GAUGE,
    "Bytes behind the last snapshot: what a recovery reads.",
    OF_A_PARTITION,
    "bytes",
)
SNAPSHOT = Metric(
    "feedback_snapshot_timestamp_seconds",
    Kind.GAUGE,
    "When the last snapshot of a partition was written. Its age is time() minus this.",
    OF_A_PARTITION,
    "seconds",
)
OUTBOX = Metric(
    "feedback_outbox_effects",
    Kind.GAUGE,
    "Batches that are counted and still have something to send downstream.",
    OF_A_PARTITION,
    "batches",
)
IDS = Metric(
    "feedback_ids_remembered",
    Kind.GAUGE,
    "Ids that are remembered, so that a duplicate is seen.",
    OF_A_PARTITION,
    "ids",
)
IDS_BYTES = Metric(
    "feedback_ids_memory_bytes",
    Kind.GAUGE,
    "Memory that the remembered ids take.",
    OF_A_PARTITION,
    "bytes",
)
OPEN_CASES = Metric(
    "feedback_open_cases",
    Kind.GAUGE,
    "Cases that are open now: opened or reopened, and neither resolved nor closed since.",
    (*OF_A_PARTITION, "touchpoint"),
    "cases",
)
OPEN_CASES_AGE = Metric(
    "feedback_open_cases_age_seconds",
    Kind.GAUGE,
    "Ages of the open cases, added up: divided by feedback_open_cases it is how old they are now on average.",
    (*OF_A_PARTITION, "touchpoint"),
    "seconds",
)
GAP_FILLS = Metric(
    "feedback_gap_filled_records_total",
    Kind.COUNTER,
    "Records that the delivery had skipped and the worker read for itself. They are counted, none is lost.",
    ("topic",),
    "records",
)
DELTAS_MISSING = Metric(
    "feedback_deltas_missing",
    Kind.GAUGE,
    "Sources whose next change of cells has been missing for some seconds: their counts are too low.",
    OF_A_PARTITION,
)
OPEN_CELLS = Metric(
    "feedback_open_cells",
    Kind.GAUGE,
    "Cells that the roll holds because they were touched lately.",
    OF_A_PARTITION,
    "cells",
)
UNPUBLISHED_CELLS = Metric(
    "feedback_unpublished_cells",
    Kind.GAUGE,
    "Cells that changed and are not known to be published.",
    OF_A_PARTITION,
    "cells",
)
RECOVERY = Metric(
    "feedback_recovery_seconds",
    Kind.GAUGE,
    "How long the latest recovery of a partition took.",
    ("topic",),
    "seconds",
)
WORKER_READY = Metric(
    "feedback_worker_ready", Kind.GAUGE, "1 once everything this worker owns is recovered, else 0."
)

SCORES = (
    NPS_RESPONSES,
    CSAT_RESPONSES,
    CES_RESPONSES,
    CES_SCORE_SUM,
    RESOLUTION_CASES,
    RESOLUTION_SECONDS,
    SCORE,
    SCORE_LOWER,
    SCORE_UPPER,
    SCORE_RESPONSES,
    SCORE_TARGET,
    EFFORT_AGAINST_CSAT,
    UNKNOWN_TOUCHPOINTS,
    FOLDED_SERIES,
)
PIPELINE = (
    RECORDS,
    MISPLACED,
    DEAD_LETTERS,
    LAG,
    EXPIRED,
    REGISTRY_UP,
    WATERMARK,
    LATENCY,
    SINK_ROWS,
    SINK_FLUSH,
    SINK_RETRIES,
    STORE_UP,
    JOURNAL_CONFLICTS,
    JOURNAL_RECORDS,
    JOURNAL_BYTES,
    SNAPSHOT,
    OUTBOX,
    IDS,
    IDS_BYTES,
    OPEN_CASES,
    OPEN_CASES_AGE,
    GAP_FILLS,
    DELTAS_MISSING,
    OPEN_CELLS,
    UNPUBLISHED_CELLS,
    RECOVERY,
    WORKER_READY,
)
ALL = (*SCORES, *PIPELINE)
