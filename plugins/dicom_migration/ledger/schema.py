"""The ledger's tables (SQLAlchemy Core): what is known of each study and what was done to it.

Keys and indexes serve the queries the DAGs make at 10 million studies; nothing here is written
per instance (instance facts live in the manifest). PHI is allowed in this database and named in
the column comments. ``migrations/`` builds these tables; a test proves that both agree.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

from dicom_migration.header_facts import INTEGER_COLUMNS, TEXT_COLUMNS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_UID = String(64)
_ID = BigInteger().with_variant(Integer, "sqlite")


class _UtcDateTime(TypeDecorator[datetime]):
    """A point in time that comes back aware, in UTC, from every database.

    SQLite keeps no time zone: what is written is UTC, so what is read is as well.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


_UTC = _UtcDateTime()


def _uid(name: str, **kwargs: object) -> Column[str]:
    return Column(name, _UID, nullable=False, **kwargs)  # type: ignore[arg-type]


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


study = Table(
    "study",
    metadata,
    _uid("study_instance_uid", primary_key=True),
    _text("source"),
    Column("state", String(16), nullable=False),
    # as the source's database says (PHI)
    Column("study_date", String(16), nullable=False, server_default=""),
    _text("study_time"),
    Column("patient_id", String(255), nullable=False, server_default=""),
    _text("issuer_of_patient_id"),
    _text("patient_name"),
    _text("patient_birth_date"),
    _text("patient_sex"),
    Column("accession_number", String(255), nullable=False, server_default=""),
    _text("study_id"),
    _text("study_description"),
    _text("institution_name"),
    Column("modalities", String(255), nullable=False, server_default=""),
    Column("number_of_series", Integer),
    Column("number_of_instances", Integer),
    # what the source tells or a listing of instances showed, joined by a backslash
    _text("sop_classes"),
    Column("bytes_estimated", BigInteger),
    # told: by the source; sampled: from retrieved instances; assumed: by the policy
    Column("bytes_basis", String(8), nullable=False, server_default=""),
    # half of the 95 % confidence interval, in bytes; None when nothing was measured
    Column("bytes_error", BigInteger),
    Column("first_seen_at", _UTC, nullable=False),
    Column("last_seen_at", _UTC, nullable=False),
    # the inventory that saw it last, and when one missed it
    Column("last_inventory_id", String(64), nullable=False, server_default=""),
    Column("vanished_at", _UTC),
    # what the plan decided
    Column("plan_id", String(64), nullable=False, server_default=""),
    Column("decision", String(16), nullable=False, server_default=""),
    _text("decision_rule"),
    Column("storage_class", String(32), nullable=False, server_default=""),
    Column("wave_id", String(64), nullable=False, server_default=""),
    Column("shard", Integer),
    Column("purge_candidate", Boolean, nullable=False, server_default=false()),
    _text("purge_rule"),
    # '': the transfer policy's default; 'instance' or 'series-zip'
    Column("layout", String(16), nullable=False, server_default=""),
    # a person asked for it: higher goes first
    Column("priority", Integer, nullable=False, server_default="0"),
    _text("requested_by"),
    Column("requested_at", _UTC),
    # what was done
    _count("received_instances"),
    _count("stored_instances"),
    _count("verified_instances"),
    _count("bytes_received"),
    _count("bytes_stored"),
    _text("manifest_key"),
    Column("manifest_sha256", String(64), nullable=False, server_default=""),
    _count("attempts"),
    Column("updated_at", _UTC, nullable=False),
    Index(None, "state", "wave_id"),
    Index(None, "wave_id", "shard"),
    Index(None, "priority", "state"),
    Index(None, "study_date"),
    Index(None, "accession_number"),
    Index(None, "patient_id"),
    Index(None, "patient_name", "patient_birth_date"),
)

series = Table(
    "series",
    metadata,
    _uid("study_instance_uid", primary_key=True),
    _uid("series_instance_uid", primary_key=True),
    _text("modality"),
    _text("series_number"),
    _text("series_description"),
    _text("body_part_examined"),
    Column("number_of_instances", Integer),
    _text("sop_classes"),
)

inventory = Table(
    "inventory",
    metadata,
    Column("inventory_id", String(64), primary_key=True),
    _text("source"),
    Column("opened_at", _UTC, nullable=False),
    Column("closed_at", _UTC),
    # counts as JSON: windows, queries, studies found, new, grown, vanished ...
    _text("summary"),
)

