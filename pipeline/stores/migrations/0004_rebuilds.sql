-- Runs of `feedback rebuild` that came to their end: which minutes they completed, up to which source offsets
-- ("topic/partition"), and the version of the cells that they wrote. `feedback verify` judges the newest one.
CREATE TABLE IF NOT EXISTS rebuilds
(
    version UInt64,
    ended DateTime64(3, 'UTC') DEFAULT now64(3),
    first_minute Int64,
    stop_minute Int64,
    positions Map(String, Int64)
)
ENGINE = ReplacingMergeTree
ORDER BY version;
