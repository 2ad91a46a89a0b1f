-- Cases as they are now: one row a case id that was opened, from the raw touchpoints that are still kept, late ones too.
-- What lies before the opening is left out, as in the scores. An id that was used again after a long silence is one row
-- here; scores and resolutions tell its lives apart.

CREATE OR REPLACE VIEW cases AS
WITH
    arrayFilter(one -> one.1 >= opened.1, marks) AS heard,
    arrayMap(one -> one.2, arrayFilter(one -> one.2 >= 5, heard)) AS ends, -- resolved, reopened, closed
    arrayMap(one -> one.2, arrayFilter(one -> one.2 IN (3, 4, 5), heard)) AS waits, -- waiting, resumed, resolved
    arrayFilter(one -> one.2 = 5, heard) AS resolves,
    arrayFilter(one -> one.2 = 1, heard) AS answers
SELECT
    case_id,
    opened.2 AS touchpoint, opened.3 AS channel, opened.4 AS segment, opened.5 AS priority, opened.6 AS customer_id,
    multiIf(
        ends[-1] = 7, 'closed',
        ends[-1] = 5, 'resolved',
        waits[-1] = 3, 'waiting',
        'open') AS state,
    fromUnixTimestamp64Milli(opened.1, 'UTC') AS opened_at,
    if(empty(answers), NULL, fromUnixTimestamp64Milli(answers[1].1, 'UTC')) AS first_reply_at,
    if(empty(resolves), NULL, fromUnixTimestamp64Milli(resolves[-1].1, 'UTC')) AS resolved_at,
    fromUnixTimestamp64Milli(last, 'UTC') AS last_event_at,
    length(answers) AS replies,
    length(arrayFilter(one -> one.2 = 2 AND one.1 > opened.1, heard)) AS contacts,
    length(arrayFilter(one -> one.2 = 6, heard)) AS reopens
FROM
(
    WITH
        toUnixTimestamp64Milli(occurred_at) AS at,
        -- what happens at one instant happens in this order
        transform(toString(action),
            ['case_replied', 'case_contacted', 'case_waiting', 'case_resumed', 'case_resolved', 'case_reopened', 'case_closed'],
            [1, 2, 3, 4, 5, 6, 7], 0) AS kind
    SELECT
        assumeNotNull(case_id) AS case_id,
        argMinIf(
            (at, toString(touchpoint), toString(channel), CAST(segment, 'Nullable(String)'),
             CAST(priority, 'Nullable(String)'), customer_id),
            (at, toString(touchpoint), toString(channel), isNull(segment), ifNull(toString(segment), ''),
             isNull(priority), ifNull(toString(priority), ''), isNull(customer_id), ifNull(customer_id, '')),
            action = 'case_opened') AS opened,
        max(at) AS last,
        arraySort(groupUniqArrayIf((at, kind), kind > 0)) AS marks
    FROM touchpoints
    WHERE startsWith(toString(action), 'case_') AND ifNull(case_id, '') != ''
    GROUP BY case_id
    HAVING countIf(action = 'case_opened') > 0
);

-- The open ones and how old they are now: what the resolution times of the others do not tell.
CREATE OR REPLACE VIEW open_cases AS
SELECT *, dateDiff('second', opened_at, now64(3, 'UTC')) AS age_seconds
FROM cases
WHERE state IN ('open', 'waiting');
