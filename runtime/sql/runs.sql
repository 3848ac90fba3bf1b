-- Everything about one run, for GET /api/runs/{run_id}.

-- find --
-- Its ticket; or, when it was started without one or the ticket was pruned, AgentOS' own row.
SELECT
    id.id AS run_id,
    coalesce(t.component_type, r.run_type) AS kind,
    coalesce(t.component_id, CASE r.run_type WHEN 'team' THEN r.team_id WHEN 'workflow' THEN r.workflow_id
        ELSE r.agent_id END) AS agent_id,
    coalesce(t.session_id, r.session_id) AS session_id,
    coalesce(t.user_id, r.user_id) AS user_id,
    coalesce(t.status, lower(r.status)) AS status,
    t.priority,
    t.attempt,
    t.max_attempts,
    head.id AS waits_for,
    CASE WHEN t.status = 'queued' AND t.available_at > now() THEN t.available_at END AS next_attempt_at,
    coalesce(t.error, CASE r.status WHEN 'ERROR' THEN left(r.run_data ->> 'content', 1000) END) AS error,
    coalesce(t.created_at, to_timestamp(r.created_at)) AS accepted_at,
    CASE t.status WHEN 'running' THEN t.updated_at WHEN 'queued' THEN NULL
        ELSE traced.start_time::timestamptz END AS started_at,
    coalesce(t.completed_at, CASE WHEN t.id IS NULL THEN traced.end_time::timestamptz END) AS finished_at,
    CASE WHEN t.attempt = 0 THEN extract(epoch FROM now() - t.created_at)
        WHEN t.attempt = 1 AND t.status = 'running' THEN extract(epoch FROM t.updated_at - t.created_at)
        WHEN t.attempt = 1 THEN extract(epoch FROM traced.start_time::timestamptz - t.created_at)
        END::float8 AS wait_seconds,
    CASE t.status WHEN 'running' THEN extract(epoch FROM now() - t.updated_at) WHEN 'queued' THEN NULL
        ELSE traced.duration_ms / 1000.0 END::float8 AS duration_seconds,
    CASE WHEN d.source IS NOT NULL THEN jsonb_build_object('source', d.source, 'delivery_id', d.delivery_id)
        END AS delivery,
    approval.approval,
    t.payload #>> '{kwargs,metadata,telemetry,traceparent}' AS traceparent,
    coalesce(d.trace_id, traced.trace_id) AS trace_id
FROM (SELECT %(id)s::text AS id) AS id
LEFT JOIN tickets AS t ON t.id = id.id
LEFT JOIN agno.agno_runs AS r ON r.run_id = id.id
LEFT JOIN LATERAL (SELECT * FROM deliveries WHERE run_id = id.id LIMIT 1) AS d ON true
LEFT JOIN LATERAL (
    SELECT * FROM agno.agno_traces WHERE run_id = id.id ORDER BY end_time DESC LIMIT 1
) AS traced ON true
LEFT JOIN LATERAL (
    SELECT h.id FROM tickets AS h
    WHERE t.status = 'queued' AND NOT t.head AND h.lane = t.lane AND h.head
      AND h.status IN ('queued', 'running', 'paused')
) AS head ON true
LEFT JOIN LATERAL (
    SELECT jsonb_build_object(
        'id', a.id, 'tool', a.tool_name, 'since', to_timestamp(a.created_at), 'until', to_timestamp(a.expires_at)
    ) AS approval
    FROM agno.agno_approvals AS a WHERE a.run_id = id.id AND a.status = 'pending'
    ORDER BY a.created_at DESC LIMIT 1
) AS approval ON true
WHERE t.id IS NOT NULL OR r.run_id IS NOT NULL
