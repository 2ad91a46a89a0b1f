-- All views of scores anew, instead of 0002, 0003 and 0007. The numbers are the same; each
-- rule now stands once, and a question over a month costs a fraction.
--   answers       a row a cell of a survey, what it counts as beside it: the cheapest way to a sum over any span of time
--   answers_at    the same over one window, every marginal beside the leaves
--   nps, csat, ...        a row a minute and leaf, with its interval
--   nps_at, csat_at, ...  a row a series of one window, with its interval

-- One row: the scales in use, by position. Looked up by `transform`, which costs nothing where a column is not asked for;
-- a join would be paid by every question. Scores are `turned + sign x bin`, so high = good; an instrument has good answers
-- from `good_from` on, and bad ones up to `bad_to` if it has a group of them (else none is that low).
CREATE OR REPLACE VIEW scales AS
SELECT
    arrayPushFront(groupArray(toString(name)), '') AS names,
    arrayPushFront(groupArray(toInt32(if(direction = 'high', 1, -1))), 0) AS sign,
    arrayPushFront(groupArray(toInt32(if(direction = 'high', 0, low + high))), 0) AS turned,
    arrayPushFront(groupArray(toInt32(coalesce(promoters_from, satisfied_from, easy_from, high + 1))), 0) AS good_from,
    arrayPushFront(groupArray(toInt32(coalesce(detractors_to, low - 1))), 0) AS bad_to,
    arrayPushFront(groupArray(low), 0) AS lowest,
    arrayPushFront(groupArray(high), 0) AS highest
FROM instruments FINAL;

-- A row a cell, part and origin: add them up. `good` are promoters, satisfied or easy answers, `bad` detractors; `score` is
-- the answer turned to high = good. sum(good) / sum(n) is a CSAT, 100 * (sum(good) - sum(bad)) / sum(n) an NPS.
CREATE OR REPLACE VIEW answers AS
WITH
    (SELECT (names, sign, turned, good_from, bad_to, lowest, highest) FROM scales) AS s,
    transform(instrument, s.1, s.3, toInt32(0)) + transform(instrument, s.1, s.2, toInt32(0)) * bin AS turned
SELECT
    bucket, metric, instrument, touchpoint, channel, segment, bin, cells.n AS n,
    turned AS score,
    if(turned >= transform(instrument, s.1, s.4, toInt32(0)), n, 0) AS good,
    if(turned <= transform(instrument, s.1, s.5, toInt32(0)), n, 0) AS bad,
    transform(instrument, s.1, s.6, toInt32(0)) AS low,
    transform(instrument, s.1, s.7, toInt32(0)) AS high
FROM cells FINAL
WHERE metric IN (SELECT metric FROM instruments) AND instrument IN (SELECT name FROM instruments);

-- The cells of one metric in one window, a row a series and bin; a marginal has '' in the dimensions that it sums over.
-- The window holds the minutes from `at` - `seconds` up to, not including, the minute of `at`; above 24 h its start
-- is floored to the hour. At `at` = now (to the second) the running minute counts too.
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
    GROUP BY instrument, touchpoint, channel, segment, bin
) AS leaves
GROUP BY GROUPING SETS
(
    (instrument, bin, touchpoint, channel, segment),
    (instrument, bin, touchpoint, channel), (instrument, bin, touchpoint, segment), (instrument, bin, channel, segment),
    (instrument, bin, touchpoint), (instrument, bin, channel), (instrument, bin, segment),
    (instrument, bin)
);

CREATE OR REPLACE VIEW answers_at AS
WITH
    (SELECT (names, sign, turned, good_from, bad_to, lowest, highest) FROM scales) AS s,
    transform(instrument, s.1, s.3, toInt32(0)) + transform(instrument, s.1, s.2, toInt32(0)) * bin AS turned