inventory_window = Table(
    "inventory_window",
    metadata,
    Column("window_id", String(64), primary_key=True),
    Column("inventory_id", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("date_from", String(8), nullable=False, server_default=""),
    Column("date_to", String(8), nullable=False, server_default=""),
    Column("state", String(16), nullable=False),
    _count("studies_found"),
    _count("queries"),
    # counts as JSON, for the summary of the inventory
    _text("counts"),
    _text("note"),
    Column("updated_at", _UTC, nullable=False),
)

size_sample = Table(
    "size_sample",
    metadata,
    Column("source", String(255), primary_key=True),
    Column("modality", String(16), primary_key=True),
    Column("instances", Integer, nullable=False),
    Column("mean_bytes", Float, nullable=False),
    # half of the 95 % confidence interval of the mean, in bytes
    Column("error_bytes", Float, nullable=False),
    Column("sampled_at", _UTC, nullable=False),
)

plan = Table(
    "plan",
    metadata,
    Column("plan_id", String(64), primary_key=True),
    Column("content_sha256", String(64), nullable=False),
    _text("strategy"),
    Column("state", String(16), nullable=False),
    Column("created_at", _UTC, nullable=False),
    _text("approved_by"),
    Column("approved_at", _UTC),
    Column("summary", Text, nullable=False),
    # under what number its studies are in plan_study; 0: a plan of before there was that table
    Column("draft", Integer, nullable=False, server_default="0"),
    # the policies it was made from, as JSON
    _text("policies"),
)

# What a plan says of each study: what is approved, exported, costed and compared. No PHI.
plan_study = Table(
    "plan_study",
    metadata,
    Column("draft", Integer, primary_key=True, autoincrement=False),
    _uid("study_instance_uid", primary_key=True),
    Column("decision", String(16), nullable=False),
    _text("decision_rule"),
    Column("storage_class", String(32), nullable=False),
    Column("layout", String(16), nullable=False),
    _text("purge_rule"),
    Column("study_year", String(4), nullable=False),
    Column("modalities", String(255), nullable=False),
    _count("instances"),
    _count("series"),
    _count("bytes"),
    # storage class and retrievals in 10,000 years, for each year of the cost model
    _text("forecast"),
    # from 1 in the order of the waves, for each decision; the bytes up to and with this study
    _count("position"),
    _count("bytes_so_far"),
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
    _uid("study_instance_uid", primary_key=True),
)

wave = Table(
    "wave",
    metadata,
    Column("wave_id", String(64), primary_key=True),
    Column("plan_id", String(64), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    _count("studies"),
    _count("instances"),
    _count("bytes_estimated"),
    Column("ruleset_sha256", String(64), nullable=False, server_default=""),
    _text("approved_by"),
    Column("approved_at", _UTC),
    Column("updated_at", _UTC, nullable=False),
)

exception = Table(
    "exception",
    metadata,
    Column("exception_id", _ID, primary_key=True, autoincrement=True),
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("reason", String(64), nullable=False),
    Column("phase", String(32), nullable=False),
    Column("study_instance_uid", _UID, nullable=False, server_default="", index=True),
    Column("series_instance_uid", _UID, nullable=False, server_default=""),
    Column("sop_instance_uid", _UID, nullable=False, server_default=""),
    Column("subject", String(128), nullable=False, server_default=""),
    _text("detail"),
    _text("suggested_fix"),
    Column("status", String(16), nullable=False),
    Column("created_at", _UTC, nullable=False),
    Column("seen_at", _UTC, nullable=False),
    _text("resolved_by"),
    Column("resolved_at", _UTC),
    _text("resolution"),
    Index(None, "status", "reason"),
)

header_fact = Table(
    "header_fact",
    metadata,
    _uid("study_instance_uid", primary_key=True),
    _uid("series_instance_uid", primary_key=True),
    _uid("sop_instance_uid", primary_key=True),
    _text("sop_class_uid"),
    _text("transfer_syntax_uid"),
    *(Column(name, Text) for name in TEXT_COLUMNS),
    *(Column(name, BigInteger) for name in INTEGER_COLUMNS),
    Index(None, "sop_instance_uid"),
)

correction = Table(
    "correction",
    metadata,
    Column("correction_id", String(64), primary_key=True),
    Column("wave_id", String(64), nullable=False, index=True),
    _uid("study_instance_uid", index=True),
    Column("series_instance_uid", _UID, nullable=False, server_default=""),
    Column("sop_instance_uid", _UID, nullable=False, server_default=""),
    Column("keyword", String(64), nullable=False),
    Column("old_value", Text),
    Column("new_value", Text),
    Column("expected_text_encoding", String(16)),
    Column("rule_id", String(64), nullable=False),
    _text("reason"),
    Column("ruleset_sha256", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("updated_at", _UTC, nullable=False),
)

attempt = Table(
    "attempt",
    metadata,
    Column("attempt_id", _ID, primary_key=True, autoincrement=True),
    _uid("study_instance_uid", index=True),
    Column("phase", String(32), nullable=False),
    Column("wave_id", String(64), nullable=False, server_default=""),
    Column("number", Integer, nullable=False),
    Column("started_at", _UTC, nullable=False),
    Column("ended_at", _UTC),
    Column("outcome", String(16), nullable=False),
    _text("reason"),
    _count("instances"),
    _count("bytes"),
)

verification = Table(
    "verification",
    metadata,
    Column("verification_id", _ID, primary_key=True, autoincrement=True),
    _uid("study_instance_uid", index=True),
    Column("wave_id", String(64), nullable=False, index=True),
    Column("verified_at", _UTC, nullable=False),
    Column("method", String(32), nullable=False),
    Column("source_instances", Integer),
    _count("received_instances"),
    _count("manifest_instances"),
    _count("cloud_instances"),
    _count("objects_read"),
    _count("bytes_read"),
    Column("outcome", String(16), nullable=False),
    _text("reason"),
)

retrieval_sample = Table(
    "retrieval_sample",
    metadata,
    Column("sample_id", _ID, primary_key=True, autoincrement=True),
    Column("benchmark_id", String(64), nullable=False, index=True),
    _uid("study_instance_uid"),
    Column("side", String(16), nullable=False),
    Column("operation", String(16), nullable=False),
    Column("temperature", String(8), nullable=False),
    _text("modality"),
    _text("storage_class"),
    Column("study_age_years", Float),
    Column("started_at", _UTC, nullable=False),
    Column("seconds", Float),
    _count("bytes"),
    _count("instances"),
    _text("error_reason"),
)

quality_result = Table(
    "quality_result",
    metadata,
    Column("result_id", _ID, primary_key=True, autoincrement=True),
    Column("phase", String(32), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("suite", String(64), nullable=False),
    Column("created_at", _UTC, nullable=False),
    Column("success", Boolean, nullable=False),
    _count("rows_judged"),
    Column("summary", Text, nullable=False),
)

certificate = Table(
    "certificate",
    metadata,
    Column("certificate_id", String(64), primary_key=True),
    Column("wave_id", String(64), nullable=False, index=True),
    Column("created_at", _UTC, nullable=False),
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
    Column("created_at", _UTC, nullable=False),
)

source_fingerprint = Table(
    "source_fingerprint",
    metadata,
    Column("fingerprint_id", _ID, primary_key=True, autoincrement=True),
    _text("source"),
    Column("fingerprint", String(64), nullable=False),
    Column("latency_s", Float, nullable=False),
    Column("facts", Text, nullable=False),
    # what the source shows of its contents: not part of the fingerprint
    _text("observed"),
    Column("seen_at", _UTC, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("acquired_at", _UTC, nullable=False),
    Column("expires_at", _UTC, nullable=False),
    _text("detail"),
)

governor_probe = Table(
    "governor_probe",
    metadata,
    Column("probe_id", _ID, primary_key=True, autoincrement=True),
    Column("scope", String(255), nullable=False),
    Column("probed_at", _UTC, nullable=False),
    # None: was not asked, or did not answer (see outcome)
    Column("echo_s", Float),
    Column("find_s", Float),
    Column("target_s", Float),
    Column("outcome", String(32), nullable=False),
    Column("level", Integer, nullable=False),
    Column("decision", String(16), nullable=False),
    _text("reason"),
    Index(None, "scope", "probed_at"),
)

event = Table(
    "event",
    metadata,
    Column("chain", String(128), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("kind", String(48), nullable=False),
    Column("study_instance_uid", _UID, nullable=False, server_default="", index=True),
    Column("payload", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
