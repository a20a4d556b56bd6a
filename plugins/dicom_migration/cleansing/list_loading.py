"""Keeping the ledger's copy of the lists in step with the files that other systems write."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from dicom_migration.cleansing.list_reading import refused
from dicom_migration.cleansing.order_list import load_orders
from dicom_migration.cleansing.patient_list import load_patients, verdict_counts
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    note_exceptions,
    resolve_exceptions,
    schema,
    utc_now,
)
from dicom_migration.ledger.exceptions import LIST_SUBJECT
from dicom_migration.policies import policy_hash

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.identity import IdentityPolicy, ListFile

PATIENTS, ORDERS = "patients", "orders"
#: Phase of what is wrong with a list itself, whichever study it concerns.
LISTS_PHASE = "cleansing-lists"
CHAIN = EventChain("lists")
_KEPT = schema.reference_list


def lists_hash(policy: IdentityPolicy) -> str:
    """Return a SHA-256 over the lists and how they are used; "" when there are none.

    Raises
    ------
    PermanentError
        ``policy_invalid``: a list cannot be read.
    """
    hashes = [_hash_of(listed) for listed in (policy.patients, policy.orders) if listed]
    return hashlib.sha256("|".join(hashes).encode()).hexdigest() if hashes else ""


def load_lists(ledger: Ledger, policy: IdentityPolicy) -> dict[str, int]:
    """Read the lists that changed since they were read last; returns the entries of each.

    All of a list is taken, or the ledger keeps what it had.

    Raises
    ------
    PermanentError
        ``policy_invalid``, naming file and line.
    """
    entries = {}
    with ledger.write() as connection:
        if policy.patients:
            patients = policy.patients
            entries[PATIENTS] = _kept_or_read(
                connection, PATIENTS, patients, lambda: load_patients(connection, patients)
            )
            _note_verdicts(connection)
        if policy.orders:
            orders = policy.orders
            entries[ORDERS] = _kept_or_read(
                connection, ORDERS, orders, lambda: load_orders(connection, orders)
            )
    return entries


def _kept_or_read(
    connection: Connection, name: str, listed: ListFile, read: Callable[[], int]
) -> int:
    digest = _hash_of(listed)
    known = connection.execute(select(_KEPT).where(_KEPT.c.list_name == name)).one_or_none()
    if known is not None and known.sha256 == digest:
        return int(known.entries)
    count = read()
    connection.execute(delete(_KEPT).where(_KEPT.c.list_name == name))
    connection.execute(
        insert(_KEPT).values(list_name=name, sha256=digest, entries=count, loaded_at=utc_now())
    )
    CHAIN.append(connection, [("list.read", "", {"list": name, "sha256": digest, "count": count})])
    return count


def _hash_of(listed: ListFile) -> str:
    try:
        with listed.path.open("rb") as body:
            digest = hashlib.file_digest(body, "sha256").hexdigest()
    except OSError as error:
        raise refused(listed, 1, f"the file cannot be read ({error.strerror})") from None
    return hashlib.sha256(f"{digest}|{policy_hash(listed)}".encode()).hexdigest()


def _note_verdicts(connection: Connection) -> None:
    """Say how much of the patient list cannot be used, whichever studies it concerns."""
    counts = verdict_counts(connection)
    notes = [
        ExceptionNote(
            ReasonCode.IDENTITY_CONFLICT,
            LISTS_PHASE,
            subject=f"{LIST_SUBJECT}{PATIENTS}/{verdict}",
            detail=f"{count:,} statements of the master patient list: {verdict}.",
            suggested_fix="Have the master patient index corrected and the list made anew.",
        )
        for verdict, count in counts.items()
    ]
    note_exceptions(connection, notes, CHAIN)
    if not notes:
        resolve_exceptions(
            connection,
            CHAIN,
            study_instance_uid="",
            phase=LISTS_PHASE,
            resolved_by="cleansing",
            resolution="The list has none any more.",
        )
