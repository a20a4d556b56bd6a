"""What was done: attempts, proofs, samples, reports, the leases of those at work, and events."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text

from dicom_migration.ledger.tables.columns import ROW_ID, UID, UTC_TIME, count, metadata, text, uid

attempt = Table(
    "attempt",
    metadata,
    Column("attempt_id", ROW_ID, primary_key=True, autoincrement=True),
    uid("study_instance_uid", index=True),
    Column("phase", String(32), nullable=False),
    Column("wave_id", String(64), nullable=False, server_default=""),
    Column("number", Integer, nullable=False),
    Column("started_at", UTC_TIME, nullable=False),
    Column("ended_at", UTC_TIME),
    Column("outcome", String(16), nullable=False),
    text("reason"),
    count("instances"),
    count("bytes"),
)

verification = Table(
    "verification",
    metadata,
    Column("verification_id", ROW_ID, primary_key=True, autoincrement=True),
    uid("study_instance_uid", index=True),
    Column("wave_id", String(64), nullable=False, index=True),
    Column("verified_at", UTC_TIME, nullable=False),
    Column("method", String(32), nullable=False),
    Column("source_instances", Integer),
    count("received_instances"),
    count("manifest_instances"),
    count("cloud_instances"),
    count("objects_read"),
    count("bytes_read"),
    Column("outcome", String(16), nullable=False),
    text("reason"),
)

retrieval_sample = Table(
    "retrieval_sample",
    metadata,
    Column("sample_id", ROW_ID, primary_key=True, autoincrement=True),
    Column("benchmark_id", String(64), nullable=False, index=True),
    uid("study_instance_uid"),
    Column("side", String(16), nullable=False),
    Column("operation", String(16), nullable=False),
    Column("temperature", String(8), nullable=False),
    text("modality"),
    text("storage_class"),
    Column("study_age_years", Float),
    Column("started_at", UTC_TIME, nullable=False),
    Column("seconds", Float),
    count("bytes"),
    count("instances"),
    text("error_reason"),
    # s3-object, s3-range, C-GET ...; '': of before it was told
    Column("access", String(16), nullable=False, server_default=""),
    # the parts of `seconds`; None: not told apart, or did not occur
    Column("queue_s", Float),
    Column("connect_s", Float),
    Column("first_byte_s", Float),
    Column("transfer_s", Float),
    Column("decode_s", Float),
)

# Objects in archive tiers that a benchmark had restored.

retrieval_restore = Table(
    "retrieval_restore",
    metadata,
    Column("benchmark_id", String(64), primary_key=True),
    Column("object_key", String(255), primary_key=True),
    uid("study_instance_uid"),
    Column("storage_class", String(32), nullable=False),
    count("bytes"),
    Column("requested_at", UTC_TIME, nullable=False),
    Column("ready_at", UTC_TIME),
    Column("expires_at", UTC_TIME),
)

# What a network test measured, request by request.

network_sample = Table(
    "network_sample",
    metadata,
    Column("sample_id", ROW_ID, primary_key=True, autoincrement=True),
    Column("test_id", String(64), nullable=False, index=True),
    Column("started_at", UTC_TIME, nullable=False, index=True),
    # what was asked: of the target connect, head, up or down; of the source itself, or to find
    Column("kind", String(16), nullable=False),
    # None: failed, for error_reason
    Column("seconds", Float),
    count("bytes"),
    # how many transfer workers were at the source then; 0: at rest
    Column("workers", Integer, nullable=False),
    text("error_reason"),
)

quality_result = Table(
    "quality_result",
    metadata,
    Column("result_id", ROW_ID, primary_key=True, autoincrement=True),
    Column("phase", String(32), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("suite", String(64), nullable=False),
    Column("created_at", UTC_TIME, nullable=False),
    Column("success", Boolean, nullable=False),
    count("rows_judged"),
    Column("summary", Text, nullable=False),
)

# The counts that scores are made of, by who or what was judged; no values but the names of groups.

quality_score = Table(
    "quality_score",
    metadata,
    Column("phase", String(32), primary_key=True),
    Column("subject", String(64), primary_key=True),
    # of the DAG; a task that is tried again replaces what it said
    Column("run", String(250), primary_key=True),
    # before or after corrections
    Column("moment", String(8), primary_key=True),
    # all, suite, modality, institution or year
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("created_at", UTC_TIME, nullable=False),
    count("rows_judged"),
    count("evaluated"),
    count("unexpected"),
)

certificate = Table(
    "certificate",
    metadata,
    Column("certificate_id", String(64), primary_key=True),
    Column("wave_id", String(64), nullable=False, index=True),
    Column("created_at", UTC_TIME, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("body", Text, nullable=False),
)

report = Table(
    "report",
    metadata,
    Column("object_key", String(255), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", UTC_TIME, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("acquired_at", UTC_TIME, nullable=False),
    Column("expires_at", UTC_TIME, nullable=False),
    text("detail"),
)

governor_probe = Table(
    "governor_probe",
    metadata,
    Column("probe_id", ROW_ID, primary_key=True, autoincrement=True),
    Column("scope", String(255), nullable=False),
    Column("probed_at", UTC_TIME, nullable=False),
    # None: was not asked, or did not answer (see outcome)
    Column("echo_s", Float),
    Column("find_s", Float),
    Column("target_s", Float),
    Column("outcome", String(32), nullable=False),
    Column("level", Integer, nullable=False),
    Column("decision", String(16), nullable=False),
    text("reason"),
    Index(None, "scope", "probed_at"),
)

event = Table(
    "event",
    metadata,
    Column("chain", String(128), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("kind", String(48), nullable=False),
    Column("study_instance_uid", UID, nullable=False, server_default="", index=True),
    Column("payload", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
