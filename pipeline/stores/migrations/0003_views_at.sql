-- The same scores over any window and time, a row a series: SELECT * FROM nps_at(at = now(), seconds = 3600).
-- A series is a leaf, or a marginal, which has '' in the dimensions that it sums over.
-- The window holds the minutes from `at` - `seconds` up to, not including, the minute of `at`; above 24 h its start
-- is floored to the hour. At `at` = now (to the second) the running minute counts too.

CREATE OR REPLACE VIEW nps_at AS
WITH
    (promoters + 0.75) / (n + 3) AS p,
    (detractors + 0.75) / (n + 3) AS d,
    1.96 * sqrt((p + d - (p - d) * (p - d)) / (n + 3)) AS half
SELECT
    instrument, touchpoint, channel, segment,
    n, promoters, n - promoters - detractors AS passives, detractors,
    100 * (promoters - detractors) / n AS value,
    greatest(-100., 100 * (p - d - half)) AS lower,
    least(100., 100 * (p - d + half)) AS upper
FROM
(
    SELECT
        cells.instrument AS instrument, cells.touchpoint AS touchpoint,
        cells.channel AS channel, cells.segment AS segment,
        sum(cells.n) AS n,
        sumIf(cells.n, if(i.direction = 'high', bin, i.low + i.high - bin) >= i.promoters_from) AS promoters,
        sumIf(cells.n, if(i.direction = 'high', bin, i.low + i.high - bin) <= i.detractors_to) AS detractors
    FROM
    (
        WITH
            toStartOfMinute({at:DateTime('UTC')}) AS minute,
            minute - {seconds:UInt32} AS earliest,
            if({seconds:UInt32} > 86400, toStartOfHour(earliest), earliest) AS start,
            if({at:DateTime('UTC')} >= now('UTC') - 1, minute + 60, minute) AS end
        SELECT instrument, touchpoint, channel, segment, bin, sum(cells.n) AS n
        FROM cells FINAL
        WHERE metric = 'nps' AND bucket >= start AND bucket < end
        GROUP BY instrument, touchpoint, channel, segment, bin
    ) AS cells
    INNER JOIN (SELECT * FROM instruments FINAL) AS i ON i.name = cells.instrument
    GROUP BY GROUPING SETS
    (
        (instrument, touchpoint, channel, segment),
        (instrument, touchpoint, channel), (instrument, touchpoint, segment), (instrument, channel, segment),
        (instrument, touchpoint), (instrument, channel), (instrument, segment),
        (instrument)
    )
    HAVING n > 0
);

CREATE OR REPLACE VIEW csat_at AS
WITH
    satisfied / n AS p,
    1 + 3.8416 / n AS scale,
    (p + 3.8416 / (2 * n)) / scale AS centre,
    1.96 * sqrt(p * (1 - p) / n + 3.8416 / (4 * n * n)) / scale AS half
SELECT
    instrument, touchpoint, channel, segment,
    n, satisfied,
    p AS value,
    greatest(0., centre - half) AS lower,
    least(1., centre + half) AS upper
FROM
(
    SELECT
        cells.instrument AS instrument, cells.touchpoint AS touchpoint,
        cells.channel AS channel, cells.segment AS segment,
        sum(cells.n) AS n,
        sumIf(cells.n, if(i.direction = 'high', bin, i.low + i.high - bin) >= i.satisfied_from) AS satisfied
    FROM
    (
        WITH
            toStartOfMinute({at:DateTime('UTC')}) AS minute,
            minute - {seconds:UInt32} AS earliest,
            if({seconds:UInt32} > 86400, toStartOfHour(earliest), earliest) AS start,
            if({at:DateTime('UTC')} >= now('UTC') - 1, minute + 60, minute) AS end
        SELECT instrument, touchpoint, channel, segment, bin, sum(cells.n) AS n
        FROM cells FINAL
        WHERE metric = 'csat' AND bucket >= start AND bucket < end
        GROUP BY instrument, touchpoint, channel, segment, bin
    ) AS cells
    INNER JOIN (SELECT * FROM instruments FINAL) AS i ON i.name = cells.instrument
    GROUP BY GROUPING SETS
    (
        (instrument, touchpoint, channel, segment),
        (instrument, touchpoint, channel), (instrument, touchpoint, segment), (instrument, channel, segment),
        (instrument, touchpoint), (instrument, channel), (instrument, segment),
        (instrument)
    )
    HAVING n > 0
);

CREATE OR REPLACE VIEW ces_at AS
WITH
    score_sum / n AS mean,
    1.96 * sqrt(greatest(0., square_sum - score_sum * mean) / nullIf(n - 1, 0) / n) AS half
