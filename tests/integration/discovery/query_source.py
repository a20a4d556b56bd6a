"""A real SCP that answers C-FIND from studies in memory, and misbehaves as it is told."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from dicom_migration.archive import InstanceRecord, SeriesRecord, StudyQuery, StudyRecord, records
from dicom_migration.archive.dimse import DimseArchive
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_command import CommandField, Field, number
from dicom_migration.archive.dimse_identifier import decode_identifier
from tests.capped_archive import CappedArchive
from tests.integration.archive.scripted_source import ScriptedSource, answer

_VR = {
    records.PATIENT_NAME: b"PN",
    records.PATIENT_ID: b"LO",
    records.STUDY_DESCRIPTION: b"LO",
    records.INSTITUTION_NAME: b"LO",
    records.STUDY_DATE: b"DA",
    records.STUDY_TIME: b"TM",
    records.ACCESSION_NUMBER: b"SH",
    records.STUDY_SERIES_COUNT: b"IS",
    records.STUDY_INSTANCE_COUNT: b"IS",
    records.SERIES_INSTANCE_COUNT: b"IS",
}
_UIDS = (records.STUDY_INSTANCE_UID, records.SERIES_INSTANCE_UID, records.SOP_INSTANCE_UID)
Encode = Callable[[StudyRecord], dict[int, bytes]]


class DefectError(Exception):
    """The source comes upon something that makes it abort the association."""


def dataset(values: Mapping[int, bytes]) -> bytes:
    """Encode explicit VR little endian, whatever the bytes are."""
    encoded = b""
    for tag in sorted(values):
        raw = values[tag]
        uid = tag in (*_UIDS, records.SOP_CLASS_UID)
        raw += (b"\0" if uid else b" ") * (len(raw) % 2)
        vr = b"UI" if uid else _VR.get(tag, b"CS")
        encoded += struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(raw)) + raw
    return encoded


def study_values(record: StudyRecord) -> dict[int, bytes]:
    """Return the attributes of an answer at study level, in UTF-8."""
    texts = {
        records.SPECIFIC_CHARACTER_SET: "ISO_IR 192",
        records.STUDY_INSTANCE_UID: record.study_instance_uid,
        records.STUDY_DATE: record.study_date,
        records.STUDY_TIME: record.study_time,
        records.PATIENT_ID: record.patient_id,
        records.PATIENT_NAME: record.patient_name,
        records.ACCESSION_NUMBER: record.accession_number,
        records.MODALITIES_IN_STUDY: "\\".join(record.modalities),
    }
    for tag, count in (
        (records.STUDY_SERIES_COUNT, record.number_of_series),
        (records.STUDY_INSTANCE_COUNT, record.number_of_instances),
    ):
        if count is not None:
            texts[tag] = str(count)
    return {tag: text.encode() for tag, text in texts.items()}


@dataclass
class QuerySource:
    """What the SCP holds and how it misbehaves.

    Attributes
    ----------
    archive
        Its studies, series and instances; its `cap` is the SCP's.
    refused
        Levels at which it ends a query with 0xA900.
    deaf_to
        Fields of a query that it overlooks.
    longest
        Answers after which it aborts the association.
    encode
        How it writes a study.
    """

    archive: CappedArchive
    refused: frozenset[str] = frozenset()
    deaf_to: frozenset[str] = frozenset()
    longest: int = 10**9
    encode: Encode = study_values
    asked: list[str] = field(default_factory=list)

    def __call__(self, association: Association) -> None:
        while True:
            context_id, command = association.receive_command(30)
            identifier = association.receive_dataset(command)
            if number(command, Field.COMMAND_FIELD) == CommandField.C_ECHO_RQ:
                answer(association, (context_id, command), 0)
                continue
            keys = decode_identifier(
                identifier, association.contexts[context_id].transfer_syntax, _WANTED
            )
            told = {tag: values[0] for tag, values in keys.items() if values and values[0]}
            level = told.get(records.QUERY_RETRIEVE_LEVEL, "")
            self.asked.append(level)
            if level in self.refused:
                answer(association, (context_id, command), 0xA900)
                continue
            try:
                for index, row in enumerate(self._rows(level, told)):
                    if index >= self.longest:
                        raise DefectError
                    answer(association, (context_id, command), 0xFF00, dataset=row)
            except DefectError:
                association.abort()
                return
            answer(association, (context_id, command), 0)

    def _rows(self, level: str, told: Mapping[int, str]) -> Iterator[bytes]:
        study = told.get(records.STUDY_INSTANCE_UID, "")
        if level == "SERIES":
            wanted = "" if "study_instance_uids" in self.deaf_to else study
            for series in self.archive.series:
                if wanted in ("", series.study_instance_uid):
                    yield _series_row(series)
        elif level == "IMAGE":
            series_uid = told.get(records.SERIES_INSTANCE_UID)
            for instance in self.archive.find_instances(study, series_uid):
                yield _instance_row(instance)
        else:
            for record in self.archive.find_studies(self._query(told)):
                yield dataset(self.encode(record))

    def _query(self, told: Mapping[int, str]) -> StudyQuery:
        dates, times = told.get(records.STUDY_DATE, ""), told.get(records.STUDY_TIME, "")
        values: dict[str, object] = {
            "date_from": dates.partition("-")[0] or None,
            "date_to": dates.rpartition("-")[2] or None,
            "time_from": times.partition("-")[0] or None,
            "time_to": times.rpartition("-")[2] or None,
        }
        patient = told.get(records.PATIENT_ID, "")
        values["patient_id_prefix" if patient.endswith("*") else "patient_id"] = (
            patient.rstrip("*") or None
        )
        uid = told.get(records.STUDY_INSTANCE_UID, "")
        values["study_instance_uids"] = (uid,) if uid else ()
        return StudyQuery(**{k: v for k, v in values.items() if k not in self.deaf_to})  # type: ignore[arg-type]


_WANTED = (
    records.QUERY_RETRIEVE_LEVEL,
    records.STUDY_DATE,
    records.STUDY_TIME,
    records.PATIENT_ID,
    *_UIDS,
)


def _series_row(series: SeriesRecord) -> bytes:
    values = {
        records.STUDY_INSTANCE_UID: series.study_instance_uid,
        records.SERIES_INSTANCE_UID: series.series_instance_uid,
        records.MODALITY: series.modality,
    }
    if series.number_of_instances is not None:
        values[records.SERIES_INSTANCE_COUNT] = str(series.number_of_instances)
    return dataset({tag: text.encode() for tag, text in values.items()})


def _instance_row(instance: InstanceRecord) -> bytes:
    values = {
        records.STUDY_INSTANCE_UID: instance.study_instance_uid,
        records.SERIES_INSTANCE_UID: instance.series_instance_uid,
        records.SOP_INSTANCE_UID: instance.sop_instance_uid,
        records.SOP_CLASS_UID: instance.sop_class_uid,
    }
    return dataset({tag: text.encode() for tag, text in values.items()})


@contextmanager
def serving(source: QuerySource) -> Iterator[DimseArchive]:
    """Serve the source on the loopback; give our adapter to it."""
    with ScriptedSource(source) as peer, DimseArchive(peer.settings()) as archive:
        yield archive
