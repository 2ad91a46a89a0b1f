-- Views: what people and dashboards read. They hide FINAL, origins, parts and retractions.

-- One row an id: the newest version. Of two equal versions the first one holds, as in live counting.
-- FINAL would change nothing, since rows of one position are equal, and costs three times as much.
CREATE OR REPLACE VIEW current_responses AS
SELECT *
FROM
(
    SELECT *
    FROM responses
    ORDER BY revision DESC, retracted DESC, kafka_time, kafka_partition, kafka_offset
    LIMIT 1 BY response_id
)
WHERE NOT retracted;

CREATE OR REPLACE VIEW current_resolutions AS
SELECT *
FROM
(
    SELECT *
    FROM resolutions
    ORDER BY revision DESC, retracted DESC, kafka_time, kafka_partition, kafka_offset
    LIMIT 1 BY case_id
)
WHERE NOT retracted;

CREATE OR REPLACE VIEW outcomes AS
SELECT topic, partition, day, outcome, n
FROM outcome_counts FINAL
WHERE n > 0;

-- NPS, a row a minute and leaf. Interval: adjusted Wald (n + 3, P + 3/4, D + 3/4), z = 1.96.
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
        cells.bucket AS bucket, cells.instrument AS instrument, cells.touchpoint AS touchpoint,
        cells.channel AS channel, cells.segment AS segment,
        sum(cells.n) AS n,
        sumIf(cells.n, if(i.direction = 'high', bin, i.low + i.high - bin) >= i.promoters_from) AS promoters,
        sumIf(cells.n, if(i.direction = 'high', bin, i.low + i.high - bin) <= i.detractors_to) AS detractors
    FROM cells FINAL
    INNER JOIN (SELECT * FROM instruments FINAL) AS i ON i.name = cells.instrument
    WHERE cells.metric = 'nps'
    GROUP BY bucket, instrument, touchpoint, channel, segment
    HAVING n > 0
);

-- CSAT, a row a minute and leaf; shares 0..1. Interval: Wilson, z = 1.96.
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
    SELECT
        cells.bucket AS bucket, cells.instrument AS instrument, cells.touchpoint AS touchpoint,
        cells.channel AS channel, cells.segment AS segment,
        sum(cells.n) AS n,
        sumIf(cells.n, if(i.direction = 'high', bin, i.low + i.high - bin) >= i.satisfied_from) AS satisfied
    FROM cells FINAL
    INNER JOIN (SELECT * FROM instruments FINAL) AS i ON i.name = cells.instrument
    WHERE cells.metric = 'csat'
    GROUP BY bucket, instrument, touchpoint, channel, segment
    HAVING n > 0
);

-- CES, a row a minute and leaf, on the scale turned to high = easy: value = score_sum / n, ces_easy the share of easy
-- answers, ces_ease the mean on 0..100. Interval: on the mean, by the sample variance with n - 1, NULL at n = 1.
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
        cells.bucket AS bucket, cells.instrument AS instrument, cells.touchpoint AS touchpoint,
        cells.channel AS channel, cells.segment AS segment,
        any(i.low) AS low, any(i.high) AS high,
        sum(cells.n) AS n,
        sum(cells.n * if(i.direction = 'high', bin, i.low + i.high - bin)) AS score_sum,
        sum(cells.n * pow(if(i.direction = 'high', bin, i.low + i.high - bin), 2)) AS square_sum,
        sumIf(cells.n, if(i.direction = 'high', bin, i.low + i.high - bin) >= i.easy_from) AS easy
    FROM cells FINAL
    INNER JOIN (SELECT * FROM instruments FINAL) AS i ON i.name = cells.instrument
    WHERE cells.metric = 'ces'
    GROUP BY bucket, instrument, touchpoint, channel, segment
    HAVING n > 0
);

-- Resolution times, a row a minute and leaf; clock: first_reply, first_resolution, full_resolution, agent or business.
-- Percentiles by nearest rank from bins (2^((k-1)/8), 2^(k/8)] seconds, each at its geometric middle (within 4.5 %);
-- -1000 is the bin of zero. value is the median, its interval two order statistics (NULL below six cases).
CREATE OR REPLACE VIEW resolution_times AS
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
