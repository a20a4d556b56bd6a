"""One shard between a source and a bucket, and what became of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import MigrationError
from dicom_migration.ledger import Ledger, schema
from dicom_migration.ledger.events import verify_chain
from dicom_migration.manifest import decode_manifest
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shard_transfer import transfer_chain, transfer_shard
from dicom_migration.transfer.shards import Shard
from tests.integration.transfer.faults.sample import PROMISED, SHRUNK, WHOLE, Sample

SHARD = Shard("Pfaults-W0001", 0)
#: Two attempts a study; the smallest memory, so that the large instance passes through a file.
POLICY = TransferPolicy(study_attempts=2, upload_threads=2, spool_memory_mib=4)
_NOW = datetime(2026, 1, 1, tzinfo=UTC)

Attempts = list[tuple[str, str]]


@dataclass(frozen=True)
class EndState:
    """Everything that must be the same, whatever happened on the way.

    Attributes
    ----------
    objects
        Size and SHA-256 of the bytes read back, by key; the manifests are among them.
    studies, exceptions, events
        Rows of the ledger, without times.
    """

    objects: dict[str, tuple[int, str]]
    studies: list[tuple[Any, ...]]
    exceptions: list[tuple[Any, ...]]
    events: list[tuple[Any, ...]]


def put_wave(ledger: Ledger, studies: Sequence[str] = WHOLE) -> None:
    """Enter the sample's studies as one cleansed shard."""
    common = {"state": "cleansed", "wave_id": SHARD.wave_id, "shard": SHARD.number}
    times = {"first_seen_at": _NOW, "last_seen_at": _NOW, "updated_at": _NOW}
    with ledger.write() as connection:
        connection.execute(
            insert(schema.study),
            [
                {
                    "study_instance_uid": uid,
                    "number_of_instances": PROMISED if uid == SHRUNK else None,
                    "storage_class": "STANDARD",
                    **common,
                    **times,
                }
                for uid in studies
            ],
        )


