"""Study Root C-FIND at study, series and image level.

Answers are read lazily, so that a window of many thousand studies needs the memory of one.
Source: DICOM PS3.4 sections C.4.1 (C-FIND), C.6.2.1 (Study Root keys).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from dicom_migration.archive import dimse_status, records
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_command import (
    PRIORITY_MEDIUM,
    Command,
    CommandField,
    Field,
    number,
)
from dicom_migration.archive.dimse_identifier import decode_identifier, encode_identifier
from dicom_migration.archive.protocol import StudyQuery
from dicom_migration.archive.records import Attributes
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.uids import checked_uid

log = logging.getLogger(__name__)

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def study_keys(query: StudyQuery, study_instance_uid: str = "") -> dict[int, str]:
    """Return the identifier for studies of a date range, or for one study."""
    keys = _keys("STUDY", records.STUDY_KEYS)
    keys[records.STUDY_DATE] = query.date_range
    keys[records.STUDY_TIME] = query.time_range
    keys[records.STUDY_INSTANCE_UID] = study_instance_uid
    keys[records.PATIENT_ID] = query.patient_key
    keys[records.ACCESSION_NUMBER] = query.accession_key
    return keys


def sop_class_keys(study_instance_uid: str) -> dict[int, str]:
    """Return the identifier that asks for the SOP Classes in Study (0008,0062)."""
    keys = _keys("STUDY", (records.SOP_CLASSES_IN_STUDY,))
    keys[records.STUDY_INSTANCE_UID] = checked_uid(study_instance_uid, "Study Instance UID")
    return keys


def series_keys(study_instance_uid: str) -> dict[int, str]:
    """Return the identifier for the series of a study."""
    keys = _keys("SERIES", records.SERIES_KEYS)
    keys[records.STUDY_INSTANCE_UID] = checked_uid(study_instance_uid, "Study Instance UID")
    return keys


def instance_keys(
    study_instance_uid: str, series_instance_uid: str, *, uids_only: bool = False
) -> dict[int, str]:
    """Return the identifier for the instances of a series.

    With `uids_only` nothing else is asked for: the SOP Class UID alone makes some sources open
    every file, which takes longer than to send it.
    """
    tags = (records.SOP_INSTANCE_UID,) if uids_only else records.INSTANCE_KEYS
    keys = _keys("IMAGE", tags)
    keys[records.STUDY_INSTANCE_UID] = checked_uid(study_instance_uid, "Study Instance UID")
    keys[records.SERIES_INSTANCE_UID] = checked_uid(series_instance_uid, "Series Instance UID")
    return keys


def find(
    association: Association, keys: Mapping[int, str], timeout_s: float
) -> Iterator[Attributes]:
    """Send one C-FIND and yield its answers, without those to other studies than asked.

    An answer that repeats the one before is dropped: sources that keep a row an instance answer
    once an instance at every level. The association must not be used for anything else until the
    iterator ends; close it early and the association is aborted.

    Raises
    ------
    TransientError
        The source is out of resources or failed, or the connection broke.
    PermanentError
        The source refuses the query.
    """
    context = association.context_for(STUDY_ROOT_FIND)
    if context is None:
        raise PermanentError(
            f"{association.stream.peer} does not accept Study Root C-FIND.",
            reason=ReasonCode.SOURCE_REFUSED_OPERATION,
            next_step="Enable the Study Root query/retrieve model for our AE at the source.",
        )
    command: Command = {
        Field.AFFECTED_SOP_CLASS_UID: STUDY_ROOT_FIND,
        Field.COMMAND_FIELD: CommandField.C_FIND_RQ,
        Field.MESSAGE_ID: association.next_message_id(),
        Field.PRIORITY: PRIORITY_MEDIUM,
    }
    association.send(context.context_id, command, encode_identifier(keys, context.transfer_syntax))
    before: Attributes | None = None
    foreign = 0
    for encoded in _answers(association, timeout_s):
        answer = decode_identifier(encoded, context.transfer_syntax, keys.keys())
        if not _asked_for(answer, keys):
            foreign += 1
        elif answer != before:
            before = answer
            yield answer
    if foreign:
        log.warning("%s answered %d rows that were not asked for", association.stream.peer, foreign)


def _keys(level: str, tags: tuple[int, ...]) -> dict[int, str]:
    """Ask for `tags` in UTF-8: some sources convert, and would convert to ASCII unasked."""
    keys = dict.fromkeys(tags, "")
    keys[records.QUERY_RETRIEVE_LEVEL] = level
    keys[records.SPECIFIC_CHARACTER_SET] = "ISO_IR 192"
    return keys


def _answers(association: Association, timeout_s: float) -> Iterator[bytes]:
    """Yield the identifiers of the pending responses until the final one."""
    while True:
        _, response = association.receive_command(timeout_s)
        if number(response, Field.COMMAND_FIELD) != CommandField.C_FIND_RSP:
            association.abort()
            raise PermanentError(
                f"{association.stream.peer} answered a C-FIND with another message.",
                reason=ReasonCode.SOURCE_ANSWER_INVALID,
                next_step="Report the source's software version to its vendor.",
            )
        encoded = association.receive_dataset(response)
        status = number(response, Field.STATUS)
        if status in dimse_status.PENDING:
            yield encoded
        elif status == dimse_status.SUCCESS:
            return
        else:
            raise dimse_status.failure(
                0xC000 if status is None else status, "C-FIND", association.stream.peer
            )


def _asked_for(answer: Attributes, keys: Mapping[int, str]) -> bool:
    """Tell whether the unique keys of an answer are those of the question, or not answered."""
    for tag in (records.STUDY_INSTANCE_UID, records.SERIES_INSTANCE_UID):
        wanted, got = keys.get(tag, ""), records.first(answer, tag)
        if wanted and got and got != wanted:
            return False
    return True
