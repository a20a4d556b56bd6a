"""Objects read back from the cloud and compared with their manifest row."""

from __future__ import annotations

import random
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from dicom_migration.cloud import CloudStore, StoredObject
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.manifest import ManifestRow
from dicom_migration.policies.verification import MIB, ReadBack, VerificationPolicy
from dicom_migration.verification.comparison import about
from dicom_migration.verification.findings import Finding, Remedy
from dicom_migration.verification.packed import PackedReading, read_packed
from dicom_migration.verification.part10 import StoredInstance, read_stored_instance
from dicom_migration.verification.streamed_instance import read_streamed_instance

#: Storage classes whose objects cannot be read before a restore of hours (RestoreObject).
ARCHIVED_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
#: Small enough to be in the processor's cache still when it is hashed.
_PIECE_BYTES = 1 << 18
_RANGE_BYTES = 1 << 20
_BATCH_BYTES = 1 << 20
_BATCH_OBJECTS = 8


@dataclass(slots=True)
class ReadBackResult:
    """What was read (bytes), what the store's checksum attested, and what was wrong.

    `objects_read` and `objects_attested` count instances, also those packed into one object.
    """

    objects_read: int = 0
    objects_attested: int = 0
    bytes_read: int = 0
    findings: list[Finding] = field(default_factory=list)

    def method(self, policy: ReadBack) -> str:
        """Name what was done, not what was asked for: archived objects cannot be read."""
        if self.objects_attested and policy.mode != "metadata":
            return f"{policy.label}+checksum" if self.objects_read else "checksum"
        return policy.label

    def add(self, other: ReadBackResult) -> None:
        """Count what another part of the study came to."""
        self.objects_read += other.objects_read
        self.objects_attested += other.objects_attested
        self.bytes_read += other.bytes_read
        self.findings += other.findings


def read_back(
    store: CloudStore,
    rows: Sequence[ManifestRow],
    objects: Mapping[str, StoredObject],
    policy: VerificationPolicy,
    pool: Executor,
) -> ReadBackResult:
    """Read the objects of `rows` by policy and return what came of it; see :func:`sum_up`."""
    return sum_up(begin_read_back(store, rows, objects, policy, pool))


def begin_read_back(
    store: CloudStore,
    rows: Sequence[ManifestRow],
    objects: Mapping[str, StoredObject],
    policy: VerificationPolicy,
    pool: Executor,
) -> list[Future[ReadBackResult]]:
    """Let the pool read the objects of `rows` by policy and compare each with its rows.

    A future raises ``TransientError`` when the store did not deliver; nothing is concluded from
    that.
    """

    def check(batch: Sequence[Sequence[ManifestRow]]) -> ReadBackResult:
        result = ReadBackResult()
        for members in batch:
            result.add(_check_object(store, members, objects, looked_into, policy))
        return result

    chosen = _chosen(rows, policy.read_back)
    looked_into = _looked_into(chosen, policy.read_back)
    return [pool.submit(check, batch) for batch in _batches(_by_object(chosen))]


def sum_up(reading: Sequence[Future[ReadBackResult]]) -> ReadBackResult:
    """Wait for everything that was begun and return it as one.

    Raises
    ------
    TransientError
        The store did not deliver; what was not begun yet is not read.
    """
    result = ReadBackResult()
    try:
        for future in reading:
            result.add(future.result())
    finally:
        for future in reading:
            future.cancel()
    return result


def _check_object(
    store: CloudStore,
    members: Sequence[ManifestRow],
    objects: Mapping[str, StoredObject],
    looked_into: Container[str],
    policy: VerificationPolicy,
) -> ReadBackResult:
    archived = objects[members[0].object_key].storage_class in ARCHIVED_CLASSES
    if archived or policy.read_back.mode == "metadata":
        return attest(store, members)
    try:
        if members[0].packed and policy.read_back.mode == "all":
            return _read_packed(store, members, looked_into, policy.spool_mib * MIB)
        return _read_each(store, members, looked_into, policy.spool_mib * MIB)
    except PermanentError as error:
        if error.reason is not ReasonCode.OBJECT_ARCHIVED:  # by a tier that the listing hides
            raise
        return attest(store, members)