@dataclass
class Migration:
    """A shard's transfer; `store` may misbehave, `bucket` is the same place seen directly."""

    ledger: Ledger
    store: CloudStore
    bucket: CloudStore
    sample: Sample

    def run(
        self, archive: ImageArchive, *, last_try: bool = False, policy: TransferPolicy = POLICY
    ) -> dict[str, int | float]:
        """Transfer what is left of the shard."""
        return transfer_shard(archive, self.store, self.ledger, SHARD, policy, last_try=last_try)

    def state(self, study: str) -> str:
        """Return a study's state."""
        table = schema.study.c
        with self.ledger.read() as connection:
            found = select(table.state).where(table.study_instance_uid == study)
            return str(connection.scalar(found))

    def attempts(self, study: str) -> Attempts:
        """Return outcome and reason of every attempt of a study, oldest first."""
        table = schema.attempt.c
        with self.ledger.read() as connection:
            rows = connection.execute(
                select(table.outcome, table.reason)
                .where(table.study_instance_uid == study)
                .order_by(table.number)
            )
            return [(row.outcome, row.reason) for row in rows]

    def check_moved(self, *studies: str) -> None:
        """Check that the studies are in the bucket, byte for byte, and nothing is held against."""
        for study in studies:
            assert self.state(study) == "transferred", self.attempts(study)
            assert [outcome for outcome, _ in self.attempts(study)].count("transferred") == 1
            assert self.reasons(study) == []
            rows = {row.sop_instance_uid: row for row in self.manifest(study)}
            held = self.sample.of(study)
            assert set(rows) == {h.record.sop_instance_uid for h in held}
            for instance in held:
                row = rows[instance.record.sop_instance_uid]
                stored = self.bucket.read(row.object_key, row.offset, row.object_bytes)
                assert stored.endswith(instance.dataset)

    def check_left(self, study: str, error: MigrationError, *attempts: tuple[str, str]) -> None:
        """Check that a study waits for the next try, and that the error says so."""
        self.check_waiting(study, error, *attempts)
        assert self.manifests(study) == [], "half a study must not look whole"

    def check_waiting(self, study: str, error: MigrationError, *attempts: tuple[str, str]) -> None:
        """Check the same where its manifest may be in the bucket: only the ledger lacks it."""
        assert self.state(study) == "transferring"
        assert self.attempts(study) == list(attempts)
        assert self.reasons(study) == [], "a passing fault is nobody's to decide"
        assert study in str(error), "the message names the study"
        assert error.next_step

    def check_unblamed(self, *studies: str) -> None:
        """Check that nothing came of the studies and nothing is held against them.

        One may have been begun: it is received while the one before it is completed.
        """
        for study in studies:
            assert self.state(study) in ("cleansed", "transferring")
            assert self.attempts(study) in ([], [("interrupted", "")])
            assert self.reasons(study) == []
            assert self.manifests(study) == []

    def check_quarantined(self, study: str, *reasons: str) -> None:
        """Check that a person is asked, with the reasons and a way out."""
        assert self.state(study) == "quarantined"
        assert self.reasons(study) == sorted(reasons)
        assert self.manifests(study) == [], "half a study must not look whole"
        table = schema.exception.c
        with self.ledger.read() as connection:
            rows = connection.execute(
                select(schema.exception).where(table.study_instance_uid == study)
            ).all()
        assert all(row.suggested_fix and row.detail for row in rows)

    def reasons(self, study: str) -> list[str]:
        """Return the reasons of a study's open exceptions, sorted."""
        table = schema.exception.c
        with self.ledger.read() as connection:
            found = select(table.reason).where(
                table.study_instance_uid == study, table.status == "open"
            )
            return sorted(connection.scalars(found))

    def manifests(self, study: str) -> list[str]:
        """Return the keys of all manifests of a study in the bucket."""
        keys = (stored.key for stored in self.bucket.list(""))
        return [key for key in keys if key.endswith(".parquet") and study in key]

    def manifest(self, study: str) -> list[Any]:
        """Return the rows of the manifest that the ledger names, after checking its hash."""
        table = schema.study.c
        with self.ledger.read() as connection:
            row = connection.execute(
                select(table.manifest_key, table.manifest_sha256).where(
                    table.study_instance_uid == study
                )
            ).one()
        data = self.bucket.read(row.manifest_key)
        assert hashlib.sha256(data).hexdigest() == row.manifest_sha256
        return list(decode_manifest(data))

    def objects(self) -> dict[str, tuple[int, str]]:
        """Return size and SHA-256 of everything in the bucket, by key."""
        found = {}
        for stored in self.bucket.list(""):
            data = self.bucket.read(stored.key)
            found[stored.key] = (len(data), hashlib.sha256(data).hexdigest())
        return found

    def end(self) -> EndState:
        """Return the end state, its event chain verified."""
        study, exception, event = schema.study.c, schema.exception.c, schema.event.c
        with self.ledger.read() as connection:
            verify_chain(connection, transfer_chain(SHARD).name)
            studies = connection.execute(
                select(
                    study.study_instance_uid,
                    study.state,
                    study.received_instances,
                    study.stored_instances,
                    study.bytes_received,
                    study.bytes_stored,
                    study.manifest_key,
                    study.manifest_sha256,
                )
            )
            exceptions = connection.execute(
                select(
                    exception.study_instance_uid,
                    exception.sop_instance_uid,
                    exception.reason,
                    exception.status,
                    exception.detail,
                )
            )
            events = connection.execute(
                select(event.study_instance_uid, event.kind, event.payload).where(
                    event.chain == transfer_chain(SHARD).name
                )
            )
            return EndState(
                self.objects(),
                sorted(tuple(row) for row in studies),
                sorted(tuple(row) for row in exceptions),
                sorted(tuple(row) for row in events),
            )