SELECT
    instrument, touchpoint, channel, segment, bin, n,
    turned AS score,
    if(turned >= transform(instrument, s.1, s.4, toInt32(0)), n, 0) AS good,
    if(turned <= transform(instrument, s.1, s.5, toInt32(0)), n, 0) AS bad,
    transform(instrument, s.1, s.6, toInt32(0)) AS low,
    transform(instrument, s.1, s.7, toInt32(0)) AS high
FROM counts_at(metric = {metric:String}, at = {at:DateTime('UTC')}, seconds = {seconds:UInt32})
WHERE instrument IN (SELECT name FROM instruments);

-- NPS. Interval: adjusted Wald (n + 3, P + 3/4, D + 3/4), z = 1.96.
CREATE OR REPLACE VIEW nps AS
WITH
    (promoters + 0.75) / (n + 3) AS p,
    (detractors + 0.75) / (n + 3) AS d,
    1.96 * sqrt((p + d - (p - d) * (p - d)) / (n + 3)) AS half
SELECT
    bucket, instrument, touchpoint, channel, segment,
    n, promoters, n - promoters - detractors AS passives, detractors,
    100 * (promoters - detractors) / n AS value,
    greatest(-100., 100 * (p - d - half)) AS lower,
    least(100., 100 * (p - d + half)) AS upper
FROM
(
    SELECT
        bucket, instrument, touchpoint, channel, segment,
        sum(answers.n) AS n, sum(good) AS promoters, sum(bad) AS detractors
    FROM answers
    WHERE metric = 'nps'
    GROUP BY bucket, instrument, touchpoint, channel, segment
    HAVING n > 0
);

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
        instrument, touchpoint, channel, segment,
        sum(a.n) AS n, sum(a.good) AS promoters, sum(a.bad) AS detractors
    FROM answers_at(metric = 'nps', at = {at:DateTime('UTC')}, seconds = {seconds:UInt32}) AS a
    GROUP BY instrument, touchpoint, channel, segment
    HAVING n > 0
);

-- CSAT; shares 0..1. Interval: Wilson, z = 1.96.
CREATE OR REPLACE VIEW csat AS
WITH
    satisfied / n AS p,
    1 + 3.8416 / n AS scale,
    (p + 3.8416 / (2 * n)) / scale AS centre,
    1.96 * sqrt(p * (1 - p) / n + 3.8416 / (4 * n * n)) / scale AS half
SELECT
    bucket, instrument, touchpoint, channel, segment,
    n, satisfied,
    p AS value,
    greatest(0., centre - half) AS lower,
    least(1., centre + half) AS upper
FROM
(
    SELECT bucket, instrument, touchpoint, channel, segment, sum(answers.n) AS n, sum(good) AS satisfied
    FROM answers
    WHERE metric = 'csat'
    GROUP BY bucket, instrument, touchpoint, channel, segment
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
    SELECT instrument, touchpoint, channel, segment, sum(a.n) AS n, sum(a.good) AS satisfied
    FROM answers_at(metric = 'csat', at = {at:DateTime('UTC')}, seconds = {seconds:UInt32}) AS a
    GROUP BY instrument, touchpoint, channel, segment
    HAVING n > 0
);

-- CES, on the scale turned to high = easy: value = score_sum / n, ces_easy the share of easy answers, ces_ease the mean
-- on 0..100. Interval: on the mean, by the sample variance with n - 1, NULL at n = 1.
CREATE OR REPLACE VIEW ces AS
WITH
    score_sum / n AS mean,
    1.96 * sqrt(greatest(0., square_sum - score_sum * mean) / nullIf(n - 1, 0) / n) AS half
SELECT
    bucket, instrument, touchpoint, channel, segment,
    n, score_sum, easy,
    mean AS value,
    if(n > 1, greatest(toFloat64(low), mean - half), NULL) AS lower,
    if(n > 1, least(toFloat64(high), mean + half), NULL) AS upper,
    easy / n AS ces_easy,
    100 * (mean - low) / (high - low) AS ces_ease
