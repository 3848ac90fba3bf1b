-- What is asked of the table `deliveries`. Its rows are made with their tickets: `accept` in tickets.sql.

-- columns --
d.source, d.delivery_id, d.body_hash, d.component_id, d.run_id, d.session_id, d.trace_id

-- find --
SELECT {columns} FROM deliveries AS d
JOIN unnest(%(sources)s::text[], %(ids)s::text[]) AS g(source, delivery_id)
ON d.source = g.source AND d.delivery_id = g.delivery_id

-- prune --
DELETE FROM deliveries WHERE (source, delivery_id) IN (
    SELECT source, delivery_id FROM deliveries
    WHERE received_at < now() - make_interval(days => %(days)s) ORDER BY received_at LIMIT %(most)s
)
