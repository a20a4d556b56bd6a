"""Keep what a plan says of each study, and the lists that its policies name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("plan", schema=None) as batch_op:
        batch_op.add_column(sa.Column("draft", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("policies", sa.Text(), server_default="", nullable=False))

    op.create_table(
        "plan_study",
        sa.Column("draft", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("decision_rule", sa.Text(), server_default="", nullable=False),
        sa.Column("storage_class", sa.String(length=32), nullable=False),
        sa.Column("layout", sa.String(length=16), nullable=False),
        sa.Column("purge_rule", sa.Text(), server_default="", nullable=False),
        sa.Column("study_year", sa.String(length=4), nullable=False),
        sa.Column("modalities", sa.String(length=255), nullable=False),
        sa.Column("instances", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("series", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("forecast", sa.Text(), server_default="", nullable=False),
        sa.Column("position", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes_so_far", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("wave", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state_before", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("draft", "study_instance_uid", name=op.f("pk_plan_study")),
        postgresql_with={"fillfactor": 45},
    )
    op.create_index(
        op.f("ix_plan_study_draft_decision_position"),
        "plan_study",
        ["draft", "decision", "position"],
        unique=False,
    )
    op.create_table(
        "study_list",
        sa.Column("list_name", sa.String(length=80), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("list_name", "study_instance_uid", name=op.f("pk_study_list")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("study_list")
    op.drop_index(op.f("ix_plan_study_draft_decision_position"), table_name="plan_study")
    op.drop_table("plan_study")
    with op.batch_alter_table("plan", schema=None) as batch_op:
        batch_op.drop_column("policies")
        batch_op.drop_column("draft")
