-- Since when each input is counted by a horizon. What was late or a duplicate before was decided by another one, so a
-- recount by the horizon of now cannot judge it. The first row of an input is of 1970.
CREATE TABLE IF NOT EXISTS horizons
(
    input LowCardinality(String),
    since DateTime64(3, 'UTC'),
    milliseconds Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (input, since);
