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


def lists_fewer(uid: str, what: str, listed: int, counted: int) -> ExceptionNote:
    """Return the note for a study of which the source lists less than it counts."""
    return ExceptionNote(
        ReasonCode.LISTING_INCOMPLETE,
        PHASE,
        study_instance_uid=uid,
        detail=f"The source lists {listed} of the {counted} {what} that it counts.",
        suggested_fix="Compare with the study at the source; its listing may be cut off.",
    )


def level_refused(error: MigrationError) -> ExceptionNote:
    """Return the note for a source that does not tell the series or instances of any study."""
    return ExceptionNote(
        ReasonCode.SOURCE_REFUSED_OPERATION,
        PHASE,
        subject="series and instances",
        detail=f"The source refuses to list series or instances, and is not asked any more: "
        f"{error.message}",
        suggested_fix="Allow C-FIND at series and image level for our AE title, then run discovery "
        "again; or set list_series and list_instances to false and count_instances to never.",
    )


def unproven(what: str, why: str) -> ExceptionNote:
    """Return the note for a part of the archive that may hold more than was found."""
    return ExceptionNote(
        ReasonCode.WINDOW_CAPPED,
        PHASE,
        subject=what,
        detail=f"It is not certain that every study was found: the answer for {what} {why}.",
        suggested_fix="Raise the result limit at the source, or compare its own count of studies.",
    )


def beyond_queries(attribute: str) -> ExceptionNote:
    """Return the note for studies that no query can bring, should there be any."""
    return ExceptionNote(
        ReasonCode.WINDOW_CAPPED,
        PHASE,
        subject=f"studies without {attribute}",
        detail="Days whose answers are cut off were asked for in parts and all that the source "
        f"showed of them was found. Should it hold studies without {attribute} on these days, and "
        "have shown none, they cannot be asked for.",
        suggested_fix="Raise the result limit at the source, or compare its own count of studies.",
    )


def dates_ignored() -> ExceptionNote:
    """Return the note for a source that answers any range of dates with everything."""
    return ExceptionNote(
        ReasonCode.SOURCE_ANSWER_INVALID,
        PHASE,
        subject="Study Date",
        detail="The source answers a range of Study Dates with studies of other dates. All of "
        "them are recorded, but every window brings them again.",
        suggested_fix="Report it to the vendor; set window_days to 36500, so that it is asked "
        "three times and not hundreds of times.",
    )


def vanished(uid: str) -> ExceptionNote:
    """Return the note for a study that the source does not know any more."""
    return ExceptionNote(
        ReasonCode.STUDY_VANISHED,
        PHASE,
        study_instance_uid=uid,
        detail="The last inventory missed the study, and the source does not know its UID.",
        suggested_fix="Ask the archive's administrator whether it was deleted, or merged under "
        "another UID.",
    )


def found_by_uid_only(count: int) -> ExceptionNote:
    """Return the note for studies that the source has and brought to no window."""
    return ExceptionNote(
        ReasonCode.WINDOW_CAPPED,
        PHASE,
        subject="studies found by UID only",
        detail=f"{count} studies known from before were in no answer of this inventory, and the "
        "source still has them when asked by UID: others like them may never have been seen.",
        suggested_fix="Look at the other exceptions of discovery; ask the vendor which studies a "
        "query by Study Date leaves out.",
    )


def not_looked_for(count: int) -> ExceptionNote:
    """Return the note for missed studies that were too many to be asked for one by one."""
    return ExceptionNote(
        ReasonCode.STUDY_VANISHED,
        PHASE,
        subject="not looked for",
        detail=f"The last inventory missed {count} more studies than vanished_checks allows to "
        "be asked for by UID.",
        suggested_fix="Look at the other exceptions of discovery first: a source that hides "
        "studies is likelier than so many deletions. Then raise vanished_checks.",
    )


def reconfigured(source: str, changes: str) -> ExceptionNote:
    """Return the note for a source that is not configured as it was."""
    return ExceptionNote(
        ReasonCode.SOURCE_RECONFIGURED,
        PHASE,
        subject=source[:128],
        detail=f"The source is not configured as at the last check: {changes}.",
        suggested_fix="Ask its administrator whether that was meant; then close this exception.",
    )
