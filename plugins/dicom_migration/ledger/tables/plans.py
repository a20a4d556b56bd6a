"""What was decided: plans, waves, exceptions, corrections."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from dicom_migration.ledger.tables.columns import ROW_ID, UID, UTC_TIME, count, metadata, text, uid

plan = Table(
    "plan",
    metadata,
    Column("plan_id", String(64), primary_key=True),
    Column("content_sha256", String(64), nullable=False),
    text("strategy"),
    Column("state", String(16), nullable=False),
    Column("created_at", UTC_TIME, nullable=False),
    text("approved_by"),
    Column("approved_at", UTC_TIME),
    Column("summary", Text, nullable=False),
    # under what number its studies are in plan_study; 0: a plan of before there was that table
    Column("draft", Integer, nullable=False, server_default="0"),
    # the policies it was made from, as JSON
    text("policies"),
)

# What a plan says of each study: what is approved, exported, costed and compared. No PHI.

plan_study = Table(
    "plan_study",
    metadata,
    Column("draft", Integer, primary_key=True, autoincrement=False),
    uid("study_instance_uid", primary_key=True),
    Column("decision", String(16), nullable=False),
    text("decision_rule"),
    Column("storage_class", String(32), nullable=False),
    Column("layout", String(16), nullable=False),
    text("purge_rule"),
    Column("study_year", String(4), nullable=False),
    Column("modalities", String(255), nullable=False),
    count("instances"),
    count("series"),
    count("bytes"),
    # storage class and retrievals in 10,000 years, for each year of the cost model
    text("forecast"),
    # from 1 in the order of the waves, for each decision; the bytes up to and with this study
    count("position"),
    count("bytes_so_far"),
    # ordinal of its wave; 0: none
    Column("wave", Integer, nullable=False, server_default="0"),
    # the study's state when the plan was made: one that has moved since is left alone
    Column("state_before", String(16), nullable=False),
    Index(None, "draft", "decision", "position"),
    # Room in each page: every row is written again when its wave is known, in place, so that
    # no index has to be.
    postgresql_with={"fillfactor": 45},
)

# Studies that a policy names one by one, while a plan is made.

study_list = Table(
    "study_list",
    metadata,
    Column("list_name", String(80), primary_key=True),
    uid("study_instance_uid", primary_key=True),
)

wave = Table(
    "wave",
    metadata,
    Column("wave_id", String(64), primary_key=True),
    Column("plan_id", String(64), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    count("studies"),
    count("instances"),
    count("bytes_estimated"),
    Column("ruleset_sha256", String(64), nullable=False, server_default=""),
    text("approved_by"),
    Column("approved_at", UTC_TIME),
    Column("updated_at", UTC_TIME, nullable=False),
)

exception = Table(
    "exception",
    metadata,
    Column("exception_id", ROW_ID, primary_key=True, autoincrement=True),
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("reason", String(64), nullable=False),
    Column("phase", String(32), nullable=False),
    Column("study_instance_uid", UID, nullable=False, server_default="", index=True),
    Column("series_instance_uid", UID, nullable=False, server_default=""),
    Column("sop_instance_uid", UID, nullable=False, server_default=""),
    Column("subject", String(128), nullable=False, server_default=""),
    text("detail"),
    text("suggested_fix"),
    # open, resolved, or accepted: stays so when the same is seen again
    Column("status", String(16), nullable=False),
    text("assigned_to"),
    Column("created_at", UTC_TIME, nullable=False),
    Column("seen_at", UTC_TIME, nullable=False),
    text("resolved_by"),
    Column("resolved_at", UTC_TIME),
    text("resolution"),
    Index(None, "status", "reason"),
)

correction = Table(
    "correction",
    metadata,
    Column("correction_id", String(64), primary_key=True),
    Column("wave_id", String(64), nullable=False, index=True),
    uid("study_instance_uid", index=True),
    Column("series_instance_uid", UID, nullable=False, server_default=""),
    Column("sop_instance_uid", UID, nullable=False, server_default=""),
    Column("keyword", String(64), nullable=False),
    Column("old_value", Text),
    Column("new_value", Text),
    Column("expected_text_encoding", String(16)),
    Column("text_charset", String(128)),
    Column("rule_id", String(64), nullable=False),
    text("reason"),
    Column("ruleset_sha256", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("updated_at", UTC_TIME, nullable=False),
)
