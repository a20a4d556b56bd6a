"""What an inventory asks a person to look at, and the stand-in for a study without a usable UID."""

from __future__ import annotations

import hashlib

from dicom_migration.archive import StudyRecord
from dicom_migration.errors import MigrationError, ReasonCode
from dicom_migration.ledger import ExceptionNote

PHASE = "discovery"
#: What tells apart two studies that have no identifier at all; counts grow, so they do not.
_IDENTIFYING = (
    "study_date",
    "study_time",
    "patient_id",
    "issuer_of_patient_id",
    "patient_name",
    "patient_birth_date",
    "accession_number",
    "study_id",
    "study_description",
    "institution_name",
)


def stand_in(record: StudyRecord) -> str:
    """Return the key under which a study whose identifier is no UID is kept and counted.

    The identifier itself may be hostile; it becomes neither a key nor a message. Where there is
    none, the study's other attributes take its place in the hash.
    """
    told = record.study_instance_uid
    if not told:
        told = "\0".join(["", *(getattr(record, name) for name in _IDENTIFYING)])
    return "invalid-" + hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def without_uid(record: StudyRecord) -> ExceptionNote:
    """Return the note for a study whose identifier is no UID."""
    characters = len(record.study_instance_uid)
    told = f"whose identifier ({characters} characters) is no UID" if characters else "without UID"
    return ExceptionNote(
        ReasonCode.UID_INVALID,
        PHASE,
        study_instance_uid=stand_in(record),
        detail=f"The source reports a study {told}.",
        suggested_fix="Find the study in the source's database and give it a valid UID there.",
    )


def without_images(uid: str) -> ExceptionNote:
    """Return the note for a study without instances."""
    return ExceptionNote(
        ReasonCode.STUDY_EMPTY,
        PHASE,
        study_instance_uid=uid,
        detail="The source's database lists the study with no instances.",
        suggested_fix="Confirm that its images are lost or were never made; then exclude it.",
    )


def without_counts(uid: str, error: MigrationError) -> ExceptionNote:
    """Return the note for a study whose series or instances the source did not tell."""
    return ExceptionNote(
        error.reason,
        PHASE,
        study_instance_uid=uid,
        detail=f"Its series and instances could not be listed: {error.message}",
        suggested_fix=error.next_step or "Look at the study at the source; then inventory again.",
    )


def cut_off(what: str) -> ExceptionNote:
    """Return the note for a range whose answer looks cut off."""
    return ExceptionNote(
        ReasonCode.WINDOW_CAPPED,
        PHASE,
        subject=what,
        detail=f"The answer for {what} looks cut off and cannot be asked in smaller parts.",
        suggested_fix="Raise the result limit at the source, or compare its own count of studies.",
    )
