-- Response rate: of the surveys sent in a window, how many are answered so far. docs/scores.md says what counts.

-- Raw rows lie in the order of arrival; where a part of the table has no row of a span, it is not read for that span.
ALTER TABLE touchpoints ADD INDEX IF NOT EXISTS by_time kafka_time TYPE minmax GRANULARITY 1;
ALTER TABLE responses ADD INDEX IF NOT EXISTS by_time kafka_time TYPE minmax GRANULARITY 1;

-- The windows of the configuration, written by `feedback setup`: those of the newest `written` are in use, and a row
-- without a name says that there are none.
CREATE TABLE IF NOT EXISTS windows
(
    name LowCardinality(String),
    seconds UInt32,
    written DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written)
ORDER BY name;

-- What happened to surveys from `first` on and before `until`: each event by its first row, each answer by its newest
-- version, of which the first came at most a day before `first`. What happens after `first` may belong to a survey of
-- up to 30 days before: where that can be (it was shown, or names both a case and a customer), those are here, too.
CREATE OR REPLACE VIEW survey_steps_between AS
WITH
    {first:DateTime('UTC')} - toIntervalDay(30) AS earliest,
    earliest - toIntervalHour(1) AS came, -- an event is at most an hour ahead of its arrival
    -- where nobody asks, responses are not even read
    (
        SELECT count() > 0
        FROM (SELECT 1 FROM touchpoints WHERE action IN ('survey_sent', 'survey_shown') AND kafka_time >= came LIMIT 1)
    ) AS asked,
    touched AS
    (
        SELECT arrayJoin([sipHash64(1, case_id, touchpoint), sipHash64(2, customer_id, touchpoint)])
        FROM touchpoints
        WHERE action = 'survey_shown' AND kafka_time >= came + toIntervalDay(30)
            AND occurred_at >= {first:DateTime('UTC')} AND occurred_at < {until:DateTime('UTC')}
        UNION ALL
        SELECT arrayJoin([sipHash64(1, case_id, touchpoint), sipHash64(2, customer_id, touchpoint)])
        FROM touchpoints
        WHERE action = 'survey_dismissed' AND case_id != '' AND customer_id != ''
            AND kafka_time >= came + toIntervalDay(30)
            AND occurred_at >= {first:DateTime('UTC')} AND occurred_at < {until:DateTime('UTC')}
        UNION ALL
        SELECT arrayJoin([sipHash64(1, case_id, touchpoint), sipHash64(2, customer_id, touchpoint)])
        FROM responses
        WHERE asked AND case_id != '' AND customer_id != '' AND kafka_time >= {first:DateTime('UTC')} - toIntervalDay(1)
            AND occurred_at >= {first:DateTime('UTC')} AND occurred_at < {until:DateTime('UTC')}
    )
SELECT
    CAST(if(action = 'survey_sent', 1, if(action = 'survey_shown', 2, 3)),
        'Enum8(\'sent\' = 1, \'shown\' = 2, \'dismissed\' = 3, \'answered\' = 4)') AS step,
    sipHash64(event_id) AS id, occurred_at AS happened, touchpoint, channel, segment, case_id, customer_id
FROM touchpoints
WHERE action IN ('survey_sent', 'survey_shown', 'survey_dismissed')
    AND kafka_time >= came AND occurred_at >= earliest AND occurred_at < {until:DateTime('UTC')}
    AND
    (
        occurred_at >= {first:DateTime('UTC')}
        OR sipHash64(1, case_id, touchpoint) IN touched OR sipHash64(2, customer_id, touchpoint) IN touched
    )
ORDER BY kafka_time, kafka_partition, kafka_offset
LIMIT 1 BY event_id
UNION ALL
SELECT
    CAST(4, 'Enum8(\'sent\' = 1, \'shown\' = 2, \'dismissed\' = 3, \'answered\' = 4)'),
    sipHash64(response_id), occurred_at, touchpoint, channel, segment, case_id, customer_id