FROM
(
    SELECT
        bucket, instrument, touchpoint, channel, segment,
        any(answers.low) AS low, any(answers.high) AS high,
        sum(answers.n) AS n, sum(answers.n * score) AS score_sum, sum(answers.n * score * score) AS square_sum,
        sum(good) AS easy
    FROM answers
    WHERE metric = 'ces'
    GROUP BY bucket, instrument, touchpoint, channel, segment
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
        instrument, touchpoint, channel, segment,
        any(a.low) AS low, any(a.high) AS high,
        sum(a.n) AS n, sum(a.n * score) AS score_sum, sum(a.n * score * score) AS square_sum,
        sum(a.good) AS easy
    FROM answers_at(metric = 'ces', at = {at:DateTime('UTC')}, seconds = {seconds:UInt32}) AS a
    GROUP BY instrument, touchpoint, channel, segment
    HAVING n > 0
);

-- Resolution times; clock: first_reply, first_resolution, full_resolution, agent or business.
-- Percentiles by nearest rank from bins (2^((k-1)/8), 2^(k/8)] seconds, each at its geometric middle (within 4.5 %);
-- -1000 is the bin of zero. value is the median, its interval two order statistics (NULL below five cases).
CREATE OR REPLACE VIEW resolution_times AS
WITH
    histogram.1 AS bins,
    arrayCumSum(histogram.2) AS reached,
    (rank) -> bins[arrayFirstIndex(x -> x >= rank, reached)] AS bin_at,
    (k) -> if(k = -1000, 0., exp2((k - 0.5) / 8)) AS middle,
    (percent) -> middle(bin_at(greatest(1, intDiv(n * percent + 99, 100)))) AS quantile_of,
    greatest(1., round(n / 2 - 0.98 * sqrt(n))) AS low_rank,
    least(toFloat64(n), round(1 + n / 2 + 0.98 * sqrt(n))) AS high_rank,
    n >= 5 AS known
SELECT
    bucket, instrument, instrument AS clock, touchpoint, channel, segment,
    n, seconds_sum, seconds_sum / n AS mean,
    quantile_of(50) AS p50, quantile_of(90) AS p90, quantile_of(95) AS p95, quantile_of(99) AS p99,
    p50 AS value,
    if(known, if(bin_at(low_rank) = -1000, 0., exp2((bin_at(low_rank) - 1) / 8)), NULL) AS lower,
    if(known, if(bin_at(high_rank) = -1000, 0., exp2(bin_at(high_rank) / 8)), NULL) AS upper
FROM
(
    SELECT
        bucket, instrument, touchpoint, channel, segment,
        sum(cells.n) AS n, sum(total) AS seconds_sum,
        sumMap([bin], [cells.n]) AS histogram
    FROM cells FINAL
    WHERE metric = 'resolution'
    GROUP BY bucket, instrument, touchpoint, channel, segment
    HAVING n > 0
);

CREATE OR REPLACE VIEW resolution_times_at AS
WITH
    histogram.1 AS bins,
    arrayCumSum(histogram.2) AS reached,
    (rank) -> bins[arrayFirstIndex(x -> x >= rank, reached)] AS bin_at,
    (k) -> if(k = -1000, 0., exp2((k - 0.5) / 8)) AS middle,
    (percent) -> middle(bin_at(greatest(1, intDiv(n * percent + 99, 100)))) AS quantile_of,
    greatest(1., round(n / 2 - 0.98 * sqrt(n))) AS low_rank,
    least(toFloat64(n), round(1 + n / 2 + 0.98 * sqrt(n))) AS high_rank,
    n >= 5 AS known
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
        sum(a.n) AS n, sum(a.total) AS seconds_sum,
        sumMap([bin], [a.n]) AS histogram
    FROM counts_at(metric = 'resolution', at = {at:DateTime('UTC')}, seconds = {seconds:UInt32}) AS a
    GROUP BY instrument, touchpoint, channel, segment
    HAVING n > 0
);
