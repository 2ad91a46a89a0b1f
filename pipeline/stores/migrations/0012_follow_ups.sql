-- Whom somebody must call back, by position like all records; the newest revision of an id holds.
CREATE TABLE IF NOT EXISTS follow_ups
(
    follow_up_id String,
    occurred_at DateTime64(3, 'UTC'),
    kind LowCardinality(String),
    touchpoint LowCardinality(String),
    channel LowCardinality(String),
    segment LowCardinality(Nullable(String)),
    customer_id Nullable(String),
    case_id Nullable(String),
    response_id Nullable(String),
    instrument LowCardinality(Nullable(String)),
    score Nullable(Int32),
    priority LowCardinality(Nullable(String)),
    due_at Nullable(DateTime64(3, 'UTC')),
    revision Int64,
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

-- Every contact with a customer or about a case that ends a wait for one, by whom.
CREATE OR REPLACE VIEW contacts AS
SELECT occurred_at AS contacted_at, ifNull(customer_id, '') AS customer, ifNull(case_id, '') AS about, action
FROM touchpoints
WHERE action IN ('case_replied', 'case_contacted', 'follow_up_done');

-- A row a follow-up that was not taken back. It is closed by the first later contact with its customer or about its
-- case; `seconds_to_contact` is from what caused it to that contact, NULL while it waits. `overdue` means that it
-- waits longer than was allowed. Partitions of 1000 and more lie aside since a reset, see current_resolutions.
CREATE OR REPLACE VIEW current_follow_ups AS
WITH
    newest AS
    (
        SELECT *
        FROM follow_ups
        ORDER BY
            kafka_partition < 1000 DESC, intDiv(kafka_partition, 1000) DESC,
            revision DESC, kafka_time, kafka_partition, kafka_offset
        LIMIT 1 BY follow_up_id
    ),
    waited AS
    (
        SELECT
            n.*, ifNull(n.customer_id, '') AS customer, ifNull(n.case_id, '') AS about
        FROM newest AS n
        WHERE NOT n.retracted
    ),
    by_customer AS (SELECT customer, contacted_at FROM contacts WHERE customer != ''),
    by_case AS (SELECT about, contacted_at FROM contacts WHERE about != ''),
    found AS
    (
        SELECT
            w.*, toDateTime64(0, 3, 'UTC') AS never,
            if(c.contacted_at = never, NULL, c.contacted_at) AS of_customer,
            if(a.contacted_at = never, NULL, a.contacted_at) AS of_case
        FROM waited AS w
        ASOF LEFT JOIN by_customer AS c ON w.customer = c.customer AND w.occurred_at < c.contacted_at
        ASOF LEFT JOIN by_case AS a ON w.about = a.about AND w.occurred_at < a.contacted_at
    )
SELECT
    follow_up_id, kind, occurred_at, due_at, touchpoint, channel, segment, customer_id, case_id, response_id,
    instrument, score, priority, revision,
    if(of_customer IS NULL, of_case, if(of_case IS NULL, of_customer, least(of_customer, of_case))) AS contacted_at,
    (toUnixTimestamp64Milli(contacted_at) - toUnixTimestamp64Milli(occurred_at)) / 1000 AS seconds_to_contact,
    contacted_at IS NULL AND due_at < now64(3) AS overdue
FROM found;

-- How long customers waited, by kind and touchpoint; those who still wait are counted beside it, since a median over
-- the closed ones alone flatters.
CREATE OR REPLACE VIEW follow_up_times AS
SELECT
    kind, touchpoint,
    count() AS n,
    countIf(contacted_at IS NULL) AS open,
    countIf(overdue) AS overdue_now,
    quantileExactOrNull(0.5)(seconds_to_contact) AS p50,
    quantileExactOrNull(0.9)(seconds_to_contact) AS p90
FROM current_follow_ups
GROUP BY kind, touchpoint;
