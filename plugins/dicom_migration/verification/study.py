"""One study verified: source now, receipt, manifest and cloud, and every object read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from dicom_migration.archive import ImageArchive, InstanceRecord
from dicom_migration.cloud import CloudStore, StoredObject
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.manifest import ManifestRow
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import StudyClaim
from dicom_migration.verification.comparison import Witnesses, compare
from dicom_migration.verification.findings import Finding, Remedy, StudyVerdict, first_of
from dicom_migration.verification.manifests import foreign_rows, manifest_rows
from dicom_migration.verification.readback import ReadBackResult, begin_read_back, sum_up
from dicom_migration.verification.receipts import how_compared


@dataclass(frozen=True, slots=True)
class BegunStudy:
    """A study whose objects are being read: the verdict comes of :meth:`finish`."""

    finish: Callable[[], StudyVerdict]
    reading: Sequence[Future[ReadBackResult]] = ()

    def pending(self) -> list[Future[ReadBackResult]]:
        """Return what is still read, or waits for that."""
        return [reading for reading in self.reading if not reading.done()]


@dataclass(frozen=True, slots=True)
class CloudSide:
    """What the cloud holds of a study: its objects by key, and the manifest's rows (no facts).

    `problem` says why there are no rows to be believed, "" when there are.
    """

    objects: Mapping[str, StoredObject]
    rows: tuple[ManifestRow, ...]
    problem: str = ""


def cloud_side(store: CloudStore, claim: StudyClaim) -> CloudSide:
    """List a study's objects, and read its manifest.

    Raises
    ------
    TransientError
        The store did not answer.
    PermanentError
        It refuses us.
    """
    uid = claim.study_instance_uid
    objects = {stored.key: stored for stored in store.list(f"studies/{uid}/")}
    try:
        rows = manifest_rows(store, claim, facts=False)
    except PermanentError as error:
        if error.reason is not ReasonCode.MANIFEST_CORRUPT:
            raise
        return CloudSide(objects, (), error.message)
    if foreign_rows(rows, claim):
        return CloudSide(objects, (), "It lists rows of another study.")
    return CloudSide(objects, rows)


def begin_study(
    archive: ImageArchive,
    cloud: CloudSide,
    store: CloudStore,
    claim: StudyClaim,
    policy: VerificationPolicy,
    pool: Executor,
) -> BegunStudy:
    """Compare the four witnesses of a study and begin to read its objects back.

    Nothing is written anywhere: the verdict is recorded by the caller.

    Parameters
    ----------
    pool
        Threads that read objects; shared by the studies of a shard.

    Raises
    ------
    TransientError
        The source or the store did not answer, here or in ``finish``: there is no verdict.
    PermanentError
        One of them refuses us; not a fault of the study.
    """
    uid = claim.study_instance_uid
    source = _unique(tuple(archive.find_instances(uid)))
    objects, rows = cloud.objects, cloud.rows
    if cloud.problem:
        verdict = _without_manifest(claim, len(source), policy, cloud.problem)
        return BegunStudy(lambda: verdict)
    witnesses = Witnesses(claim, source, rows, objects)
    differences = compare(witnesses, policy.lifecycle_transitions)
    broken = {f.sop_instance_uid for f in differences if f.reason is ReasonCode.OBJECT_CORRUPT}
    readable = [r for r in rows if r.object_key in objects and r.sop_instance_uid not in broken]
    reading = begin_read_back(store, readable, objects, policy, pool)

    def finish() -> StudyVerdict:
        result = sum_up(reading)
        return StudyVerdict(
            study_instance_uid=uid,
            method=result.method(policy.read_back),
            source_instances=len(source),
            received_instances=claim.received_instances,
            manifest_instances=len(rows),
            cloud_instances=len(witnesses.present),
            objects_read=result.objects_read,
            objects_attested=result.objects_attested,
            bytes_read=result.bytes_read,
            findings=first_of([*differences, *result.findings]),
            receipt=how_compared(claim),
            source_delta=witnesses.delta,
        )

    return BegunStudy(finish, reading)


def _unique(records: tuple[InstanceRecord, ...]) -> tuple[InstanceRecord, ...]:
    # A source may return the same instance twice.
    return tuple({record.sop_instance_uid: record for record in records}.values())


def _without_manifest(
    claim: StudyClaim, source_instances: int, policy: VerificationPolicy, detail: str
) -> StudyVerdict:
    return StudyVerdict(
        study_instance_uid=claim.study_instance_uid,
        method=policy.read_back.label,
        source_instances=source_instances,
        received_instances=claim.received_instances,
        manifest_instances=0,
        cloud_instances=0,
        findings=(
            Finding(
                ReasonCode.MANIFEST_CORRUPT,
                Remedy.RETRANSFER,
                detail,
                "Nothing: the study is transferred again by itself.",
            ),
        ),
    )
