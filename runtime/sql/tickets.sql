-- What the queue asks of the table `tickets` (runtime/migrations/versions/0002_tickets.py).
--
-- A lane is a session whose tickets run one at a time, in the order in which they were accepted; a ticket without a
-- session to wait for has none. `head` is true of the one live ticket of a lane that may run, and of every ticket
-- without a lane. Whoever adds to a lane or promotes in it has the lane's lock, taken in a statement of its own: the next
-- statement then sees what the one who had it before has done. A lock is held until the end of the transaction.

-- ticket --
t.id, t.component_type, t.component_id, t.session_id, t.job_type, t.deployment_id, t.user_id, t.payload, t.status,
t.attempt, t.max_attempts, t.idempotency_key, floor(date_part('epoch', t.available_at))::bigint, t.locked_by,
floor(date_part('epoch', t.locked_at))::bigint, t.error, floor(date_part('epoch', t.created_at))::bigint,
floor(date_part('epoch', t.updated_at))::bigint, floor(date_part('epoch', t.completed_at))::bigint, t.priority

-- leads --
-- There is at most one such in a lane. Asked for in a subquery with a value, for EXISTS may read all of them at once.
h.head AND h.status IN ('queued', 'running', 'paused')

-- lock_lanes --
-- In order of the keys, so that two processes cannot wait for each other.
SELECT pg_advisory_xact_lock(lanes.key)
FROM (SELECT DISTINCT hashtextextended(lane, 0) AS key FROM unnest(%(lanes)s::text[]) AS lane ORDER BY key) AS lanes

-- lock_lane_of --
SELECT pg_advisory_xact_lock(hashtextextended(t.lane, 0)) FROM tickets AS t WHERE t.id = %(id)s AND t.lane IS NOT NULL

-- given --
SELECT * FROM json_to_recordset(%(given)s) AS g(
    n int, id text, component_type text, component_id text, session_id text, job_type text, deployment_id text,
    user_id text, payload jsonb, attempt int, max_attempts int, idempotency_key text, delay float8, priority smallint,
    lane text, source text, delivery_id text, body_hash text, trace_id text
)

-- columns --
id, component_type, component_id, session_id, job_type, deployment_id, user_id, payload, attempt, max_attempts,
idempotency_key, available_at, priority, lane, head

-- values --
g.id, g.component_type, g.component_id, g.session_id, g.job_type, g.deployment_id, g.user_id, g.payload, g.attempt,
g.max_attempts, g.idempotency_key, now() + make_interval(secs => g.delay), g.priority, g.lane,
g.lane IS NULL OR (
    row_number() OVER (PARTITION BY g.lane ORDER BY g.n) = 1
    AND (SELECT h.head FROM tickets AS h WHERE h.lane = g.lane AND {leads}) IS NULL
)

-- accept --
-- Deliveries that are new, each with its ticket. In order of their keys: two processes with the same ones do not wait
-- for each other. The tickets in the order in which they came.
WITH given AS ({given}), remembered AS (
    INSERT INTO deliveries (source, delivery_id, body_hash, component_id, run_id, session_id, trace_id)
    SELECT g.source, g.delivery_id, g.body_hash, g.component_id, g.id, g.session_id, g.trace_id
    FROM given AS g ORDER BY g.source, g.delivery_id
    ON CONFLICT (source, delivery_id) DO NOTHING
    RETURNING run_id
), added AS (
    INSERT INTO tickets ({columns})
    SELECT {values} FROM given AS g
    WHERE (g.id IN (SELECT run_id FROM remembered)) IS TRUE  -- so it is a lookup, not a join
    ORDER BY g.n
    RETURNING id, head AND available_at <= now() AS claimable
)
SELECT id, (SELECT pg_notify('tickets', '') FROM added WHERE claimable LIMIT 1) FROM added

-- enqueue --
-- Tickets that are new by their idempotency key and user. The caller sorts them by key.
WITH given AS ({given}), added AS (
    INSERT INTO tickets ({columns})
    SELECT {values} FROM given AS g ORDER BY g.n
    ON CONFLICT (idempotency_key, user_id) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, created_at, available_at, head AND available_at <= now() AS claimable
)
SELECT id, created_at, available_at, (SELECT pg_notify('tickets', '') FROM added WHERE claimable LIMIT 1) FROM added

