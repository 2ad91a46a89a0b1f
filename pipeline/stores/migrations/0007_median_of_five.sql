-- The interval of a median holds from five cases on (93.75 %: the smallest and the largest of five), as in
-- pipeline/measures/intervals.py. Nothing else is changed: bins (2^((k-1)/8), 2^(k/8)] seconds, -1000 the bin of zero.
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
