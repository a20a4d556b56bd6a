"""Let a correction say what the text is really written in, when all of it is re-encoded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("correction", schema=None) as batch_op:
        batch_op.add_column(sa.Column("text_charset", sa.String(length=128), nullable=True))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("correction", schema=None) as batch_op:
        batch_op.drop_column("text_charset")
