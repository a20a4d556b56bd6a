"""The image-quality audit: pixels decoded from source and cloud, compared exactly, on a sample."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from dicom_migration.archive import ImageArchive, InstanceRecord
from dicom_migration.archive.sinks import MemorySink
from dicom_migration.cloud import CloudStore
from dicom_migration.datasets import parse_dataset
from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError, ReasonCode
from dicom_migration.ledger import (
    Ledger,
    StudyState,
    move_studies,
    note_exceptions,
    schema,
    utc_now,
)
from dicom_migration.manifest import ManifestRow
from dicom_migration.policies.verification import MIB, PixelAudit, VerificationPolicy
from dicom_migration.strata import stratified_sample
from dicom_migration.verification.claims import StudyClaim, studies_hash, verified_claims
from dicom_migration.verification.comparison import about
from dicom_migration.verification.findings import (
    Finding,
    Outcome,
    Remedy,
    StudyVerdict,
    exception_notes,
)
from dicom_migration.verification.manifests import manifest_rows
from dicom_migration.verification.readback import ARCHIVED_CLASSES
from dicom_migration.verification.refusals import Refusals
from dicom_migration.verification.sealed_events import AUDIT_EVENT, audit_chain, last_event

if TYPE_CHECKING:
    import numpy as np

#: Not that of verification: a study that is verified again does not close these exceptions.
AUDIT_PHASE = "pixel_audit"


@dataclass(slots=True)
class PixelAuditSummary:
    """Counts of instances.

    Asked for by policy, compared equal, different, not to be decoded as the source delivers
    them, and no longer delivered by the source although it lists them.
    """

    wanted: int = 0
    compared: int = 0
    different: int = 0
    undecodable: int = 0
    undelivered: int = 0
    studies: list[StudyVerdict] = field(default_factory=list)

    def as_dict(self) -> dict[str, int]:
        """Return the counts alone."""
        return {name: value for name, value in asdict(self).items() if name != "studies"}


def sample_size(defect_rate: float, confidence: float, population: int | None = None) -> int:
    """Return how many instances show, with `confidence`, a defect that `defect_rate` of them have.

    The smallest n with ``1 - (1 - defect_rate)^n >= confidence`` (independent draws, which errs
    to the safe side for a finite `population`); never more than the population.
    """
    size = math.ceil(math.log(1 - confidence) / math.log(1 - defect_rate) - 1e-9)
    return size if population is None else min(size, population)


def audit_pixels(
    archive: ImageArchive,
    store: CloudStore,
    ledger: Ledger,
    wave_id: str,
    policy: VerificationPolicy,
) -> PixelAuditSummary:
    """Retrieve a sample of a wave again, decode both copies and compare every pixel.

    A study with a difference becomes ``mismatched``, for a person to decide about. What cannot be
    decoded at the source is only reported: there is nothing to compare with. Objects that need a
    restore are left out.
    The same verified studies are not audited twice, the earlier counts are returned; unless a
    difference was found among them, which another transfer of the same bytes does not undo.

    Raises
    ------
    TransientError
        Source or store did not answer.
    PermanentError
        One of them refuses us, or several studies in a row; nothing is recorded.
    """
    chain = audit_chain(wave_id)
    with ledger.read() as connection:
        claims = verified_claims(connection, wave_id)
        earlier = last_event(connection, chain, AUDIT_EVENT)
    sealed = studies_hash(claims)
    if earlier.pop("studies_sha256", None) == sealed and not earlier["different"]:
        return PixelAuditSummary(**earlier)
    summary = PixelAuditSummary()
    refusals = Refusals()
    if policy.pixel_audit.enabled:
        for claim, rows in _sample(store, ledger, wave_id, claims, policy.pixel_audit, summary):
            findings = [f for row in rows if (f := _compare(archive, store, row, summary))]
            summary.studies += refusals.admit(_verdict(claim, rows, findings))
    summary.studies += refusals.rest()
    with ledger.write() as connection:
        for verdict in summary.studies:
            notes = exception_notes(verdict, policy.max_notes_per_study, AUDIT_PHASE)
            note_exceptions(connection, notes, chain)
            if verdict.outcome is Outcome.VERIFIED:
                continue
            connection.execute(
                insert(schema.verification).values(
                    study_instance_uid=verdict.study_instance_uid,
                    wave_id=wave_id,
                    verified_at=utc_now(),
                    method=verdict.method,
                    objects_read=verdict.objects_read,
                    outcome=verdict.outcome.value,
                    reason=verdict.reason,
                )
            )
            move_studies(
                connection,
                [verdict.study_instance_uid],
                StudyState.MISMATCHED,
                chain,
                payload={"reason": verdict.reason},
                verified_instances=0,
            )
        chain.append(
            connection, [(AUDIT_EVENT, "", {**summary.as_dict(), "studies_sha256": sealed})]
        )
    return summary


def _sample(
    store: CloudStore,
    ledger: Ledger,
    wave_id: str,
    claims: Sequence[StudyClaim],
    policy: PixelAudit,
    summary: PixelAuditSummary,
) -> list[tuple[StudyClaim, list[ManifestRow]]]:
    """Choose instances with pixels: strata of modality and tier, then evenly over studies."""
    table = schema.study.c
    with ledger.read() as connection:
        strata = {
            row.study_instance_uid: (row.modalities, row.storage_class)
            for row in connection.execute(
                select(table.study_instance_uid, table.modalities, table.storage_class).where(
                    table.wave_id == wave_id, table.storage_class.not_in(ARCHIVED_CLASSES)
                )
            )
        }
    readable = [claim for claim in claims if claim.study_instance_uid in strata]
    population = sum(claim.stored_instances for claim in readable)
    wanted = sample_size(policy.defect_rate, policy.confidence, population)
    summary.wanted = min(wanted, policy.max_instances)
    studies = stratified_sample(
        readable, lambda claim: strata[claim.study_instance_uid], summary.wanted, policy.seed
    )
    studies.sort(key=lambda claim: claim.stored_instances)  # what small ones lack, large ones give
    chosen: list[tuple[StudyClaim, list[ManifestRow]]] = []
    left = summary.wanted
    for place, claim in enumerate(studies):
        share = math.ceil(left / (len(studies) - place))
        rows = _with_pixels(manifest_rows(store, claim), policy)
        generator = random.Random(f"{policy.seed}:{claim.study_instance_uid}")
        picked = generator.sample(rows, min(share, len(rows)))
        left -= len(picked)
        if picked:
            chosen.append((claim, picked))
    return chosen


def _with_pixels(rows: Sequence[ManifestRow], policy: PixelAudit) -> list[ManifestRow]:
    limit = policy.max_instance_mib * MIB
    return [r for r in rows if r.pixel_bytes and r.object_bytes <= limit]


def _compare(
    archive: ImageArchive, store: CloudStore, row: ManifestRow, summary: PixelAuditSummary
) -> Finding | None:
    import numpy as np

    try:
        delivered = _delivered(archive, row)
    except PermanentError as error:
        if error.reason in CONCERNS_EVERYBODY:
            raise
        summary.undelivered += 1
        return about(row, error.reason, error.message, Remedy.NONE, error.next_step)
    source = _decode(*delivered)
    if source is None:
        summary.undecodable += 1
        return about(
            row,
            ReasonCode.PIXEL_DATA_INVALID,
            "The image cannot be decoded as the source delivers it; the copy is byte-identical.",
            Remedy.NONE,
            "Look at it in the source's viewer; the migration did not cause this.",
        )
    cloud = _cloud_pixels(store, row)
    if cloud is not None and source.shape == cloud.shape and np.array_equal(source, cloud):
        summary.compared += 1
        return None
    summary.different += 1
    return about(
        row,
        ReasonCode.PIXEL_MISMATCH,
        "Decoded pixels of source and cloud differ.",
        Remedy.DECIDE,
        "Look at both copies in a viewer and keep them as they are; another transfer is no answer.",
    )


def _cloud_pixels(store: CloudStore, row: ManifestRow) -> np.ndarray | None:
    if row.packed:
        stored = store.read(row.object_key, row.offset, row.object_bytes)
    else:
        stored = store.read(row.object_key)
    start = 144 + int.from_bytes(stored[140:144], "little")  # after group 0002 (PS3.10 7.1)
    return _decode(stored[start:], row.object_transfer_syntax_uid)


def _delivered(archive: ImageArchive, row: ManifestRow) -> tuple[bytes, str]:
    """Return the dataset as the source delivers it now, and its transfer syntax."""
    sink = MemorySink()
    record = InstanceRecord(
        row.study_instance_uid, row.series_instance_uid, row.sop_instance_uid, row.sop_class_uid
    )
    archive.retrieve_instance(record, sink)
    if not sink.instances:
        raise PermanentError(
            "The source lists the instance and did not deliver it again for the pixel audit.",
            reason=ReasonCode.SOURCE_FAILED,
            next_step="Look for the instance at the source; the cloud holds a verified copy.",
            study_instance_uid=row.study_instance_uid,
        )
    identity, data = sink.instances[0]
    return data, identity.transfer_syntax_uid


def _decode(data: bytes, transfer_syntax_uid: str) -> np.ndarray | None:
    """Return the decoded pixels of a dataset, None when no decoder can."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders quote values of the header (PHI)
            dataset = parse_dataset(data, transfer_syntax_uid, stop_before_pixels=False)
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
            return dataset.pixel_array
    except Exception:  # noqa: BLE001 - decoders of hostile bytes raise anything
        return None


def _verdict(
    claim: StudyClaim, rows: Sequence[ManifestRow], findings: Sequence[Finding]
) -> StudyVerdict:
    return StudyVerdict(
        study_instance_uid=claim.study_instance_uid,
        method="pixel-audit",
        source_instances=len(rows),
        received_instances=claim.received_instances,
        manifest_instances=claim.stored_instances,
        cloud_instances=len(rows),
        objects_read=len(rows),
        findings=tuple(findings),
    )
