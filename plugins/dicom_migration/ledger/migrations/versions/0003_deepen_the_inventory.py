"""Deepen the inventory: SOP classes, sizes with their basis, what vanished, what each run found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sop_classes", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(
            sa.Column("bytes_basis", sa.String(length=8), server_default="", nullable=False)
        )
        batch_op.add_column(sa.Column("bytes_error", sa.BigInteger(), nullable=True))
        batch_op.add_column(
            sa.Column("last_inventory_id", sa.String(length=64), server_default="", nullable=False)
        )
        batch_op.add_column(sa.Column("vanished_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("series", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sop_classes", sa.Text(), server_default="", nullable=False))
    with op.batch_alter_table("inventory_window", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("queries", sa.BigInteger(), server_default="0", nullable=False)
        )
        batch_op.add_column(sa.Column("counts", sa.Text(), server_default="", nullable=False))
    with op.batch_alter_table("source_fingerprint", schema=None) as batch_op:
        batch_op.add_column(sa.Column("observed", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "inventory",
        sa.Column("inventory_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("summary", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("inventory_id", name=op.f("pk_inventory")),
    )
    op.create_table(
        "size_sample",
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("mean_bytes", sa.Float(), nullable=False),
        sa.Column("error_bytes", sa.Float(), nullable=False),
        sa.Column("sampled_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "modality", name=op.f("pk_size_sample")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("size_sample")
    op.drop_table("inventory")
    with op.batch_alter_table("source_fingerprint", schema=None) as batch_op:
        batch_op.drop_column("observed")
    with op.batch_alter_table("inventory_window", schema=None) as batch_op:
        batch_op.drop_column("counts")
        batch_op.drop_column("queries")
    with op.batch_alter_table("series", schema=None) as batch_op:
        batch_op.drop_column("sop_classes")
    with op.batch_alter_table("study", schema=None) as batch_op:
        for name in (
            "vanished_at",
            "last_inventory_id",
            "bytes_error",
            "bytes_basis",
            "sop_classes",
        ):
            batch_op.drop_column(name)
