-- Runs of `feedback reset`, the newest row of a number. Rows of source topics that were made anew lie aside, with
-- 1000 x number added to their partition. Live counting began anew at `begins` ("topic/partition" -> offset). Cells of
-- minutes before `kept_before` are all that is left of their raw rows: no rebuild touches them. `earliest` is the oldest
-- kafka_time that the raw tables ever held by then, in milliseconds since 1970.
CREATE TABLE IF NOT EXISTS resets
(
    number UInt32,
    saved DateTime64(6, 'UTC') DEFAULT now64(6),
    step LowCardinality(String),
    aside Array(String),
    begins Map(String, Int64),
    kept_before Int64,
    earliest Int64
)
ENGINE = ReplacingMergeTree(saved)
ORDER BY number;