-- of_keys --
SELECT {ticket} FROM tickets AS t JOIN unnest(%(keys)s::text[], %(users)s::text[]) AS g(key, user_id)
ON t.idempotency_key = g.key AND t.user_id IS NOT DISTINCT FROM g.user_id AND t.idempotency_key IS NOT NULL

-- count_queued --
-- No further than `most`.
SELECT (SELECT count(*) FROM (
    SELECT FROM tickets WHERE status = 'queued' AND head LIMIT %(most)s
) AS heads) + (SELECT count(*) FROM (
    SELECT FROM tickets WHERE status = 'queued' AND NOT head LIMIT %(most)s
) AS behind)

-- claim --
-- Those that wait, highest priority first, and those whose worker has not been heard of for the time of a lease.
WITH due AS (
    SELECT t.ctid AS place, t.priority, t.seq FROM tickets AS t
    WHERE t.status = 'queued' AND t.head AND t.available_at <= now()
      AND (t.deployment_id IS NULL OR t.deployment_id = %(deployment_id)s)
      AND t.component_id <> ALL(%(busy)s)
    ORDER BY t.priority DESC, t.seq LIMIT %(most)s FOR UPDATE SKIP LOCKED
), stale AS (
    SELECT t.ctid AS place, t.priority, t.seq FROM tickets AS t
    WHERE t.status = 'running' AND t.locked_at <= now() - make_interval(secs => %(lease)s)
      AND t.attempt < t.max_attempts
      AND (t.deployment_id IS NULL OR t.deployment_id = %(deployment_id)s)
      AND t.component_id <> ALL(%(busy)s)
    ORDER BY t.locked_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE tickets AS t
SET status = 'running', locked_by = %(worker)s, locked_at = now(), updated_at = now(), attempt = t.attempt + 1
WHERE t.ctid = ANY(ARRAY(
    SELECT place FROM (SELECT * FROM due UNION ALL SELECT * FROM stale) AS found
    ORDER BY priority DESC, seq LIMIT %(most)s
))
RETURNING t.seq, {ticket}

-- heartbeat --
-- A row that another holds is being settled: to wait for it could be to wait for each other.
UPDATE tickets SET locked_at = now() WHERE id IN (
    SELECT id FROM tickets
    WHERE id = ANY(%(ids)s) AND locked_by = %(worker)s AND status = 'running' FOR UPDATE SKIP LOCKED
)

-- settle --
-- The end of an attempt, each fenced by what the ticket must still be. Without a status: again, while attempts are left.
WITH given AS (
    SELECT * FROM json_to_recordset(%(given)s) AS g(
        n int, id text, worker text, attempt int, was text[], status text, error text, keep_error bool, delay float8
    )
), settled AS (
    UPDATE tickets AS t SET
        status = CASE WHEN g.status IS NOT NULL THEN g.status
                      WHEN t.attempt < t.max_attempts THEN 'queued' ELSE 'failed' END,
        available_at = CASE WHEN g.status IS NULL AND t.attempt < t.max_attempts
                            THEN now() + make_interval(secs => g.delay) ELSE t.available_at END,
        completed_at = CASE WHEN g.status IS NULL AND t.attempt < t.max_attempts THEN NULL ELSE now() END,
        error = CASE WHEN g.keep_error THEN t.error ELSE g.error END,
        locked_by = NULL, locked_at = NULL, updated_at = now()
    FROM given AS g
    WHERE t.id = g.id AND t.status = ANY(coalesce(g.was, ARRAY['running']))
      AND (g.worker IS NULL OR t.locked_by = g.worker) AND (g.attempt IS NULL OR t.attempt = g.attempt)
    RETURNING
        g.n, t.status, t.status = 'queued' AND t.available_at <= now() AS claimable,
        CASE WHEN t.head AND t.status IN ('completed', 'failed', 'cancelled') THEN t.lane END AS freed, t.component_id
)
SELECT n, status, freed, component_id, (SELECT pg_notify('tickets', '') FROM settled WHERE claimable LIMIT 1) FROM settled

-- outcomes --
-- What became of tickets whose settlement had no answer. An attempt that is over has this number until the next begins.
SELECT id, attempt, status, component_id FROM tickets WHERE id = ANY(%(ids)s) AND status <> 'running'

-- promote --
-- In each of these lanes that has no head, the first that waits becomes it.
WITH next AS (
    SELECT (
        SELECT w.id FROM tickets AS w
        WHERE w.lane = lanes.lane AND w.status = 'queued' AND NOT w.head ORDER BY w.seq LIMIT 1
    ) AS id
    FROM (SELECT DISTINCT unnest(%(lanes)s::text[]) AS lane) AS lanes
    WHERE (SELECT h.head FROM tickets AS h WHERE h.lane = lanes.lane AND {leads}) IS NULL
), promoted AS (
    UPDATE tickets AS t SET head = true WHERE t.id = ANY(ARRAY(SELECT id FROM next)) RETURNING t.id
)
SELECT pg_notify('tickets', '') FROM promoted LIMIT 1

-- requeue --
-- One more attempt of a ticket that failed or was cancelled, behind those of its lane that live.
UPDATE tickets AS t SET
    status = 'queued', max_attempts = t.attempt + 1, available_at = now(), completed_at = NULL, updated_at = now(),
    locked_by = NULL, locked_at = NULL,
    seq = CASE WHEN t.lane IS NULL THEN t.seq ELSE nextval('tickets_seq_seq') END,
    head = t.lane IS NULL OR (SELECT h.head FROM tickets AS h WHERE h.lane = t.lane AND {leads}) IS NULL
WHERE t.id = %(id)s AND t.status IN ('failed', 'cancelled')
RETURNING t.id, (SELECT pg_notify('tickets', ''))

-- continue --
-- A paused ticket is its lane's head, and stays it. One more attempt, with what the person decided.
UPDATE tickets AS t SET
    status = 'queued', payload = t.payload || jsonb_build_object('continue', %(inputs)s::jsonb),
    max_attempts = t.attempt + 1, available_at = now(), completed_at = NULL, updated_at = now(),
    locked_by = NULL, locked_at = NULL
WHERE t.id = %(id)s AND t.status = 'paused'
RETURNING {ticket}, (SELECT pg_notify('tickets', ''))

-- exhausted --
SELECT {ticket} FROM tickets AS t
WHERE t.status = 'running' AND t.locked_at <= now() - make_interval(secs => %(lease)s) AND t.attempt >= t.max_attempts
ORDER BY t.locked_at LIMIT %(most)s

-- acquire --
UPDATE tickets SET locked_by = %(worker)s, locked_at = now(), updated_at = now()
WHERE id = %(id)s AND status = 'running' AND locked_at <= now() - make_interval(secs => %(lease)s)
  AND attempt >= max_attempts

-- get --
SELECT {ticket} FROM tickets AS t WHERE t.id = %(id)s

-- blocker --
-- Whom a ticket of a lane waits for: the lane's head.
SELECT h.id FROM tickets AS t JOIN tickets AS h ON h.lane = t.lane
WHERE t.id = %(id)s AND t.status = 'queued' AND NOT t.head AND {leads}

-- matching --
FROM tickets AS t
WHERE (%(statuses)s::text[] IS NULL OR t.status = ANY(%(statuses)s))
  AND (%(sessions)s::text[] IS NULL OR t.session_id = ANY(%(sessions)s))
  AND (%(user)s::text IS NULL OR t.user_id = %(user)s)

-- count --
SELECT count(*) {matching}

-- page --
-- The caller adds the order.
SELECT {ticket} {matching}

-- states --
-- How many are in each state that is not the end, and how long the oldest of them could have run, in seconds.
SELECT 'queued', count(*), extract(epoch FROM now() - min(available_at))::float8
FROM (
    SELECT available_at FROM tickets WHERE status = 'queued' AND head
    UNION ALL SELECT available_at FROM tickets WHERE status = 'queued' AND NOT head
) AS waiting
UNION ALL
SELECT status, count(*), 0 FROM tickets WHERE status IN ('running', 'paused') GROUP BY status

-- stats --
SELECT status, count(*), extract(epoch FROM now() - min(created_at))::bigint FROM tickets GROUP BY status

-- prune --
-- Some of those that ended long ago. A paused one may wait for its person as long as it takes.
DELETE FROM tickets WHERE id = ANY(ARRAY(
    SELECT id FROM tickets
    WHERE status IN ('completed', 'failed', 'cancelled') AND completed_at <= now() - make_interval(secs => %(seconds)s)
    ORDER BY completed_at LIMIT %(most)s
))
