"""Lists that others keep, as they were read last: who is whom, and what was ordered (PHI)."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from dicom_migration.ledger.tables.columns import UTC_TIME, count, metadata, text

reference_list = Table(
    "reference_list",
    metadata,
    Column("list_name", String(32), primary_key=True),
    # of the file and of the settings it was read by
    Column("sha256", String(64), nullable=False),
    count("entries"),
    Column("loaded_at", UTC_TIME, nullable=False),
)

# What the master patient list says of an identifier, an entry a statement.

patient_link = Table(
    "patient_link",
    metadata,
    Column("entry", Integer, primary_key=True, autoincrement=False),
    Column("old_id", String(255), nullable=False),
    Column("old_issuer", String(255), nullable=False, server_default=""),
    Column("new_id", String(255), nullable=False),
    Column("new_issuer", String(255), nullable=False, server_default=""),
    # where the chain of merges ends
    Column("final_id", String(255), nullable=False),
    Column("final_issuer", String(255), nullable=False, server_default=""),
    text("patient_name"),
    text("birth_date"),
    text("sex"),
    # '': usable; 'two-survivors' or 'cycle': for a person
    Column("verdict", String(16), nullable=False, server_default=""),
    Index(None, "old_id", "old_issuer"),
)

# Orders of the information system, found by the SHA-256 of their key's values.

ris_order = Table(
    "ris_order",
    metadata,
    Column("entry", Integer, primary_key=True, autoincrement=False),
    Column("key_sha256", String(64), nullable=False, index=True),
    # values by DICOM keyword, as JSON
    Column("attributes", Text, nullable=False),
)
