"""Studies in archive tiers: which restores a benchmark asked for, and how they went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from dicom_migration.cloud import CloudStore
from dicom_migration.cloud.s3_access import S3Access
from dicom_migration.cloud.s3_restore import request_restore, restore_state
from dicom_migration.errors import CONCERNS_EVERYBODY, MigrationError, ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, note_exceptions, schema
from dicom_migration.policies.slas import Archived
from dicom_migration.retrieval.sample import SampledStudy
from dicom_migration.retrieval.targets import open_target

PHASE = "retrieval"
_table = schema.retrieval_restore
_OUTLASTED = "Raise archived.keep_days in slas.yaml, or measure sooner; then run it again."


@dataclass(frozen=True, slots=True)
class Restore:
    """An object that was asked for; `ready_at` is when it was first seen to be readable."""

    object_key: str
    study_instance_uid: str
    requested_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None


def request_restores(
    ledger: Ledger,
    store: CloudStore,
    access: S3Access,
    benchmark_id: str,
    studies: Sequence[SampledStudy],
    policy: Archived,
    now: datetime,
) -> list[str]:
    """Ask for every object of `studies` that cannot be read; returns the keys still awaited.

    Safe to repeat: what was asked for under this benchmark keeps its time, and S3 answers a
    second request as the first. A study that cannot be opened becomes an exception.
    """
    with ledger.read() as connection:
        known = {restore.object_key for restore in restores_of(connection, benchmark_id)}
    for study in studies:
        try:
            _request(ledger, store, access, benchmark_id, study, policy, now, known)
        except MigrationError as error:
            if error.reason in CONCERNS_EVERYBODY:
                raise
            note_studies(ledger, benchmark_id, {study.study_instance_uid: error})
    with ledger.read() as connection:
        return [r.object_key for r in restores_of(connection, benchmark_id) if not r.ready_at]


def record_ready(
    ledger: Ledger, benchmark_id: str, ready: Mapping[str, datetime | None], seen_at: datetime
) -> None:
    """Keep when objects were first seen to be readable, and until when they will be."""
    with ledger.write() as connection:
        for key, expires_at in ready.items():
            connection.execute(
                update(_table)
                .where(
                    _table.c.benchmark_id == benchmark_id,
                    _table.c.object_key == key,
                    _table.c.ready_at.is_(None),
                )
                .values(ready_at=seen_at, expires_at=expires_at)
            )


def forget(ledger: Ledger, benchmark_id: str, gone: Mapping[str, MigrationError]) -> None:
    """Await objects no longer that are not there, and name them as exceptions."""
    with ledger.write() as connection:
        uids = {r.object_key: r.study_instance_uid for r in restores_of(connection, benchmark_id)}
        connection.execute(
            delete(_table).where(
                _table.c.benchmark_id == benchmark_id, _table.c.object_key.in_(list(gone))
            )
        )
    note_studies(ledger, benchmark_id, {uids.get(key, ""): error for key, error in gone.items()})


def restores_of(connection: Connection, benchmark_id: str) -> list[Restore]:
    """Return what a benchmark asked for, by key."""
    rows = connection.execute(
        select(
            _table.c.object_key,
            _table.c.study_instance_uid,
            _table.c.requested_at,
            _table.c.ready_at,
            _table.c.expires_at,
        )
        .where(_table.c.benchmark_id == benchmark_id)
        .order_by(_table.c.object_key)
    )
    return [Restore(*row) for row in rows]


def expired_since(
    access: S3Access, restores: Iterable[Restore], now: datetime
) -> dict[str, Restore]:
    """Return restores that were ready once and cannot be read any more, one a study."""
    return {
        restore.study_instance_uid: restore
        for restore in restores
        if restore.ready_at and not restore_state(access, restore.object_key, now).can_be_read
    }


def note_expired(ledger: Ledger, benchmark_id: str, expired: Mapping[str, Restore]) -> None:
    """Name studies whose restored copy was gone before it was measured."""
    notes = [
        ExceptionNote(
            reason=ReasonCode.RESTORE_EXPIRED,
            phase=PHASE,
            study_instance_uid=uid,
            detail="The restored copy was gone before it was measured"
            + (
                f"; it was kept until {restore.expires_at:%Y-%m-%d %H:%M} UTC."
                if restore.expires_at
                else "."
            ),
            suggested_fix=_OUTLASTED,
        )
        for uid, restore in expired.items()
    ]
    _note(ledger, benchmark_id, notes)


def note_studies(ledger: Ledger, benchmark_id: str, errors: Mapping[str, MigrationError]) -> None:
    """Name studies that could not be measured, with the reason."""
    notes = [
        ExceptionNote(
            reason=error.reason,
            phase=PHASE,
            study_instance_uid=uid,
            detail=error.message,
            suggested_fix=error.next_step,
        )
        for uid, error in errors.items()
    ]
    _note(ledger, benchmark_id, notes)


def _note(ledger: Ledger, benchmark_id: str, notes: Sequence[ExceptionNote]) -> None:
    if notes:
        with ledger.write() as connection:
            note_exceptions(connection, notes, EventChain(f"benchmark:{benchmark_id}"))


def _request(
    ledger: Ledger,
    store: CloudStore,
    access: S3Access,
    benchmark_id: str,
    study: SampledStudy,
    policy: Archived,
    now: datetime,
    known: set[str],
) -> None:
    sizes = {
        row.object_key: row.container_bytes or row.object_bytes
        for row in open_target(store, study).rows
    }
    new = [
        key
        for key in sizes
        if key not in known and restore_state(access, key, now).stage != "readable"
    ]
    if new:  # the intent before the effect: a killed task asks again and keeps the first time
        with ledger.write() as connection:
            connection.execute(
                insert(_table),
                [
                    {
                        "benchmark_id": benchmark_id,
                        "object_key": key,
                        "study_instance_uid": study.study_instance_uid,
                        "storage_class": study.storage_class,
                        "bytes": sizes[key],
                        "requested_at": now,
                    }
                    for key in new
                ],
            )
    for key in sizes:
        if restore_state(access, key, now).stage == "archived":
            days, tier = policy.keep_days, policy.retrieval_tier
            request_restore(access, key, days=days, tier=tier)
