"""The four witnesses compared: source now, receipt, manifest, cloud. Pure, no input or output."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dicom_migration.archive import InstanceRecord
from dicom_migration.cloud import StoredObject
from dicom_migration.errors import ReasonCode
from dicom_migration.manifest import ManifestRow, StudyDelta, delta_of_lists
from dicom_migration.uids import uid_set_sha256
from dicom_migration.verification.claims import StudyClaim
from dicom_migration.verification.findings import Finding, Remedy

_INSTANCE_KEY = re.compile(r"(?P<uid>[0-9.]+?)(?:\.[0-9a-f]{16})?\.dcm")
_PACKED_KEY = re.compile(r"(?P<uid>[0-9.]+?)(?:\.part-[0-9]+)?(?:\.[0-9a-f]{16})?\.zip")
_MANIFEST_KEY = re.compile(r"manifest-[0-9a-f]{16}\.parquet")
_AGAIN = "Nothing: the study is transferred again by itself."


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What the four say of one study; `objects` are those below the study's prefix, by key."""

    claim: StudyClaim
    source: tuple[InstanceRecord, ...]
    rows: tuple[ManifestRow, ...]
    objects: Mapping[str, StoredObject]

    @property
    def present(self) -> frozenset[str]:
        """SOP Instance UIDs of the manifest whose object exists."""
        return frozenset(r.sop_instance_uid for r in self.rows if r.object_key in self.objects)

    @property
    def delta(self) -> StudyDelta:
        """What the source lists beyond the manifest, and what it does not list any more."""
        return delta_of_lists(
            [row.sop_instance_uid for row in self.rows],
            [record.sop_instance_uid for record in self.source],
        )


def compare(
    witnesses: Witnesses, transitions: Mapping[str, Sequence[str]] | None = None
) -> list[Finding]:
    """Return every difference between the four; an empty list means they agree.

    `transitions` names, by planned storage class, those that the bucket may move objects to.
    """
    return [
        *_inventory_against_both(witnesses),
        *_source_against_manifest(witnesses),
        *_receipt_against_manifest(witnesses),
        *_manifest_against_cloud(witnesses),
        *_storage_class(witnesses, transitions or {}),
        *_cloud_against_manifest(witnesses),
    ]


def _inventory_against_both(witnesses: Witnesses) -> Iterator[Finding]:
    # Transfer and verification ask for the same list: cut off at a limit of the source, it would
    # agree with itself. What the source's database counted at discovery is another witness.
    known = witnesses.claim.number_of_instances or 0
    seen = max(len(witnesses.source), len(witnesses.rows))
    if known > seen:
        yield Finding(
            ReasonCode.COUNT_MISMATCH,
            Remedy.RETRANSFER,
            f"The source's database counted {known} instances at discovery; it lists "
            f"{len(witnesses.source)} now, and the manifest {len(witnesses.rows)}.",
            "Look for a limit on results at the source, or for instances deleted since; "
            "take the inventory again when the smaller number is right.",
        )


def _source_against_manifest(witnesses: Witnesses) -> Iterator[Finding]:
    source = {record.sop_instance_uid: record for record in witnesses.source}
    listed = {row.sop_instance_uid: row for row in witnesses.rows}
    missing = sorted(source.keys() - listed.keys())
    known = witnesses.claim.number_of_instances
    if missing and known is not None and len(listed) >= known:
        yield Finding(
            ReasonCode.SOURCE_CHANGED,
            Remedy.RETRANSFER,
            f"The source holds {len(source)} instances now, {known} when it was inventoried; "
            f"against the copy {witnesses.delta.words()}.",
            _AGAIN,
        )
    for uid in missing:
        yield Finding(
            ReasonCode.INSTANCE_MISSING,
            Remedy.RETRANSFER,
            "The source holds the instance, the manifest does not.",
            _AGAIN,
            source[uid].series_instance_uid,
            uid,
        )
    if listed and not source:
        yield _gone("The source no longer reports the study.")
        return
    for uid in sorted(listed.keys() - source.keys()):
        yield _gone("The source no longer reports the instance.", listed[uid])