SELECT
    instrument, touchpoint, channel, segment,
    n, score_sum, easy,
    mean AS value,
    if(n > 1, greatest(toFloat64(low), mean - half), NULL) AS lower,
    if(n > 1, least(toFloat64(high), mean + half), NULL) AS upper,
    easy / n AS ces_easy,
    100 * (mean - low) / (high - low) AS ces_ease
FROM
(
    SELECT
        cells.instrument AS instrument, cells.touchpoint AS touchpoint,
        cells.channel AS channel, cells.segment AS segment,
        any(i.low) AS low, any(i.high) AS high,
        sum(cells.n) AS n,
        sum(cells.n * if(i.direction = 'high', bin, i.low + i.high - bin)) AS score_sum,
        sum(cells.n * pow(if(i.direction = 'high', bin, i.low + i.high - bin), 2)) AS square_sum,
        sumIf(cells.n, if(i.direction = 'high', bin, i.low + i.high - bin) >= i.easy_from) AS easy
    FROM
    (
        WITH
            toStartOfMinute({at:DateTime('UTC')}) AS minute,
            minute - {seconds:UInt32} AS earliest,
            if({seconds:UInt32} > 86400, toStartOfHour(earliest), earliest) AS start,
            if({at:DateTime('UTC')} >= now('UTC') - 1, minute + 60, minute) AS end
        SELECT instrument, touchpoint, channel, segment, bin, sum(cells.n) AS n
        FROM cells FINAL
        WHERE metric = 'ces' AND bucket >= start AND bucket < end
        GROUP BY instrument, touchpoint, channel, segment, bin
    ) AS cells
    INNER JOIN (SELECT * FROM instruments FINAL) AS i ON i.name = cells.instrument
    GROUP BY GROUPING SETS
    (
        (instrument, touchpoint, channel, segment),
        (instrument, touchpoint, channel), (instrument, touchpoint, segment), (instrument, channel, segment),
        (instrument, touchpoint), (instrument, channel), (instrument, segment),
        (instrument)
    )
    HAVING n > 0
);

CREATE OR REPLACE VIEW resolution_times_at AS
WITH
    histogram.1 AS bins,
    arrayCumSum(histogram.2) AS reached,
    (rank) -> bins[arrayFirstIndex(x -> x >= rank, reached)] AS bin_at,
    (k) -> if(k = -1000, 0., exp2((k - 0.5) / 8)) AS middle,
    (percent) -> middle(bin_at(greatest(1, intDiv(n * percent + 99, 100)))) AS quantile_of,
    round(n / 2 - 0.98 * sqrt(n)) AS low_rank,
    round(1 + n / 2 + 0.98 * sqrt(n)) AS high_rank,
    low_rank >= 1 AND high_rank <= n AS known
SELECT
    instrument, instrument AS clock, touchpoint, channel, segment,
    n, seconds_sum, seconds_sum / n AS mean,
    quantile_of(50) AS p50, quantile_of(90) AS p90, quantile_of(95) AS p95, quantile_of(99) AS p99,
    p50 AS value,
    if(known, if(bin_at(low_rank) = -1000, 0., exp2((bin_at(low_rank) - 1) / 8)), NULL) AS lower,
    if(known, if(bin_at(high_rank) = -1000, 0., exp2(bin_at(high_rank) / 8)), NULL) AS upper
FROM
(
    SELECT
        instrument, touchpoint, channel, segment,
        sum(cells.n) AS n, sum(cells.total) AS seconds_sum,
        sumMap([bin], [cells.n]) AS histogram
    FROM
    (
        WITH
            toStartOfMinute({at:DateTime('UTC')}) AS minute,
            minute - {seconds:UInt32} AS earliest,
            if({seconds:UInt32} > 86400, toStartOfHour(earliest), earliest) AS start,
            if({at:DateTime('UTC')} >= now('UTC') - 1, minute + 60, minute) AS end
        SELECT instrument, touchpoint, channel, segment, bin, sum(cells.n) AS n, sum(cells.total) AS total
        FROM cells FINAL
        WHERE metric = 'resolution' AND bucket >= start AND bucket < end
        GROUP BY instrument, touchpoint, channel, segment, bin
    ) AS cells
    GROUP BY GROUPING SETS
    (
        (instrument, touchpoint, channel, segment),
        (instrument, touchpoint, channel), (instrument, touchpoint, segment), (instrument, channel, segment),
        (instrument, touchpoint), (instrument, channel), (instrument, segment),
        (instrument)
    )
    HAVING n > 0
);
