"""Control the transfer: requested studies, layouts, leases, the governor's probes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("layout", sa.String(length=16), server_default="", nullable=False)
        )
        batch_op.add_column(sa.Column("priority", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("requested_by", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index(
            batch_op.f("ix_study_priority_state"), ["priority", "state"], unique=False
        )

    op.create_table(
        "lease",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("acquired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_lease")),
    )
    op.create_table(
        "governor_probe",
        sa.Column(
            "probe_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("scope", sa.String(length=255), nullable=False),
        sa.Column("probed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("echo_s", sa.Float(), nullable=True),
        sa.Column("find_s", sa.Float(), nullable=True),
        sa.Column("target_s", sa.Float(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("probe_id", name=op.f("pk_governor_probe")),
    )
    op.create_index(
        op.f("ix_governor_probe_scope_probed_at"),
        "governor_probe",
        ["scope", "probed_at"],
        unique=False,
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_governor_probe_scope_probed_at"), table_name="governor_probe")
    op.drop_table("governor_probe")
    op.drop_table("lease")
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_study_priority_state"))
        batch_op.drop_column("requested_at")
        batch_op.drop_column("requested_by")
        batch_op.drop_column("priority")
        batch_op.drop_column("layout")
