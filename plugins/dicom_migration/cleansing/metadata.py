"""Header facts from a DICOMweb source's metadata (WADO-RS), without retrieving an instance.

Metadata is JSON in UTF-8 whatever the file says (PS3.18 section F.2), so two facts cannot be had
from it: how the text is really encoded, and which character set is declared. Text that is ASCII
throughout is the same in every character set; a study with other text is retrieved, unless the
policy says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from dicom_migration.datasets import PIXEL_TAGS
from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError, ReasonCode
from dicom_migration.header_attributes import AGAINST_VR, EMPTY
from dicom_migration.header_facts import (
    INTEGER_FACTS,
    TEXT_ENCODING,
    TEXT_FACTS,
    TEXT_VRS,
    storable,
)
from dicom_migration.uids import is_valid_uid
from dicom_migration.value_representations import conforms_to_vr

if TYPE_CHECKING:
    from dicom_migration.archive import ImageArchive, InstanceRecord
    from dicom_migration.policies.cleansing import CleansingPolicy

#: Study, Series and SOP Instance UID, SOP Class UID.
_STUDY, _SERIES, _SOP, _SOP_CLASS = "0020000D", "0020000E", "00080018", "00080016"
#: Available Transfer Syntax UID (PS3.18 section 10.6.3.3), or group 0002's where it is told.
_TRANSFER_SYNTAXES = ("00083002", "00020010")
#: The largest number that the ledger keeps of an attribute.
_LARGEST = 2**31 - 1
#: What a server adds: Retrieve URL, Retrieve AE Title, Instance Availability, Available Transfer
#: Syntax UID; and pixel data, which a header ends before.
_NOT_THE_FILES = PIXEL_TAGS | {0x00081190, 0x00080054, 0x00080056, 0x00083002}
Attributes = Mapping[str, Any]


@runtime_checkable
class MetadataArchive(Protocol):
    """An archive that tells the attributes of a study's instances (PS3.18 section 10.4.1.1.2)."""

    def study_metadata(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """Return the attributes of all instances as DICOM JSON."""


def facts_by_metadata(
    archive: ImageArchive,
    uid: str,
    instances: Sequence[InstanceRecord],
    policy: CleansingPolicy,
) -> list[dict[str, Any]] | None:
    """Return rows of the table header_fact for these instances of a study.

    None: they have to be retrieved, since the policy or the source wants it so, the metadata
    does not have all of them, or it cannot tell how their text is encoded.

    Raises
    ------
    PermanentError
        The policy demands metadata of a source that has none, or the source refuses us.
    TransientError
        The source broke off.
    """
    if policy.use_metadata is False:
        return None
    if not isinstance(archive, MetadataArchive):
        if policy.use_metadata is True:
            raise _without_metadata()
        return None
    try:
        told = {_text(item, _SOP): item for item in archive.study_metadata(uid)}
    except PermanentError as error:
        if error.reason in CONCERNS_EVERYBODY or policy.use_metadata is True:
            raise
        return None
    rows = []
    for instance in instances:
        item = told.get(instance.sop_instance_uid)
        if item is None or not _is_of(item, instance):
            return None
        row = _row(item, instance)
        if row[TEXT_ENCODING] is None and policy.use_metadata is not True:
            return None
        rows.append(row)
    return rows


def _is_of(item: Attributes, instance: InstanceRecord) -> bool:
    """Tell whether the UIDs are valid, and those of the source's database."""
    return (
        is_valid_uid(instance.series_instance_uid)
        and is_valid_uid(instance.sop_instance_uid)
        and _text(item, _STUDY) == instance.study_instance_uid
        and _text(item, _SERIES) == instance.series_instance_uid
    )


def _row(item: Attributes, instance: InstanceRecord) -> dict[str, Any]:
    from pydicom.datadict import tag_for_keyword

    row: dict[str, Any] = {
        "study_instance_uid": instance.study_instance_uid,
        "series_instance_uid": instance.series_instance_uid,
        "sop_instance_uid": instance.sop_instance_uid,
        "sop_class_uid": _text(item, _SOP_CLASS) or instance.sop_class_uid,
        "transfer_syntax_uid": next(
            (found for tag in _TRANSFER_SYNTAXES if (found := _text(item, tag))), ""
        ),
        TEXT_ENCODING: "ascii" if _is_ascii(item) else None,
    }
    for column, keyword in TEXT_FACTS:
        value = _text(item, f"{tag_for_keyword(keyword):08X}")
        row[column] = None if value is None else storable(value)
    row["specific_character_set"] = None
    row["attributes"], row["pixel_bytes"] = _attributes(item), None
    for column, keyword in INTEGER_FACTS:
        row[column] = _number(item, f"{tag_for_keyword(keyword):08X}")
    return row


def _attributes(item: Attributes) -> str:
    """Return what :func:`~dicom_migration.header_attributes.attributes_of` says of the file."""
    from pydicom.datadict import DicomDictionary

    told = []
    for tag in sorted(item):
        number = int(tag, 16) if re.fullmatch(r"[0-9A-Fa-f]{8}", tag) else 0
        if number in DicomDictionary and number & 0xFFFF and number not in _NOT_THE_FILES:
            told.append(f"{number:08X}{_state(item, tag)}")
    return f" {' '.join(told)} "


def _state(item: Attributes, tag: str) -> str:
    element = item[tag]
    if not isinstance(element, Mapping) or not element.keys() & {"BulkDataURI", "InlineBinary"}:
        values = _values(item, tag)
        if not any(value not in (None, "") for value in values):
            return EMPTY
        vr = str(element.get("vr"))
        if not any(isinstance(value, int | float) for value in values) and vr != "SQ":
            return "" if conforms_to_vr(vr, _text(item, tag) or "") else AGAINST_VR
    return ""


def _text(item: Attributes, tag: str) -> str | None:
    """Return the values as a file would hold them, None when there is none that can be read."""
    values = _values(item, tag)
    return "\\".join(_written(value) for value in values).rstrip("\0 ") or None


def _values(item: Attributes, tag: str) -> Sequence[Any]:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    return values if isinstance(values, list) else ()


def _written(value: Any) -> str:
    if isinstance(value, Mapping):  # Person Name: PS3.18 section F.2.2
        groups = (value.get(part) for part in ("Alphabetic", "Ideographic", "Phonetic"))
        return "=".join(str(group or "") for group in groups).rstrip("=")
    return "" if value is None else str(value)


def _number(item: Attributes, tag: str) -> int | None:
    try:
        (value,) = _values(item, tag)
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= _LARGEST else None


def _is_ascii(item: Attributes) -> bool:
    """Tell whether all top-level text is ASCII, and nothing may stand for what was not.

    Some servers write a question mark for what they cannot decode.
    """
    for tag, element in item.items():
        if isinstance(element, Mapping) and element.get("vr") in TEXT_VRS:
            text = _text(item, tag) or ""
            if not text.isascii() or "?" in text or "\x1b" in text:
                return False
    return True


def _without_metadata() -> PermanentError:
    return PermanentError(
        "The cleansing policy demands metadata, and the source is no DICOMweb server.",
        reason=ReasonCode.POLICY_INVALID,
        next_step="Set use_metadata to auto in include/policies/cleansing.yaml.",
    )
