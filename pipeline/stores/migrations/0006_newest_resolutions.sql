-- A reset counts anew, so revisions of resolutions begin anew. The resolutions of before lie aside, with 1000 x the
-- number of the reset added to their partition: of each case, those that were not put aside come first, then those of
-- the latest reset.
CREATE OR REPLACE VIEW current_resolutions AS
SELECT *
FROM
(
    SELECT *
    FROM resolutions
    ORDER BY
        kafka_partition < 1000 DESC, intDiv(kafka_partition, 1000) DESC,
        revision DESC, retracted DESC, kafka_time, kafka_partition, kafka_offset
    LIMIT 1 BY case_id
)
WHERE NOT retracted;
