"""Assign exceptions to people; keep the lists that identities and orders are checked against."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("exception", schema=None) as batch_op:
        batch_op.add_column(sa.Column("assigned_to", sa.Text(), server_default="", nullable=False))

    op.create_table(
        "reference_list",
        sa.Column("list_name", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("entries", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("list_name", name=op.f("pk_reference_list")),
    )
    op.create_table(
        "patient_link",
        sa.Column("entry", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("old_id", sa.String(length=255), nullable=False),
        sa.Column("old_issuer", sa.String(length=255), server_default="", nullable=False),
        sa.Column("new_id", sa.String(length=255), nullable=False),
        sa.Column("new_issuer", sa.String(length=255), server_default="", nullable=False),
        sa.Column("final_id", sa.String(length=255), nullable=False),
        sa.Column("final_issuer", sa.String(length=255), server_default="", nullable=False),
        sa.Column("patient_name", sa.Text(), server_default="", nullable=False),
        sa.Column("birth_date", sa.Text(), server_default="", nullable=False),
        sa.Column("sex", sa.Text(), server_default="", nullable=False),
        sa.Column("verdict", sa.String(length=16), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_patient_link")),
    )
    op.create_index(
        op.f("ix_patient_link_old_id_old_issuer"),
        "patient_link",
        ["old_id", "old_issuer"],
        unique=False,
    )
    op.create_table(
        "ris_order",
        sa.Column("entry", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_ris_order")),
    )
    op.create_index(op.f("ix_ris_order_key_sha256"), "ris_order", ["key_sha256"], unique=False)


def downgrade() -> None:
    """Undo."""
    for table in ("ris_order", "patient_link", "reference_list"):
        op.drop_table(table)
    with op.batch_alter_table("exception", schema=None) as batch_op:
        batch_op.drop_column("assigned_to")
