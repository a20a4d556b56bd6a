"""What an instance said before it was corrected: Original Attributes Sequence (0400,0561).

PS3.3 section C.12.1.1.9. One item a correction run; items that were there stay. A previous value
that its value representation does not allow would make the record itself invalid: its element is
empty in Modified Attributes Sequence, and its bytes stand in Nonconforming Modified Attributes
Sequence (0400,0551).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import datetime

from dicom_migration.transfer.splicing import ElementsApart

MODIFYING_SYSTEM = "DICOM_MIGRATION"
CHARSET = 0x00080005
ORIGINAL_ATTRIBUTES = 0x04000561
_MODIFIED_ATTRIBUTES, _NONCONFORMING = 0x04000550, 0x04000551
_WHEN, _SYSTEM, _SOURCE, _REASON = 0x04000562, 0x04000563, 0x04000564, 0x04000565
_NONCONFORMING_VALUE, _SELECTOR, _VALUE_NUMBER = 0x04000552, 0x00720026, 0x00720028
_SEQUENCE_ENDS = (b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xff\xfe\xe0\xdd\0\0\0\0")
_LONGEST_SOURCE = 64


@dataclass(slots=True)
class PreviousValues:
    """What the elements that change were like.

    Attributes
    ----------
    elements
        Whole elements by tag.
    nonconforming
        Values by tag that are not allowed there.
    """

    apart: ElementsApart
    charset: str
    elements: dict[int, bytes] = field(default_factory=dict)
    nonconforming: dict[int, bytes] = field(default_factory=dict)

    def keep(self, tag: int, vr: str) -> None:
        """Keep the element `tag` as it stands; an empty one when there is none."""
        value = self.apart.value(tag)
        empty = self.apart.encode(tag, vr.encode(), b"")
        if value and not conforms(value, vr, self.charset):
            self.nonconforming[tag] = value
            self.elements[tag] = empty
        else:
            self.elements[tag] = self.apart.even(tag, vr.encode()) or empty


def conforms(value: bytes, vr: str, charset: str) -> bool:
    """Tell whether an encoded value is what its value representation allows (PS3.5 6.2)."""
    from pydicom.charset import convert_encodings, decode_bytes
    from pydicom.config import RAISE
    from pydicom.valuerep import TEXT_VR_DELIMS, validate_value

    encodings = convert_encodings(charset.split("\\") if charset else None)
    text = decode_bytes(value.rstrip(b"\0 "), encodings, TEXT_VR_DELIMS)
    parts = [text] if vr in ("ST", "LT", "UT") else text.split("\\")
    try:
        for part in parts:
            validate_value(vr, part, RAISE)
    except ValueError:
        return False
    return "\0" not in text


def record(previous: PreviousValues, approved_at: datetime, source: str) -> bytes:
    """Return the Original Attributes Sequence with one more item, this modification's.

    `source` names where the instance came from: Source of Previous Values (0400,0564).
    """
    apart, before = previous.apart, previous.elements
    charset_before = apart.even(CHARSET, b"CS")
    if charset_before is not None and CHARSET not in before:
        before = {**before, CHARSET: charset_before}  # the old values are text in the old charset
    originals = apart.item(b"".join(before[tag] for tag in sorted(before)))
    wrong = b"".join(_wrong(apart, tag, value) for tag, value in previous.nonconforming.items())
    when = approved_at.strftime("%Y%m%d%H%M%S+0000").encode()
    item = b"".join(
        (
            apart.encode(_MODIFIED_ATTRIBUTES, b"SQ", originals),
            apart.encode(_NONCONFORMING, b"SQ", wrong) if wrong else b"",
            apart.encode(_WHEN, b"DT", when),
            apart.encode(_SYSTEM, b"LO", MODIFYING_SYSTEM.encode()),
            apart.encode(_SOURCE, b"LO", _printable(source)),
            apart.encode(_REASON, b"CS", b"CORRECT"),
        )
    )
    existing = apart.value(ORIGINAL_ATTRIBUTES) or b""
    for end in _SEQUENCE_ENDS:  # of a sequence of undefined length: this one's is explicit
        existing = existing.removesuffix(end)
    return apart.encode(ORIGINAL_ATTRIBUTES, b"SQ", existing + apart.item(item))


def _wrong(apart: ElementsApart, tag: int, value: bytes) -> bytes:
    """Return the item that keeps a value which its VR does not allow, of all value numbers."""
    order = "<" if apart.encoding.little else ">"
    selected = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    return apart.item(
        apart.encode(_SELECTOR, b"AT", selected)
        + apart.encode(_VALUE_NUMBER, b"US", struct.pack(order + "H", 0))
        + apart.encode(_NONCONFORMING_VALUE, b"OB", value)
    )


def _printable(source: str) -> bytes:
    """Return the source's name as a Long String (PS3.5 section 6.2, LO)."""
    text = source.encode("ascii", "replace").replace(b"\\", b"/")
    return bytes(byte for byte in text if 32 <= byte < 127)[:_LONGEST_SOURCE]