def _read_each(
    store: CloudStore,
    rows: Sequence[ManifestRow],
    looked_into: Container[str],
    spool_bytes: int,
) -> ReadBackResult:
    result, buffer = ReadBackResult(), bytearray(_PIECE_BYTES)
    for row in rows:
        result.objects_read += 1
        try:
            closely = row.sop_instance_uid in looked_into
            stored = _read_object(_pieces(store, row, buffer), row, spool_bytes, closely)
        except PermanentError as error:
            if error.reason not in (ReasonCode.OBJECT_MISSING, ReasonCode.OBJECT_CORRUPT):
                raise
            result.findings.append(
                about(row, error.reason, "The object cannot be read to its end.")
            )
            continue
        result.bytes_read += stored.size
        result.findings += compare_instance(row, stored)
    return result


def _read_object(
    pieces: Iterator[memoryview], row: ManifestRow, spool_bytes: int, closely: bool
) -> StoredInstance:
    if closely and not row.as_received:
        return read_stored_instance(pieces, spool_bytes)
    return read_streamed_instance(pieces, spool_bytes, whole=True, dataset=closely)


def _read_packed(
    store: CloudStore,
    rows: Sequence[ManifestRow],
    looked_into: Container[str],
    spool_bytes: int,
) -> ReadBackResult:
    """Read a whole packed object once: its hash, the headers of all instances, and what is between.

    When anything is wrong it is read again, every instance hashed, so that each is named.
    """
    ordered = sorted(rows, key=lambda row: row.offset or 0)
    key, buffer = ordered[0].object_key, bytearray(_PIECE_BYTES)
    reading = read_packed(store.stream_into(key, buffer), ordered, spool_bytes, looked_into)
    bytes_read = reading.size
    findings = _compare_packed(ordered, reading)
    if findings:
        reading = read_packed(store.stream_into(key, buffer), ordered, spool_bytes)
        bytes_read += reading.size
        findings = _compare_packed(ordered, reading)
    return ReadBackResult(objects_read=len(rows), bytes_read=bytes_read, findings=findings)


def _compare_packed(rows: Sequence[ManifestRow], reading: PackedReading) -> list[Finding]:
    findings = [
        finding
        for row, stored in zip(rows, reading.instances, strict=False)
        for finding in compare_instance(row, stored)
    ]
    findings += [
        about(row, ReasonCode.OBJECT_CORRUPT, "The object cannot be read as far as the instance.")
        for row in rows[len(reading.instances) :]
    ]
    return findings or compare_container(rows, reading)


def compare_container(rows: Sequence[ManifestRow], reading: PackedReading) -> list[Finding]:
    """Return what is wrong with a packed object whose instances are all right."""
    series = rows[0].series_instance_uid
    places = {(row.container_bytes, row.container_sha256) for row in rows}
    if places != {(reading.size, reading.sha256)} or not reading.complete:
        return [
            Finding(
                ReasonCode.OBJECT_CORRUPT,
                Remedy.RETRANSFER,
                "The bytes around the instances of a packed object changed. " + reading.problem,
                "Nothing: the study is transferred again by itself.",
                series,
            )
        ]
    if reading.problem:
        return [
            Finding(
                ReasonCode.OBJECT_UNEXPECTED,
                Remedy.DECIDE,
                f"As transferred: {reading.problem}",
                "Unpack the object and compare it with the manifest; keep both for the analysis.",
                series,
            )
        ]
    return []


def compare_instance(row: ManifestRow, stored: StoredInstance) -> list[Finding]:
    """Return what is wrong with an object that was read; a hash that is "" was not taken."""
    if stored.object_sha256 and stored.object_sha256 != row.object_sha256:
        return [about(row, ReasonCode.OBJECT_CORRUPT, _how_corrupt(row, stored))]
    problem = _problem(row, stored)
    if problem:
        return [about(row, ReasonCode.OBJECT_CORRUPT, problem)]
    return _identity(row, stored)


def _problem(row: ManifestRow, stored: StoredInstance) -> str:
    """Return why the object is not the instance that its row describes, although its bytes are."""
    if stored.problem:
        return f"As transferred, {stored.problem}."
    if row.as_received and stored.dataset_sha256 not in ("", row.dataset_sha256):
        return "The dataset is not the one received."
    if not stored.parsed:
        return ""
    if stored.transfer_syntax_uid != row.object_transfer_syntax_uid:
        return "It is in another transfer syntax."
    if stored.pixel_sha256 and row.pixel_sha256 not in ("", stored.pixel_sha256):
        return "Pixel Data is not what was stored."
    return ""


