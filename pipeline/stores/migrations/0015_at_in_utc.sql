-- ClickHouse hands the argument of a view on as text, without its time zone, and the *_at views read that text as UTC.
-- In a session of another zone `now()` would so be hours away, and nothing would say so: such a session is refused.
-- (The old zone of a value made with one of its own, as by toDateTime(..., 'Asia/Tokyo'), is nowhere to be seen:
-- docs/scores.md says what to write.)
CREATE OR REPLACE VIEW utc_only AS
WITH toTimeZone({at:DateTime('UTC')}, timezone()) AS there
SELECT throwIf(timeZoneOffset(there) != 0,
    'the time zone of this session is not UTC, as which `at` is read: add SETTINGS session_timezone = ''UTC''') AS refused;

-- As in 0008, but for the refusal: a scalar, so it comes before any row is looked for, and where there is none, too.
CREATE OR REPLACE VIEW counts_at AS
SELECT instrument, touchpoint, channel, segment, bin, sum(leaves.n) AS n, sum(leaves.total) AS total
FROM
(
    WITH
        toStartOfMinute({at:DateTime('UTC')}) AS minute,
        minute - {seconds:UInt32} AS earliest,
        if({seconds:UInt32} > 86400, toStartOfHour(earliest), earliest) AS start,
        if({at:DateTime('UTC')} >= now('UTC') - 1, minute + 60, minute) AS end
    SELECT instrument, touchpoint, channel, segment, bin, sum(cells.n) AS n, sum(cells.total) AS total
    FROM cells FINAL
    WHERE metric = {metric:String} AND bucket >= start AND bucket < end
        AND (SELECT refused FROM utc_only(at = {at:DateTime('UTC')})) = 0
    GROUP BY instrument, touchpoint, channel, segment, bin
) AS leaves
GROUP BY GROUPING SETS
(
    (instrument, bin, touchpoint, channel, segment),
    (instrument, bin, touchpoint, channel), (instrument, bin, touchpoint, segment), (instrument, bin, channel, segment),
    (instrument, bin, touchpoint), (instrument, bin, channel), (instrument, bin, segment),
    (instrument, bin)
);

-- As in 0009, but for the refusal.
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
    WHERE (SELECT refused FROM utc_only(at = {at:DateTime('UTC')})) = 0
    GROUP BY CUBE(touchpoint, channel, segment)
    HAVING n > 0
);
