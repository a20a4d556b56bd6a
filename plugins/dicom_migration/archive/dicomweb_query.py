"""QIDO-RS, page by page, without trusting a page's size.

A short page does not prove the end: services cap answers below the limit that was asked for. And
a service that ignores ``offset`` answers the same page for ever. So pages are asked for until one
brings nothing new. Source: DICOM PS3.18 section 8.3.4 (paging) and 10.6 (search).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dicom_migration.archive import records
from dicom_migration.archive.dicomweb_client import DicomWebClient
from dicom_migration.archive.protocol import StudyQuery
from dicom_migration.archive.records import Attributes
from dicom_migration.archive.text_values import strip_padding
from dicom_migration.errors import PermanentError, ReasonCode

_NOT_RETURNED_BY_DEFAULT = {
    records.STUDY_INSTANCE_UID: (
        records.STUDY_DESCRIPTION,
        records.INSTITUTION_NAME,
        records.ISSUER_OF_PATIENT_ID,
        records.STUDY_SERIES_COUNT,
        records.STUDY_INSTANCE_COUNT,
        records.SOP_CLASSES_IN_STUDY,
    ),
    records.SERIES_INSTANCE_UID: (
        records.SERIES_DESCRIPTION,
        records.BODY_PART_EXAMINED,
        records.SERIES_INSTANCE_COUNT,
    ),
    records.SOP_INSTANCE_UID: (records.NUMBER_OF_FRAMES,),
}


def study_params(query: StudyQuery, study_instance_uid: str = "") -> dict[str, str]:
    """Return the query parameters for studies of a date range, or for one study."""
    params = {}
    if query.date_range:
        params["StudyDate"] = query.date_range
    if query.time_range:
        params["StudyTime"] = query.time_range
    if study_instance_uid:
        params["StudyInstanceUID"] = study_instance_uid
    if query.patient_key:
        params["PatientID"] = query.patient_key
    if query.accession_key:
        params["AccessionNumber"] = query.accession_key
    return params


def search(
    client: DicomWebClient,
    path: str,
    params: Mapping[str, str],
    key: int,
    study_instance_uid: str = "",
) -> Iterator[Attributes]:
    """Yield the rows of all pages, each once.

    Parameters
    ----------
    path
        Below the root of the service: ``studies``, ``studies/{uid}/series`` ...
    key
        Tag of the UID that identifies a row; rows without it are yielded, too.

    Raises
    ------
    PermanentError
        The service answers the same full page again: there may be rows that it never shows.
    TransientError, PermanentError
        As :meth:`~dicom_migration.archive.dicomweb_client.DicomWebClient.get_json`.
    """
    limit = client.settings.page_size
    fields = ",".join(f"{tag:08X}" for tag in _NOT_RETURNED_BY_DEFAULT[key])
    seen: set[str] = set()
    offset = 0
    honours_limit = False
    while True:
        page_params = {**params, "includefield": fields, "limit": str(limit)}
        if offset:
            page_params["offset"] = str(offset)
        rows = client.get_json(path, page_params, study_instance_uid)
        new = 0
        for row in rows:
            attributes = read_json(row)
            uid = records.first(attributes, key)
            if uid in seen:
                continue
            if uid:
                seen.add(uid)
                new += 1
            yield attributes
        if offset and not new and len(rows) == limit:
            raise _ignores_offset(limit, study_instance_uid)
        if not new or (honours_limit and len(rows) < limit):
            return
        honours_limit = honours_limit or len(rows) == limit
        offset += len(rows)


def _ignores_offset(limit: int, study_instance_uid: str) -> PermanentError:
    return PermanentError(
        f"The DICOMweb source ignores the offset of a search and stops at {limit} rows.",
        reason=ReasonCode.SOURCE_ANSWER_INVALID,
        next_step="Raise page_size above the longest answer, or search in narrower date ranges.",
        study_instance_uid=study_instance_uid or None,
    )


def read_json(row: Mapping[str, Any]) -> Attributes:
    """Turn a DICOM JSON object into text values (PS3.18 Annex F); the malformed is absent."""
    found: dict[int, tuple[str, ...]] = {}
    for name, element in row.items():
        values = element.get("Value") if isinstance(element, dict) else None
        if len(name) == 8 and isinstance(values, list):
            try:
                tag = int(name, 16)
            except ValueError:
                continue
            found[tag] = tuple(_text(value) for value in values)
    return found


def _text(value: object) -> str:
    if isinstance(value, dict):  # a PN: component groups, joined as they are on the wire
        groups = [value.get(name) for name in ("Alphabetic", "Ideographic", "Phonetic")]
        joined = "=".join(group if isinstance(group, str) else "" for group in groups)
        return strip_padding(joined.rstrip("="))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return strip_padding(str(value)) if isinstance(value, str | int | float) else ""
