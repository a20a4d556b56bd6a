"""Approved corrections applied to a header in flight; no other byte of the dataset changes.

What was there before goes into the Original Attributes Sequence (0400,0561).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.header_facts import COLUMN_OF_KEYWORD, TEXT_ENCODING, storable
from dicom_migration.transfer.original_attributes import (
    ORIGINAL_ATTRIBUTES,
    PreviousValues,
    record,
)
from dicom_migration.transfer.signatures import SIGNATURE_BROKEN, breaks_signature
from dicom_migration.transfer.splicing import ElementsApart
from dicom_migration.transfer.text_reencoding import texts_in_utf8

#: Value representations that hold text (PS3.5 section 6.2); a rule's values are text.
_CHARSET_VRS = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
_ASCII_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})


@dataclass(frozen=True, slots=True)
class Correction:
    """An approved correction: set the top-level attribute `keyword` to `value` ("" = empty).

    It was judged on one instance of a series and is for those that carry the same `old_value`:
    a sibling that has another value keeps it. Empty `series_instance_uid` or `sop_instance_uid`
    means: all of the study, or of the series. `approved_at` is when a person approved it (UTC),
    the same on every run. `text_charset` is set when all text is to be re-encoded in UTF-8: what it
    is really written in, ``declared`` for what the header says.
    """

    correction_id: str
    keyword: str
    value: str
    old_value: str
    rule_id: str
    approved_at: datetime
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    expected_text_encoding: str = ""
    text_charset: str = ""

    def applies_to(self, series_instance_uid: str, sop_instance_uid: str) -> bool:
        """Tell whether it concerns this instance."""
        return self.series_instance_uid in ("", series_instance_uid) and self.sop_instance_uid in (
            "",
            sop_instance_uid,
        )

    def expects(self, facts: Mapping[str, str | int | None]) -> bool:
        """Tell whether the instance still says what the correction was approved for."""
        if self.expected_text_encoding not in ("", facts.get(TEXT_ENCODING)):
            return False  # declares the same, and its text is encoded otherwise
        column = COLUMN_OF_KEYWORD.get(self.keyword)
        current = "" if column is None else storable(str(facts.get(column) or ""))
        return column is None or (current == self.old_value and current != self.value)


@dataclass(frozen=True, slots=True)
class CorrectedHeader:
    """A corrected header, and what is to be noted of it in the manifest beside the corrections."""

    header: bytes
    notes: tuple[str, ...] = ()


def correct_header(
    header: bytes,
    transfer_syntax_uid: str,
    declared_charset: str,
    corrections: Sequence[Correction],
    source: str = "",
) -> CorrectedHeader:
    """Return the header with `corrections` made and what was there before recorded.

    Parameters
    ----------
    header
        Dataset bytes up to Pixel Data, not deflated.
    declared_charset
        Specific Character Set (0008,0005) of the header, values joined by a backslash.
    source
        Where the instance comes from, for Source of Previous Values (0400,0564).

    Raises
    ------
    PermanentError
        With reason ``correction_failed``; the value is not told, it may be PHI.
    """
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    apart = ElementsApart(header, transfer_syntax_uid)
    new_charset = next((c.value for c in corrections if c.keyword == "SpecificCharacterSet"), None)
    charset = declared_charset if new_charset is None else new_charset
    changed = _reencoded(header, apart, declared_charset, corrections)
    before = PreviousValues(apart, declared_charset)
    before.elements = {tag: apart.even(tag, b"LO") or b"" for tag in changed}
    for correction in corrections:
        tag = tag_for_keyword(correction.keyword)
        if tag is None:
            raise _failed(correction, "is not an attribute of the standard's dictionary")
        vr = dictionary_VR(tag)
        changed[tag] = apart.encode(tag, vr.encode(), _value_bytes(correction, vr, charset))
        before.keep(tag, vr)
    approved_at = max(correction.approved_at for correction in corrections)
    changed[ORIGINAL_ATTRIBUTES] = record(before, approved_at, source)
    notes = (SIGNATURE_BROKEN,) if breaks_signature(apart, changed) else ()
    return CorrectedHeader(apart.replace(changed), notes)


def _reencoded(
    header: bytes, apart: ElementsApart, declared_charset: str, corrections: Sequence[Correction]
) -> dict[int, bytes]:
    """Return the text elements in UTF-8 when a correction asks for that, else nothing."""
    asked = next((c.text_charset for c in corrections if c.text_charset), "")
    if not asked:
        return {}
    charset = declared_charset if asked == "declared" else asked
    changed = texts_in_utf8(header, apart.encoding, charset)
    changed.pop(ORIGINAL_ATTRIBUTES, None)  # an older record stays as it was written
    return changed


def _value_bytes(correction: Correction, vr: str, charset: str) -> bytes:
    if vr in _ASCII_VRS and correction.value.isascii():
        return correction.value.encode("ascii")
    if vr not in _CHARSET_VRS:
        raise _failed(correction, f"is of VR {vr} and cannot hold this text")
    return _in_charset(correction, charset)


def _in_charset(correction: Correction, charset: str) -> bytes:
    """Encode text as the dataset will declare it, or refuse: nothing is replaced silently."""
    from pydicom.charset import convert_encodings, decode_bytes, encode_string

    encodings = convert_encodings(charset.split("\\") if charset else None)
    encoded = encode_string(correction.value, encodings)
    if decode_bytes(encoded, encodings, set()) != correction.value:
        raise _failed(correction, f"cannot be written in the character set {charset or 'ASCII'!r}")
    return encoded


def _failed(correction: Correction, why: str) -> PermanentError:
    return PermanentError(
        f"Correction of rule {correction.rule_id}: {correction.keyword} {why}.",
        reason=ReasonCode.CORRECTION_FAILED,
        next_step="Correct the rule in include/cleansing and run the cleansing of the wave again.",
    )
