"""Reading header facts: what the files of a study really say, beside what the database says."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from dicom_migration.archive import ImageArchive, InstanceRecord
from dicom_migration.archive.sinks import MemorySink
from dicom_migration.cleansing.choosing import chosen_instances
from dicom_migration.cleansing.metadata import facts_by_metadata
from dicom_migration.datasets import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    inflate,
    read_header,
)
from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError, ReasonCode
from dicom_migration.header_attributes import attributes_of, pixel_bytes_at
from dicom_migration.header_facts import read_header_facts, storable, text_value
from dicom_migration.ledger import ExceptionNote
from dicom_migration.uids import is_valid_uid

if TYPE_CHECKING:
    from dicom_migration.policies.cleansing import CleansingPolicy

PHASE = "cleansing"
_FIX = "Look at the study at the source; restore it, or exclude it."


@dataclass(frozen=True, slots=True)
class StudyHeaders:
    """What one study's headers say (rows of the table header_fact), and what is wrong with it."""

    uid: str
    facts: list[dict[str, Any]]
    notes: list[ExceptionNote]

    @property
    def refused_for(self) -> ReasonCode | None:
        """Why nothing of the study could be read, None when something was."""
        return self.notes[0].reason if self.notes and not self.facts else None


def read_study(archive: ImageArchive, uid: str, policy: CleansingPolicy) -> StudyHeaders:
    """Read the headers of one study; trouble that is its own becomes notes.

    Raises
    ------
    TransientError
        The source broke off.
    PermanentError
        The source refuses us, not this study.
    """
    study = StudyHeaders(uid, [], [])
    try:
        instances = list(archive.find_instances(uid))
    except PermanentError as error:
        study.notes.append(_own(error, uid))
        return study
    if not instances:
        detail = "The source lists no instances of it."
        study.notes.append(note_of(ReasonCode.STUDY_EMPTY, uid, detail))
    wanted = list(chosen_instances(instances, policy))
    try:
        told = facts_by_metadata(archive, uid, wanted, policy)
    except PermanentError as error:
        study.notes.append(_own(error, uid))
        return study
    if told is not None:
        study.facts.extend(told)
        return study
    for instance in wanted:
        try:
            study.facts.append(_read_instance(archive, instance, policy))
        except PermanentError as error:
            study.notes.append(_own(error, uid, instance))
    return study


def _own(error: PermanentError, uid: str, instance: InstanceRecord | None = None) -> ExceptionNote:
    """Return the note of an error that is the study's own, and raise one that is not."""
    if error.reason in CONCERNS_EVERYBODY:
        raise error
    return note_of(error.reason, uid, error.message, instance, error.next_step)


def _read_instance(
    archive: ImageArchive, instance: InstanceRecord, policy: CleansingPolicy
) -> dict[str, Any]:
    """Return one row of the table header_fact.

    Raises
    ------
    PermanentError
        The instance has no valid UID, is not delivered, is not readable, or is another one than
        the source's database says.
    """
    for name, value in (
        ("Series Instance UID", instance.series_instance_uid),
        ("SOP Instance UID", instance.sop_instance_uid),
    ):
        if not is_valid_uid(value):
            raise PermanentError(
                f"The source reports a {name} that is none.",
                reason=ReasonCode.UID_INVALID,
                next_step="Correct the identifier at the source, or exclude the study.",
            )
    sink = MemorySink(max_bytes=policy.max_instance_mib * 1024 * 1024)
    outcome = archive.retrieve_instance(instance, sink)
    if not sink.instances:
        told = outcome.failures[0].reason if outcome.failures else "nothing was delivered"
        raise PermanentError(
            f"Instance {instance.sop_instance_uid} cannot be retrieved: {told}.",
            reason=ReasonCode.INSTANCE_MISSING,
            next_step="Look for the file at the source; restore it, or exclude the study.",
        )
    identity, data = sink.instances[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values, which are PHI
        facts = _read_facts(data, identity.transfer_syntax_uid, instance)
    return {
        "study_instance_uid": instance.study_instance_uid,
        "series_instance_uid": instance.series_instance_uid,
        "sop_instance_uid": instance.sop_instance_uid,
        "sop_class_uid": identity.sop_class_uid,
        "transfer_syntax_uid": identity.transfer_syntax_uid,
        **{
            key: storable(value) if isinstance(value, str) else value
            for key, value in facts.items()
        },
    }


def _read_facts(
    data: bytes | memoryview, transfer_syntax_uid: str, instance: InstanceRecord
) -> dict[str, str | int | None]:
    """Return what the header says and which attributes it has, from one pass over it."""
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        data = inflate(data)
    file = BytesIO(data)
    dataset = read_header(file, transfer_syntax_uid, sop_instance_uid=instance.sop_instance_uid)
    facts: dict[str, str | int | None] = {
        "attributes": attributes_of(dataset),
        "pixel_bytes": pixel_bytes_at(file, transfer_syntax_uid),
    }
    facts |= read_header_facts(dataset)
    _check_identifiers(dataset, instance)
    return facts


def _check_identifiers(dataset: Any, instance: InstanceRecord) -> None:
    said = {
        "StudyInstanceUID": instance.study_instance_uid,
        "SeriesInstanceUID": instance.series_instance_uid,
        "SOPInstanceUID": instance.sop_instance_uid,
    }
    for keyword, expected in said.items():
        if (text_value(dataset, keyword) or "") != expected:
            raise PermanentError(
                f"The {keyword} in the header of instance {instance.sop_instance_uid} is not the "
                "one in the source's database.",
                reason=ReasonCode.SOURCE_ANSWER_INVALID,
                next_step="Find out at the source whether the study was merged or moved; correct "
                "the database or the file there.",
            )


def note_of(
    reason: ReasonCode,
    uid: str,
    detail: str,
    instance: InstanceRecord | None = None,
    suggested_fix: str = "",
) -> ExceptionNote:
    """Return the note of a study's trouble, naming what has a valid UID."""
    series = instance.series_instance_uid if instance else ""
    sop = instance.sop_instance_uid if instance else ""
    return ExceptionNote(
        reason,
        PHASE,
        study_instance_uid=uid,
        series_instance_uid=series if is_valid_uid(series) else "",
        sop_instance_uid=sop if is_valid_uid(sop) else "",
        detail=detail,
        suggested_fix=suggested_fix or _FIX,
    )
