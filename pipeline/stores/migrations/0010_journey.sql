-- The journey: what happens at each of its stages. `feedback setup` writes the stage of each touchpoint of the
-- configuration; those of the newest `written` are in use, and a row without a name says that there are none.
CREATE TABLE IF NOT EXISTS touchpoint_stages
(
    touchpoint LowCardinality(String),
    stage LowCardinality(String),
    written DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written)
ORDER BY touchpoint;

-- A row a minute, leaf and what was measured there: the surveys with value and interval, and metric `touchpoints` with
-- how often each action happened (NULL for the value: a count is no score). stage is '' where there is none.
CREATE OR REPLACE VIEW journey AS
WITH
    (
        SELECT (arrayPushFront(groupArray(toString(touchpoint)), ''), arrayPushFront(groupArray(toString(stage)), ''))
        FROM touchpoint_stages FINAL
        WHERE written = (SELECT max(written) FROM touchpoint_stages)
    ) AS stages
SELECT
    bucket, transform(toString(touchpoint), stages.1, stages.2, '') AS stage, touchpoint, channel, segment,
    metric, instrument, n, value, lower, upper
FROM
(
    SELECT bucket, touchpoint, channel, segment, 'nps' AS metric, instrument, n,
        toNullable(value) AS value, toNullable(lower) AS lower, toNullable(upper) AS upper
    FROM nps
    UNION ALL
    SELECT bucket, touchpoint, channel, segment, 'csat', instrument, n, value, lower, upper FROM csat
    UNION ALL
    SELECT bucket, touchpoint, channel, segment, 'ces', instrument, n, value, lower, upper FROM ces
    UNION ALL
    SELECT bucket, touchpoint, channel, segment, 'resolution', instrument, n, value, lower, upper FROM resolution_times
    UNION ALL
    SELECT bucket, touchpoint, channel, segment, 'touchpoints', instrument, sum(cells.n) AS n, NULL, NULL, NULL
    FROM cells FINAL
    WHERE metric = 'touchpoints'
    GROUP BY bucket, touchpoint, channel, segment, instrument
    HAVING n != 0
);

-- What the drop detection saw (topic `feedback.drops`): one row a drop, the newest version of it.
CREATE TABLE IF NOT EXISTS drops
(
    metric LowCardinality(String),
    instrument LowCardinality(String),
    touchpoint LowCardinality(String),
    started DateTime64(3, 'UTC'),
    detected DateTime64(3, 'UTC'),
    ended Nullable(DateTime64(3, 'UTC')),
    before Nullable(Float64),
    now Nullable(Float64),
    n Int64,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(detected)
ORDER BY (metric, instrument, touchpoint, detected);

-- What people noted beside the numbers: a release, a campaign, an outage. An empty touchpoint means all.
CREATE TABLE IF NOT EXISTS annotations
(
    id String,
    time DateTime64(3, 'UTC'),
    ended Nullable(DateTime64(3, 'UTC')),
    touchpoint LowCardinality(String),
    text String,
    author String,
    retracted Bool DEFAULT false,
    written DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written)
ORDER BY id;
