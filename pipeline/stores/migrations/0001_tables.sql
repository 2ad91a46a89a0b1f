-- Tables. Names and columns are a contract with dashboards: a change is a new migration.
-- Every writer may repeat itself: each table keeps one row a key, the one with the highest version where there is one.

-- Raw records: the log. One row a record that is not a dead letter, by its position; TTL follows raw_retention.
CREATE TABLE IF NOT EXISTS touchpoints
(
    event_id String,
    occurred_at DateTime64(3, 'UTC'),
    source LowCardinality(String),
    touchpoint LowCardinality(String),
    action LowCardinality(String),
    channel LowCardinality(String),
    customer_id Nullable(String),
    case_id Nullable(String),
    segment LowCardinality(Nullable(String)),
    priority LowCardinality(Nullable(String)),
    attributes Map(String, String),
    kafka_partition Int32,
    kafka_offset Int64 CODEC(Delta, ZSTD(1)),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(kafka_time)
ORDER BY (kafka_partition, kafka_offset)
TTL toDateTime(kafka_time) + toIntervalDay(400)
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS responses
(
    response_id String,
    occurred_at DateTime64(3, 'UTC'),
    source LowCardinality(String),
    instrument LowCardinality(String),
    score Int32,
    touchpoint LowCardinality(String),
    channel LowCardinality(String),
    customer_id Nullable(String),
    case_id Nullable(String),
    segment LowCardinality(Nullable(String)),
    language LowCardinality(Nullable(String)),
    comment Nullable(String),
    touchpoint_at Nullable(DateTime64(3, 'UTC')),
    revision Int32,
    retracted Bool,
    kafka_partition Int32,
    kafka_offset Int64 CODEC(Delta, ZSTD(1)),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(kafka_time)
ORDER BY (kafka_partition, kafka_offset)
TTL toDateTime(kafka_time) + toIntervalDay(400)
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS resolutions
(
    case_id String,
    occurred_at DateTime64(3, 'UTC'),
    touchpoint LowCardinality(String),
    channel LowCardinality(String),
    segment LowCardinality(Nullable(String)),
    priority LowCardinality(Nullable(String)),
    opened_at DateTime64(3, 'UTC'),
    first_reply_seconds Nullable(Float64),
    first_resolution_seconds Nullable(Float64),
    full_resolution_seconds Nullable(Float64),
    agent_seconds Nullable(Float64),
    business_seconds Nullable(Float64),
    replies Int32,
    contacts Int32,
    reopens Int32,
    sla_target_seconds Nullable(Float64),
    sla_breached Nullable(Bool),
    one_contact Nullable(Bool),
    revision Int32,
    retracted Bool,
    kafka_partition Int32,
    kafka_offset Int64 CODEC(Delta, ZSTD(1)),
    kafka_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(kafka_time)
ORDER BY (kafka_partition, kafka_offset)
TTL toDateTime(kafka_time) + toIntervalDay(400)
SETTINGS ttl_only_drop_parts = 1;

-- Absolute counts. Readers add parts and origins, and of each take the highest version.
-- The order serves a dashboard: one metric and instrument, some touchpoints, a span of time.
CREATE TABLE IF NOT EXISTS cells
(
    metric LowCardinality(String),
    instrument LowCardinality(String),
    touchpoint LowCardinality(String),
    channel LowCardinality(String),
    segment LowCardinality(String),
    bucket DateTime('UTC'),
    bin Int32,
    origin LowCardinality(String),
    part Int64,
    n Int64,
    total Float64,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(bucket)
ORDER BY (metric, instrument, touchpoint, bucket, channel, segment, bin, origin, part);

-- What became of the records, absolute, by day of kafka_time; version is the applied offset.
CREATE TABLE IF NOT EXISTS outcome_counts
(
    topic LowCardinality(String),
    partition Int32,
    day Date,
    outcome LowCardinality(String),
    n Int64,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (topic, partition, day, outcome);

-- How far each stage has come in each source partition: the last offset that is done.
CREATE TABLE IF NOT EXISTS progress
(
    stage LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(time)
ORDER BY (stage, topic, partition);

-- The history of what was published, for touchpoints and overall; an empty dimension is the marginal over it.
CREATE TABLE IF NOT EXISTS scores
(
    time DateTime64(3, 'UTC'),
    metric LowCardinality(String),
    instrument LowCardinality(String),
    window LowCardinality(String),
    touchpoint LowCardinality(String),
    channel LowCardinality(String),
    segment LowCardinality(String),
    value Nullable(Float64),
    lower Nullable(Float64),
    upper Nullable(Float64),
    n Int64
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (metric, instrument, window, touchpoint, channel, segment, time);

CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    time DateTime64(3, 'UTC'),
    reason LowCardinality(String),
    stage LowCardinality(String),
    detail String,
    raw String
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (topic, partition, offset);

-- The scales in use, written by `feedback setup` from the configuration; the views read their thresholds here.
-- Thresholds count on the scale turned to high = good; NULL where the metric has no such group.
CREATE TABLE IF NOT EXISTS instruments
(
    name LowCardinality(String),
    metric LowCardinality(String),
    low Int32,
    high Int32,
    direction LowCardinality(String),
    promoters_from Nullable(Int32),
    detractors_to Nullable(Int32),
    satisfied_from Nullable(Int32),
    easy_from Nullable(Int32),
    written DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written)
ORDER BY name;
