"""Keep what a retrieval's time was spent on, restores, and the samples of network tests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

STAGES = ("queue_s", "connect_s", "first_byte_s", "transfer_s", "decode_s")


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("retrieval_sample", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("access", sa.String(length=16), server_default="", nullable=False)
        )
        for name in STAGES:
            batch_op.add_column(sa.Column(name, sa.Float(), nullable=True))
    op.create_table(
        "retrieval_restore",
        sa.Column("benchmark_id", sa.String(length=64), nullable=False),
        sa.Column("object_key", sa.String(length=255), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("storage_class", sa.String(length=32), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("benchmark_id", "object_key", name=op.f("pk_retrieval_restore")),
    )
    op.create_table(
        "network_sample",
        sa.Column(
            "sample_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("test_id", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("workers", sa.Integer(), nullable=False),
        sa.Column("error_reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_network_sample")),
    )
    with op.batch_alter_table("network_sample", schema=None) as batch_op:
        batch_op.create_index(op.f("ix_network_sample_test_id"), ["test_id"], unique=False)
        batch_op.create_index(op.f("ix_network_sample_started_at"), ["started_at"], unique=False)


def downgrade() -> None:
    """Undo."""
    op.drop_table("network_sample")
    op.drop_table("retrieval_restore")
    with op.batch_alter_table("retrieval_sample", schema=None) as batch_op:
        for name in reversed(STAGES):
            batch_op.drop_column(name)
        batch_op.drop_column("access")