def _gone(detail: str, row: ManifestRow | None = None) -> Finding:
    # Transferring again would drop what the cloud still holds: a person has to say so.
    return Finding(
        ReasonCode.SOURCE_CHANGED,
        Remedy.DECIDE,
        detail,
        "Ask the archive's administrator whether it was deleted or moved on purpose.",
        row.series_instance_uid if row else "",
        row.sop_instance_uid if row else "",
    )


def _receipt_against_manifest(witnesses: Witnesses) -> Iterator[Finding]:
    claim, rows = witnesses.claim, witnesses.rows
    counts = {claim.received_instances, claim.stored_instances, len(rows)}
    if len(counts) > 1:
        yield Finding(
            ReasonCode.COUNT_MISMATCH,
            Remedy.RETRANSFER,
            f"Received {claim.received_instances} and stored {claim.stored_instances} instances, "
            f"but the manifest lists {len(rows)}.",
            _AGAIN,
        )
    received = claim.received_uids_sha256
    if received and received != uid_set_sha256(row.sop_instance_uid for row in rows):
        listed = received == uid_set_sha256(r.sop_instance_uid for r in witnesses.source)
        yield Finding(
            ReasonCode.RECEIPT_MISMATCH,
            Remedy.RETRANSFER,
            "The SOP Instance UIDs that were received (their hash is in the event of the transfer) "
            "are not those of the manifest; they are "
            f"{'just' if listed else 'not'} those that the source lists now.",
            _AGAIN,
        )


def _manifest_against_cloud(witnesses: Witnesses) -> Iterator[Finding]:
    for row in witnesses.rows:
        stored = witnesses.objects.get(row.object_key)
        if stored is None:
            yield about(row, ReasonCode.OBJECT_MISSING, "The object is not in the cloud.")
            continue
        size = row.container_bytes if row.packed else row.object_bytes
        if stored.size != size:
            yield about(
                row,
                ReasonCode.OBJECT_CORRUPT,
                f"The object has {stored.size} bytes, the manifest says {size}.",
            )


def _storage_class(
    witnesses: Witnesses, transitions: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    # The same bytes under the same key are not written again: a new transfer would not heal it.
    planned = witnesses.claim.storage_class or "STANDARD"
    right = {planned, *transitions.get(planned, ())}
    for row in witnesses.rows:
        stored = witnesses.objects.get(row.object_key)
        if stored is not None and stored.storage_class not in right:
            yield about(
                row,
                ReasonCode.STORAGE_CLASS_WRONG,
                f"The object is in {stored.storage_class}, the plan says {planned}.",
                Remedy.DECIDE,
                "Copy the object onto itself in the right class, or correct the bucket's lifecycle "
                "rule; when the rule is right, name it in lifecycle_transitions of "
                "verification.yaml; then verify the study again.",
            )


def _cloud_against_manifest(witnesses: Witnesses) -> Iterator[Finding]:
    listed = {row.object_key for row in witnesses.rows} | {witnesses.claim.manifest_key}
    uids = {row.sop_instance_uid for row in witnesses.rows}
    series = {row.series_instance_uid for row in witnesses.rows}
    for key in sorted(witnesses.objects.keys() - listed):
        name = key.rsplit("/", 1)[-1]
        match = _INSTANCE_KEY.fullmatch(name)
        uid = match["uid"] if match else ""
        packed = _PACKED_KEY.fullmatch(name)
        superseded = (
            uid in uids
            or bool(packed and packed["uid"] in series)
            or bool(_MANIFEST_KEY.fullmatch(name))
        )
        yield Finding(
            ReasonCode.OBJECT_UNEXPECTED,
            Remedy.NONE if superseded else Remedy.DECIDE,
            f"Object {name} was left by an earlier attempt; the manifest does not list it."
            if superseded
            else "An object below the study's prefix belongs to no instance of its manifest.",
            "Remove it when the wave is certified; nothing refers to it."
            if superseded
            else "Find out who wrote it (access log of the bucket), then remove or transfer it.",
            sop_instance_uid=uid if len(uid) <= 64 else "",
        )


def about(
    row: ManifestRow,
    reason: ReasonCode,
    detail: str,
    remedy: Remedy = Remedy.RETRANSFER,
    fix: str = _AGAIN,
) -> Finding:
    """Return a finding about one instance."""
    return Finding(reason, remedy, detail, fix, row.series_instance_uid, row.sop_instance_uid)
