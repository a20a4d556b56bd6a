"""What is known of the source: studies, series, and how they were found."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
)

from dicom_migration.header_facts import INTEGER_COLUMNS, TEXT_COLUMNS
from dicom_migration.ledger.tables.columns import ROW_ID, UTC_TIME, count, metadata, text, uid

study = Table(
    "study",
    metadata,
    uid("study_instance_uid", primary_key=True),
    text("source"),
    Column("state", String(16), nullable=False),
    # as the source's database says (PHI)
    Column("study_date", String(16), nullable=False, server_default=""),
    text("study_time"),
    Column("patient_id", String(255), nullable=False, server_default=""),
    text("issuer_of_patient_id"),
    text("patient_name"),
    text("patient_birth_date"),
    text("patient_sex"),
    Column("accession_number", String(255), nullable=False, server_default=""),
    text("study_id"),
    text("study_description"),
    text("institution_name"),
    Column("modalities", String(255), nullable=False, server_default=""),
    Column("number_of_series", Integer),
    Column("number_of_instances", Integer),
    # what the source tells or a listing of instances showed, joined by a backslash
    text("sop_classes"),
    Column("bytes_estimated", BigInteger),
    # told: by the source; sampled: from retrieved instances; assumed: by the policy
    Column("bytes_basis", String(8), nullable=False, server_default=""),
    # half of the 95 % confidence interval, in bytes; None when nothing was measured
    Column("bytes_error", BigInteger),
    Column("first_seen_at", UTC_TIME, nullable=False),
    Column("last_seen_at", UTC_TIME, nullable=False),
    # the inventory that saw it last, and when one missed it
    Column("last_inventory_id", String(64), nullable=False, server_default=""),
    Column("vanished_at", UTC_TIME),
    # what the plan decided
    Column("plan_id", String(64), nullable=False, server_default=""),
    Column("decision", String(16), nullable=False, server_default=""),
    text("decision_rule"),
    Column("storage_class", String(32), nullable=False, server_default=""),
    Column("wave_id", String(64), nullable=False, server_default=""),
    Column("shard", Integer),
    Column("purge_candidate", Boolean, nullable=False, server_default=false()),
    text("purge_rule"),
    # '': the transfer policy's default; 'instance' or 'series-zip'
    Column("layout", String(16), nullable=False, server_default=""),
    # a person asked for it: higher goes first
    Column("priority", Integer, nullable=False, server_default="0"),
    text("requested_by"),
    Column("requested_at", UTC_TIME),
    # what was done
    count("received_instances"),
    count("stored_instances"),
    count("verified_instances"),
    count("bytes_received"),
    count("bytes_stored"),
    text("manifest_key"),
    Column("manifest_sha256", String(64), nullable=False, server_default=""),
    count("attempts"),
    Column("updated_at", UTC_TIME, nullable=False),
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
    uid("study_instance_uid", primary_key=True),
    uid("series_instance_uid", primary_key=True),
    text("modality"),
    text("series_number"),
    text("series_description"),
    text("body_part_examined"),
    Column("number_of_instances", Integer),
    text("sop_classes"),
)

inventory = Table(
    "inventory",
    metadata,
    Column("inventory_id", String(64), primary_key=True),
    text("source"),
    Column("opened_at", UTC_TIME, nullable=False),
    Column("closed_at", UTC_TIME),
    # counts as JSON: windows, queries, studies found, new, grown, vanished ...
    text("summary"),
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
    count("studies_found"),
    count("queries"),
    # counts as JSON, for the summary of the inventory
    text("counts"),
    text("note"),
    Column("updated_at", UTC_TIME, nullable=False),
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
    Column("sampled_at", UTC_TIME, nullable=False),
)

source_fingerprint = Table(
    "source_fingerprint",
    metadata,
    Column("fingerprint_id", ROW_ID, primary_key=True, autoincrement=True),
    text("source"),
    Column("fingerprint", String(64), nullable=False),
    Column("latency_s", Float, nullable=False),
    Column("facts", Text, nullable=False),
    # what the source shows of its contents: not part of the fingerprint
    text("observed"),
    Column("seen_at", UTC_TIME, nullable=False),
)

header_fact = Table(
    "header_fact",
    metadata,
    uid("study_instance_uid", primary_key=True),
    uid("series_instance_uid", primary_key=True),
    uid("sop_instance_uid", primary_key=True),
    text("sop_class_uid"),
    text("transfer_syntax_uid"),
    *(Column(name, Text) for name in TEXT_COLUMNS),
    *(Column(name, BigInteger) for name in INTEGER_COLUMNS),
    # which attributes the header has, see header_attributes; None in rows of an older release
    Column("attributes", Text),
    # of native pixel data; None when there is none, it is encapsulated, or it was not looked at
    Column("pixel_bytes", BigInteger),
    Index(None, "sop_instance_uid"),
)
