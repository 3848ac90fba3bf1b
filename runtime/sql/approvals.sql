-- What is asked of agno's table of approvals, and of ours beside it: `approval_waits` and the outbox `approval_notices`.

-- withdraw --
-- An earlier attempt of the run asked, and its process died before the run was parked: nobody waits for the answer.
WITH gone AS (
    UPDATE approval_waits SET decided_at = now(), decision = 'cancelled', continue_at = NULL
    WHERE run_id = %(run_id)s AND attempt < %(attempt)s AND decided_at IS NULL RETURNING approval_id
)
UPDATE agno.agno_approvals SET status = 'cancelled', updated_at = extract(epoch FROM now())
WHERE id IN (SELECT approval_id FROM gone) AND status = 'pending'

-- withdraw_run --
WITH gone AS (
    UPDATE agno.agno_approvals SET status = 'cancelled', updated_at = extract(epoch FROM now())
    WHERE run_id = %(run_id)s AND status = 'pending' RETURNING id
)
UPDATE approval_waits SET decided_at = now(), decision = 'cancelled'
WHERE approval_id IN (SELECT id FROM gone) AND decided_at IS NULL

-- create --
INSERT INTO agno.agno_approvals
SELECT * FROM json_populate_record(NULL::agno.agno_approvals, %(record)s::json)

-- wait --
INSERT INTO approval_waits (
    approval_id, run_id, attempt, component_type, component_id, traceparent, authority, created_at, expires_at
)
VALUES (
    %(approval_id)s, %(run_id)s, %(attempt)s, %(component_type)s, %(component_id)s, %(traceparent)s, %(authority)s,
    to_timestamp(%(created_at)s), to_timestamp(%(expires_at)s)
)

-- notify --
INSERT INTO approval_notices (id, approval_id, body) VALUES (%(id)s, %(approval_id)s, %(body)s)

-- get --
SELECT to_jsonb(a), w.run_id, w.component_type, w.component_id, w.decision, w.reason, w.arguments
FROM agno.agno_approvals AS a LEFT JOIN approval_waits AS w ON w.approval_id = a.id WHERE a.id = %(id)s

-- of_run --
SELECT approval_id FROM approval_waits WHERE run_id = %(run_id)s ORDER BY created_at DESC

-- decide --
UPDATE agno.agno_approvals AS a SET
    status = %(status)s, resolved_by = %(by)s, resolved_at = extract(epoch FROM now()),
    resolution_data = %(data)s, updated_at = extract(epoch FROM now())
WHERE id = %(id)s AND status = 'pending' RETURNING to_jsonb(a)

-- decided --
UPDATE approval_waits SET
    decided_at = now(), decision = %(status)s, reason = %(reason)s, arguments = %(arguments)s, through = %(through)s,
    continue_at = now()
WHERE approval_id = %(id)s AND decided_at IS NULL
RETURNING run_id, traceparent, extract(epoch FROM created_at)::float8, extract(epoch FROM decided_at)::float8

-- overdue --
SELECT approval_id FROM approval_waits WHERE decided_at IS NULL AND expires_at <= now() ORDER BY expires_at LIMIT 20

-- due --
SELECT DISTINCT run_id FROM approval_waits AS w WHERE continue_at <= now() AND NOT EXISTS (
    SELECT FROM approval_waits AS other WHERE other.run_id = w.run_id AND other.decided_at IS NULL
) LIMIT 20

-- lock --
SELECT pg_try_advisory_xact_lock(hashtextextended('approval ' || %(run_id)s, 0))

-- decisions --
SELECT
    w.approval_id, w.decision, w.reason, w.arguments, w.through, w.authority, w.component_type, w.component_id,
    w.continue_at IS NOT NULL, a.resolution_data
FROM approval_waits AS w LEFT JOIN agno.agno_approvals AS a ON a.id = w.approval_id WHERE w.run_id = %(run_id)s

-- continued --
UPDATE approval_waits SET continue_at = NULL WHERE run_id = %(run_id)s

-- later --
-- After an hour the run, or what is left of it, will not be parked any more.
UPDATE approval_waits SET
    continue_at = CASE WHEN decided_at > now() - interval '1 hour'
        THEN now() + make_interval(secs => least(30, 0.1 * power(2, least(tries, 10)))) END,
    tries = tries + 1
WHERE run_id = %(run_id)s AND continue_at IS NOT NULL

-- claim_notices --
-- Until next_at they are this process's. Should it die, another sends them then, under the same id.
UPDATE approval_notices SET attempts = attempts + 1, next_at = now() + interval '20 seconds' WHERE id IN (
    SELECT id FROM approval_notices WHERE next_at <= now() ORDER BY next_at LIMIT 10 FOR UPDATE SKIP LOCKED
) RETURNING id, approval_id, body, attempts

-- delivered --
UPDATE approval_notices SET next_at = NULL, delivered_at = now(), last_error = NULL WHERE id = %(id)s

-- failed --
-- Full jitter: any time up to 1, 2, 4, ... seconds, 15 minutes at most. After a day it is given up.
UPDATE approval_notices SET
    last_error = %(error)s,
    next_at = CASE WHEN created_at > now() - interval '1 day'
        THEN now() + make_interval(secs => random() * least(900, power(2, least(attempts, 20) - 1))) END,
    gave_up_at = CASE WHEN created_at <= now() - interval '1 day' THEN now() END
WHERE id = %(id)s RETURNING gave_up_at IS NOT NULL

-- not_notified --
UPDATE agno.agno_approvals SET
    context = coalesce(context, '{}') || jsonb_build_object('notice', 'not delivered: ' || %(error)s::text)
WHERE id = %(id)s

-- prune_notices --
DELETE FROM approval_notices WHERE created_at < now() - interval '7 days' AND next_at IS NULL

-- pending --
SELECT coalesce(agent_id, team_id, workflow_id, 'unknown'), count(*) FROM agno.agno_approvals
WHERE status = 'pending' AND approval_type = 'required' GROUP BY 1