def attest(store: CloudStore, rows: Sequence[ManifestRow]) -> ReadBackResult:
    """Compare the checksum that the store itself keeps of one object; the bytes are not read."""
    head = store.head(rows[0].object_key)
    findings = [finding for row in rows for finding in _attested(row, head)]
    return ReadBackResult(objects_attested=len(rows), findings=findings)


def _attested(row: ManifestRow, head: StoredObject | None) -> list[Finding]:
    if head is None:
        return [about(row, ReasonCode.OBJECT_MISSING, "The object is not in the cloud.")]
    if not head.sha256:
        archived = head.storage_class in ARCHIVED_CLASSES
        return [
            about(
                row,
                ReasonCode.OBJECT_ARCHIVED if archived else ReasonCode.TARGET_REJECTED,
                "The object was not read, and the store tells no checksum of it.",
                Remedy.DECIDE,
                "Restore the object and verify the study again, or choose read_back: all.",
            )
        ]
    if head.sha256 != (row.container_sha256 if row.packed else row.object_sha256):
        return [about(row, ReasonCode.OBJECT_CORRUPT, "The store's checksum is another one.")]
    return []


def _how_corrupt(row: ManifestRow, stored: StoredInstance) -> str:
    if stored.problem:
        return f"The bytes changed: {stored.problem}."
    if stored.parsed and stored.sop_instance_uid != row.sop_instance_uid:
        return (
            f"The object holds another instance: {stored.sop_instance_uid[:64]} "
            f"of study {stored.study_instance_uid[:64]}."
        )
    if stored.size != row.object_bytes:
        return f"The object has {stored.size} bytes, the manifest says {row.object_bytes}."
    return "The bytes changed: SHA-256 differs from the manifest's."


def _identity(row: ManifestRow, stored: StoredInstance) -> list[Finding]:
    if not stored.parsed:
        return []  # the bytes are those received; that they cannot be parsed is the source's doing
    said = (stored.study_instance_uid, stored.series_instance_uid, stored.sop_instance_uid)
    if said == (row.study_instance_uid, row.series_instance_uid, row.sop_instance_uid):
        return []
    return [
        about(
            row,
            ReasonCode.IDENTITY_CONFLICT,
            "The header names another study, series or instance than the manifest.",
            Remedy.DECIDE,
            "Compare the source's database with the header (merged study?) and correct one.",
        )
    ]


def _chosen(rows: Sequence[ManifestRow], read: ReadBack) -> Sequence[ManifestRow]:
    if read.mode != "sample" or not rows:
        return rows
    size = max(1, round(read.fraction * len(rows)))
    generator = random.Random(f"{read.seed}:{rows[0].study_instance_uid}")
    return generator.sample(list(rows), size)


def _looked_into(rows: Sequence[ManifestRow], read: ReadBack) -> frozenset[str]:
    """Choose the instances that are taken apart, too: each by its own seeded chance."""
    if not rows:
        return frozenset()
    generator = random.Random(f"{read.seed}:look-into:{rows[0].study_instance_uid}")
    return frozenset(r.sop_instance_uid for r in rows if generator.random() < read.look_into)


def _by_object(rows: Sequence[ManifestRow]) -> list[list[ManifestRow]]:
    grouped: dict[str, list[ManifestRow]] = {}
    for row in rows:
        grouped.setdefault(row.object_key, []).append(row)
    return list(grouped.values())


def _batches(objects: Sequence[list[ManifestRow]]) -> Iterator[list[list[ManifestRow]]]:
    """Deal objects out to tasks of the pool: small ones together, a task has its price too."""
    batch: list[list[ManifestRow]] = []
    size = 0
    for members in objects:
        batch.append(members)
        size += sum(row.object_bytes for row in members)
        if size >= _BATCH_BYTES or len(batch) == _BATCH_OBJECTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _pieces(store: CloudStore, row: ManifestRow, buffer: bytearray) -> Iterator[memoryview]:
    if row.offset is None:
        yield from store.stream_into(row.object_key, buffer)
        return
    offset, end = row.offset, row.offset + row.object_bytes
    while offset < end:
        piece = store.read(row.object_key, offset, min(_RANGE_BYTES, end - offset))
        if not piece:
            return
        yield memoryview(piece)
        offset += len(piece)
