"""Keep which attributes a header has and how long its pixel data is; older rows: not known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("header_fact", schema=None) as batch_op:
        batch_op.add_column(sa.Column("attributes", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("pixel_bytes", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("header_fact", schema=None) as batch_op:
        batch_op.drop_column("pixel_bytes")
        batch_op.drop_column("attributes")