FROM
(
    SELECT *
    FROM responses
    WHERE kafka_time >= {first:DateTime('UTC')} - toIntervalDay(1)
        AND asked
    ORDER BY revision DESC, retracted DESC, kafka_time, kafka_partition, kafka_offset
    LIMIT 1 BY response_id
)
WHERE NOT retracted AND occurred_at >= {first:DateTime('UTC')} AND occurred_at < {until:DateTime('UTC')};

-- The surveys sent from `first` up to, not including, `stop`, and what became of them before `until`; a row a survey.
-- A survey begins where it is sent, or shown without having been sent (in an app). What is shown, dismissed or answered
-- belongs to the latest survey of the same touchpoint that went to the same case, else to the same customer, at most 30
-- days before. So an answer is used once, and a survey counts once, however many answers it has. A survey that
-- names neither case nor customer cannot be matched and is left out.
CREATE OR REPLACE VIEW surveys_between AS
WITH
    (toDateTime64(0, 3, 'UTC'), toUInt64(0)) AS nothing,
    walked AS
    (
        SELECT
            step, id, happened, touchpoint, channel, segment, kind,
            max(if(step = 'sent', (happened, id), nothing)) OVER so_far AS sent,
            max(if(step = 'shown', (happened, id), nothing)) OVER so_far AS shown
        FROM
        (
            SELECT *, name.1 AS kind, name.2 AS reached, sipHash64(kind, reached, touchpoint) AS who
            FROM survey_steps_between(
                first = {first:DateTime('UTC')}, stop = {stop:DateTime('UTC')}, until = {until:DateTime('UTC')})
            ARRAY JOIN [(1, ifNull(case_id, '')), (2, ifNull(customer_id, ''))] AS name
            WHERE reached != ''
        )
        WINDOW so_far AS
        (
            PARTITION BY who ORDER BY happened, step, id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    ),
    placed AS
    (
        SELECT
            step, id, any(happened) AS at, any(touchpoint) AS place, any(channel) AS way, any(tuple(segment)).1 AS who,
            argMinIf(sent.2, kind, sent.1 >= happened - toIntervalDay(30)) AS sent_id,
            argMinIf(shown.2, kind, shown.1 >= happened - toIntervalDay(30)) AS shown_id,
            multiIf(step = 'sent', id, sent_id != 0, sent_id, step = 'shown', id, shown_id) AS survey,
            survey = id AND step IN ('sent', 'shown') AS begins
        FROM walked
        GROUP BY step, id
    )
SELECT
    anyIf(at, begins) AS asked_at,
    anyIf(place, begins) AS touchpoint, anyIf(way, begins) AS channel,
    if(empty(ifNull(anyIf(tuple(who), begins).1, '')), 'none', toString(assumeNotNull(anyIf(tuple(who), begins).1)))
        AS segment,
    max(step = 'shown') AS shown, max(step = 'dismissed') AS dismissed, max(step = 'answered') AS answered,
    minIfOrNull(at, step = 'answered') AS answered_at
FROM placed
WHERE survey != 0
GROUP BY survey
HAVING max(begins) AND asked_at >= {first:DateTime('UTC')} AND asked_at < {stop:DateTime('UTC')};

-- A row a minute (in which the survey was sent) and leaf, answered so far. It goes through all raw rows: for a part of
-- them, ask response_rate_at or surveys_between. Interval: Wilson, z = 1.96.
CREATE OR REPLACE VIEW response_rate AS
WITH
    answered / n AS p,
    1 + 3.8416 / n AS scale,
    (p + 3.8416 / (2 * n)) / scale AS centre,
    1.96 * sqrt(p * (1 - p) / n + 3.8416 / (4 * n * n)) / scale AS half
SELECT
    bucket, '' AS instrument, touchpoint, channel, segment,
    n, shown, dismissed, answered,
    p AS value,
    greatest(0., least(p, centre - half)) AS lower,
    least(1., greatest(p, centre + half)) AS upper
FROM
(
    SELECT
        toDateTime(toStartOfMinute(asked_at), 'UTC') AS bucket, touchpoint, channel, segment,
        toInt64(count()) AS n, toInt64(sum(s.shown)) AS shown, toInt64(sum(s.dismissed)) AS dismissed,
        toInt64(sum(s.answered)) AS answered
    FROM surveys_between(first = toDateTime(86400 * 60, 'UTC'), stop = toDateTime(4294967295, 'UTC'),
        until = toDateTime(4294967295, 'UTC')) AS s
    GROUP BY bucket, touchpoint, channel, segment
);

-- The same over any window and time, as the other *_at views: sent in the window, and answered before its end.
CREATE OR REPLACE VIEW response_rate_at AS
WITH
    answered / n AS p,
    1 + 3.8416 / n AS scale,
    (p + 3.8416 / (2 * n)) / scale AS centre,
    1.96 * sqrt(p * (1 - p) / n + 3.8416 / (4 * n * n)) / scale AS half
SELECT
    '' AS instrument, touchpoint, channel, segment,
    n, shown, dismissed, answered,
    p AS value,
    greatest(0., least(p, centre - half)) AS lower,
    least(1., greatest(p, centre + half)) AS upper
FROM
(
    SELECT
        touchpoint, channel, segment,
        toInt64(count()) AS n, toInt64(sum(s.shown)) AS shown, toInt64(sum(s.dismissed)) AS dismissed,
        toInt64(sum(s.answered)) AS answered
    FROM surveys_between(
        first = if({seconds:UInt32} > 86400,
            toStartOfHour(toStartOfMinute({at:DateTime('UTC')}) - {seconds:UInt32}),
            toStartOfMinute({at:DateTime('UTC')}) - {seconds:UInt32}),
        stop = toStartOfMinute({at:DateTime('UTC')}) + if({at:DateTime('UTC')} >= now('UTC') - 1, 60, 0),
        until = toStartOfMinute({at:DateTime('UTC')}) + if({at:DateTime('UTC')} >= now('UTC') - 1, 60, 0)) AS s
    GROUP BY CUBE(touchpoint, channel, segment)
    HAVING n > 0
);

-- The rates of all configured windows above so many seconds up to so many, at the minute that has just ended.
CREATE OR REPLACE VIEW response_rates_of AS
WITH
    toStartOfMinute(now('UTC')) AS minute,
    answered / n AS p,
    1 + 3.8416 / n AS scale,
    (p + 3.8416 / (2 * n)) / scale AS centre,
    1.96 * sqrt(p * (1 - p) / n + 3.8416 / (4 * n * n)) / scale AS half
SELECT
    toDateTime64(minute, 3, 'UTC') AS time, 'response_rate' AS metric, '' AS instrument, window, touchpoint,
    '' AS channel, '' AS segment,
    p AS value,
    greatest(0., least(p, centre - half)) AS lower,
    least(1., greatest(p, centre + half)) AS upper,
    n
FROM
(
    SELECT w.name AS window, s.touchpoint AS touchpoint, toInt64(count()) AS n, toInt64(sum(s.answered)) AS answered
    FROM surveys_between(
        first = toStartOfHour(toStartOfMinute(now('UTC')) - {longest:UInt32}),
        stop = toStartOfMinute(now('UTC')), until = toStartOfMinute(now('UTC'))) AS s
    CROSS JOIN
    (
        SELECT name, minute - seconds AS earliest, if(seconds > 86400, toStartOfHour(earliest), earliest) AS start
        FROM windows FINAL
        WHERE written = (SELECT max(written) FROM windows) AND seconds > {above:UInt32} AND seconds <= {longest:UInt32}
    ) AS w
    WHERE s.asked_at >= w.start
    GROUP BY GROUPING SETS ((window, touchpoint), (window))
);

-- Into the history of scores, for touchpoints and overall: every five minutes the windows up to a day, every hour the
-- longer ones. Each row says what response_rate_at says of that time and window, so writing it twice changes nothing.
CREATE MATERIALIZED VIEW IF NOT EXISTS scores_of_response_rate REFRESH EVERY 5 MINUTE APPEND TO scores EMPTY AS
SELECT * FROM response_rates_of(longest = 86400, above = 0);

CREATE MATERIALIZED VIEW IF NOT EXISTS scores_of_long_response_rates REFRESH EVERY 1 HOUR APPEND TO scores EMPTY AS
SELECT * FROM response_rates_of(longest = 8640000, above = 86400);
