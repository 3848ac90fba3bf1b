"""Up to where the spans in Postgres have been compared with those in ClickHouse (telemetry.reconcile)."""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLE = """
CREATE TABLE telemetry_comparison (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    at timestamptz NOT NULL,
    compared_until timestamptz NOT NULL,  -- what was written here before has been compared
    complete_at timestamptz NOT NULL,  -- when everything was last compared
    replayed bigint NOT NULL DEFAULT 0,  -- spans that were sent again, ever
    differing jsonb NOT NULL  -- minute since 1970 -> [missing in ClickHouse, missing here]
)
"""


def upgrade() -> None:
    op.execute(_TABLE)


def downgrade() -> None:
    op.drop_table("telemetry_comparison")
