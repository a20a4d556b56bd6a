"""Approved corrections applied to a dataset in flight; pixel bytes are copied as they are.

What was there before goes into the Original Attributes Sequence (0400,0561), PS3.3 section
C.12.1.1.9 and C.12.1.1.9.1.
"""

from __future__ import annotations

import io
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from dicom_migration.datasets import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from pydicom import Dataset

    from dicom_migration.transfer.spool import Spool

MODIFYING_SYSTEM = "DICOM_MIGRATION"


@dataclass(frozen=True, slots=True)
class Correction:
    """An approved correction: set the top-level attribute `keyword` to `value` ("" = empty).

    Empty `series_instance_uid` or `sop_instance_uid` means: all of the study, or of the series.
    `approved_at` is when a person approved it (UTC), the same on every run.
    """

    correction_id: str
    keyword: str
    value: str
    rule_id: str
    approved_at: datetime
    series_instance_uid: str = ""
    sop_instance_uid: str = ""

    def applies_to(self, series_instance_uid: str, sop_instance_uid: str) -> bool:
        """Tell whether it concerns this instance."""
        return self.series_instance_uid in ("", series_instance_uid) and self.sop_instance_uid in (
            "",
            sop_instance_uid,
        )


def correct_dataset(dataset: Dataset, corrections: Sequence[Correction]) -> list[str]:
    """Apply `corrections` to a header dataset; return the ids of those that changed something.

    Raises
    ------
    PermanentError
        With reason ``correction_failed``; the value is not told, it may be PHI.
    """
    from pydicom import Dataset
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.tag import Tag

    changed: list[Correction] = []
    before = Dataset()
    for correction in _charset_first(corrections):
        tag_number = tag_for_keyword(correction.keyword)
        if tag_number is None:
            raise _failed(correction, "is not an attribute of the standard's dictionary")
        tag = Tag(tag_number)
        if tag in dataset and _as_text(dataset[tag].value) == correction.value:
            continue
        try:
            if tag in dataset:
                before[tag] = dataset[tag]
            else:
                before.add_new(tag, dictionary_VR(tag), None)
            dataset.add_new(tag, dictionary_VR(tag), _value(correction.value))
        except Exception as error:  # noqa: BLE001 - setters of hostile values raise anything
            raise _failed(correction, f"could not be set ({type(error).__name__})") from None
        changed.append(correction)
    if changed:
        _record_original(dataset, before, changed)
    return [correction.correction_id for correction in changed]


def write_corrected(
    dataset: Dataset, tail: BinaryIO, transfer_syntax_uid: str, into: Spool
) -> None:
    """Write the header `dataset`, then what is left in `tail` (Pixel Data and after) verbatim.

    A deflated dataset is deflated again (PS3.5 annex A.5).
    """
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    buffer = DicomBytesIO()
    buffer.is_little_endian = transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN
    buffer.is_implicit_VR = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    try:
        write_dataset(buffer, dataset)
    except Exception as error:  # noqa: BLE001 - the parser lets through what cannot be encoded
        raise PermanentError(
            f"A corrected header could not be encoded ({type(error).__name__}).",
            reason=ReasonCode.CORRECTION_FAILED,
            next_step="Look at the instance with dcmdump; leave it out of the rule or exclude it.",
        ) from None
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = packer.compress(buffer.getvalue() + tail.read()) + packer.flush()
        into.write(packed + b"\0" if len(packed) % 2 else packed)
        return
    into.write(buffer.getvalue())
    shutil.copyfileobj(tail, _Appender(into), 1 << 20)


class _Appender(io.RawIOBase):
    """Lets ``shutil`` write into a spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._spool.write(data)
        return len(data)


def _charset_first(corrections: Sequence[Correction]) -> list[Correction]:
    # Later text is then encoded in the character set that the dataset declares afterwards.
    return sorted(corrections, key=lambda c: (c.keyword != "SpecificCharacterSet", c.keyword))


def _record_original(dataset: Dataset, before: Dataset, changed: Sequence[Correction]) -> None:
    from pydicom import Dataset
    from pydicom import Sequence as DicomSequence

    if "SpecificCharacterSet" in dataset and "SpecificCharacterSet" not in before:
        before.SpecificCharacterSet = dataset.SpecificCharacterSet
    item = Dataset()
    item.ModifiedAttributesSequence = DicomSequence([before])
    approved = max(correction.approved_at for correction in changed)
    item.AttributeModificationDateTime = approved.strftime("%Y%m%d%H%M%S+0000")
    item.ModifyingSystem = MODIFYING_SYSTEM
    item.SourceOfPreviousValues = ""
    item.ReasonForTheAttributeModification = "CORRECT"
    existing = list(dataset.get("OriginalAttributesSequence") or [])
    dataset.OriginalAttributesSequence = DicomSequence([*existing, item])


def _value(text: str) -> str | list[str] | None:
    if text == "":
        return None
    return text.split("\\") if "\\" in text else text


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if (
        not isinstance(value, str)
        and hasattr(value, "__iter__")
        and not hasattr(value, "components")
    ):
        return "\\".join(str(part) for part in value)
    return str(value)


def _failed(correction: Correction, why: str) -> PermanentError:
    return PermanentError(
        f"Correction of rule {correction.rule_id}: {correction.keyword} {why}.",
        reason=ReasonCode.CORRECTION_FAILED,
        next_step="Correct the rule in include/cleansing and run the cleansing of the wave again.",
    )
