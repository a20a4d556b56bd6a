"""What restores contribute to the samples: their own time, and the reason of a late read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger
from dicom_migration.retrieval.measuring import Measurement
from dicom_migration.retrieval.restoring import Restore, note_expired, note_studies
from dicom_migration.retrieval.sample import SampledStudy

#: Failures that say something of the stored study, and so become its exception.
_OF_THE_STUDY = {
    ReasonCode.OBJECT_MISSING,
    ReasonCode.OBJECT_CORRUPT,
    ReasonCode.OBJECT_ARCHIVED,
    ReasonCode.INSTANCE_MISSING,
}


def restore_measurements(
    studies: Sequence[SampledStudy], restores: Sequence[Restore]
) -> list[Measurement]:
    """Return one measurement a study: from the first request until all its objects were there.

    When it was readable is known to the pause between two looks (``archived.poll_seconds``).
    """
    measured = []
    for study in studies:
        mine = [r for r in restores if r.study_instance_uid == study.study_instance_uid]
        if not mine:
            continue
        began = min(restore.requested_at for restore in mine)
        ready = [restore.ready_at for restore in mine if restore.ready_at is not None]
        late = len(ready) < len(mine)
        measured.append(
            Measurement(
                study,
                "cloud",
                "restore",
                "cold",
                began,
                None if late else (max(ready) - began).total_seconds(),
                instances=study.instances,
                error_reason=ReasonCode.OBJECT_ARCHIVED if late else "",
                access="s3-object",
            )
        )
    return measured


def note_lost(
    ledger: Ledger,
    benchmark_id: str,
    measured: Sequence[Measurement],
    restores: Sequence[Restore],
) -> list[Measurement]:
    """Name the studies that could not be read, and an expired restore as what it is.

    Returns the measurements with the reason ``restore_expired`` in place of the store's own.
    """
    by_study = {restore.study_instance_uid: restore for restore in restores}
    named, expired, errors = [], {}, {}
    for one in measured:
        uid = one.study.study_instance_uid
        if one.error_reason == ReasonCode.OBJECT_ARCHIVED and uid in by_study:
            expired[uid] = by_study[uid]
            named.append(replace(one, error_reason=ReasonCode.RESTORE_EXPIRED.value))
            continue
        if one.error_reason in _OF_THE_STUDY:
            reason = ReasonCode(one.error_reason)
            errors[uid] = PermanentError(
                f"{one.operation} from the {one.side} failed in the retrieval benchmark.",
                reason=reason,
                next_step="Verify the study's wave again.",
                study_instance_uid=uid,
            )
        named.append(one)
    note_expired(ledger, benchmark_id, expired)
    note_studies(ledger, benchmark_id, errors)
    return named
