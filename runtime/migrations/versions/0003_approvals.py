"""Approvals: what agno's own table of them does not say, and the notices that go out about them."""

from alembic import op

revision = "0003"
down_revision = "0002"

_WAITS = """
CREATE TABLE approval_waits (
    approval_id text PRIMARY KEY,
    run_id text NOT NULL,  -- the run that waits: the ticket's, when a member or a step asked
    attempt int NOT NULL,
    component_type text NOT NULL,
    component_id text NOT NULL,
    traceparent text,
    authority jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    decided_at timestamptz,
    decision text CHECK (decision IN ('approved', 'rejected', 'expired', 'cancelled')),
    reason text,
    arguments jsonb,
    through text,
    continue_at timestamptz,
    tries int NOT NULL DEFAULT 0
)
"""
_NOTICES = """
CREATE TABLE approval_notices (
    id text PRIMARY KEY,  -- the webhook-id
    approval_id text NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    next_at timestamptz DEFAULT now(),
    attempts int NOT NULL DEFAULT 0,
    delivered_at timestamptz,
    gave_up_at timestamptz,
    last_error text
)
"""
_INDEXES = (
    "CREATE INDEX approval_waits_run ON approval_waits (run_id)",
    "CREATE INDEX approval_waits_open ON approval_waits (expires_at) WHERE decided_at IS NULL",
    "CREATE INDEX approval_waits_due ON approval_waits (continue_at) WHERE continue_at IS NOT NULL",
    "CREATE INDEX approval_notices_due ON approval_notices (next_at) WHERE next_at IS NOT NULL",
    "CREATE INDEX approval_notices_old ON approval_notices (created_at)",
)


def upgrade() -> None:
    for statement in (_WAITS, _NOTICES, *_INDEXES):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("approval_notices")
    op.drop_table("approval_waits")
