"""Keep the score of every judgement by suite, modality, institution and year."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "quality_score",
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=250), nullable=False),
        sa.Column("moment", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows_judged", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("evaluated", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unexpected", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint(
            "phase", "subject", "run", "moment", "kind", "name", name=op.f("pk_quality_score")
        ),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("quality_score")
