-- Since when the rules of the configuration hold by which cases and answers are measured. What was measured before keeps
-- what it counted, so a recount by the rules of now cannot judge it. The first row of a new store is of 1970.
CREATE TABLE IF NOT EXISTS measuring_rules
(
    since DateTime64(3, 'UTC'),
    rules String
)
ENGINE = ReplacingMergeTree
ORDER BY since;
