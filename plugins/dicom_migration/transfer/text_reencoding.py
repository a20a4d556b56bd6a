"""The text of a header in UTF-8, re-decoded with the character set that it is really written in.

Every text element is rewritten, those in sequences included (PS3.5 section 6.1.2.2); an item that
declares a character set of its own is governed by that one and stays. All other bytes stay, and
so does text that only a dictionary of private elements would know for text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from dicom_migration.archive.elements import (
    MAX_DEPTH,
    UNDEFINED_LENGTH,
    Encoding,
    TruncatedDatasetError,
    iter_elements,
)
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.header_facts import TEXT_VRS

_CHARSET = 0x00080005
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_TEXT_VRS = frozenset(vr.encode() for vr in TEXT_VRS)
_SHORT_HEAD = 8
_LONGEST_SHORT = 0xFFFE
_GROUP_LENGTH_BYTES = 4


class _Cut(NamedTuple):
    """One element: its header as written, its value, and its VR."""

    tag: int
    head: bytes
    value: bytes
    vr: bytes


def texts_in_utf8(header: bytes, encoding: Encoding, charset: str) -> dict[int, bytes]:
    """Return the top-level elements that change, whole, by tag.

    Parameters
    ----------
    header
        Dataset bytes up to Pixel Data, not deflated.
    charset
        Specific Character Set (0008,0005) that the text is really encoded in, values joined by a
        backslash.

    Raises
    ------
    PermanentError
        With reason ``correction_failed``: text is not encoded so, or becomes too long.
    """
    reencoder = _Reencoder(charset)
    try:
        cuts = list(_cut(header, encoding))
        changed = {cut.tag: reencoder.element(cut, encoding, 0) for cut in cuts}
    except (TruncatedDatasetError, struct.error):
        raise _refused("a sequence is malformed") from None
    return {cut.tag: changed[cut.tag] for cut in cuts if changed[cut.tag] != cut.head + cut.value}


class _Reencoder:
    def __init__(self, charset: str) -> None:
        from pydicom.charset import convert_encodings

        self._encodings = convert_encodings(charset.split("\\") if charset else None)

    def element(self, cut: _Cut, encoding: Encoding, depth: int) -> bytes:
        """Return the element, its text in UTF-8."""
        if cut.vr in _TEXT_VRS:
            return _with_value(cut, self._text(cut), encoding)
        if cut.vr == b"SQ":
            return _with_value(cut, self._items(cut.value, encoding, depth + 1), encoding)
        return cut.head + cut.value

    def _text(self, cut: _Cut) -> bytes:
        from pydicom.charset import decode_bytes
        from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

        if cut.value.isascii() and b"\x1b" not in cut.value:
            return cut.value
        delimiters = PN_DELIMS if cut.vr == b"PN" else TEXT_VR_DELIMS
        decoded = decode_bytes(cut.value, self._encodings, delimiters)
        if "�" in decoded or "\x1b" in decoded:
            raise _refused("a text is not encoded in the character set that the rule names")
        text = decoded.encode()
        return text + b" " if len(text) % 2 else text

    def _items(self, value: bytes, encoding: Encoding, depth: int) -> bytes:
        """Return the items of a sequence, and its delimiter when there is one."""
        if depth > MAX_DEPTH:
            raise _refused("sequences are nested too deeply")
        order = "<" if encoding.little else ">"
        pieces, offset = [], 0
        while len(value) - offset >= _SHORT_HEAD:
            group, number, length = struct.unpack_from(order + "HHI", value, offset)
            offset += _SHORT_HEAD
            if group << 16 | number != _ITEM:
                pieces.append(value[offset - _SHORT_HEAD :])
                return b"".join(pieces)
            cuts = list(_cut(value, encoding, offset, length))
            before = sum(len(cut.head) + len(cut.value) for cut in cuts)
            item = self._item(cuts, encoding, depth)
            told = length if length == UNDEFINED_LENGTH else len(item)
            pieces += [struct.pack(order + "HHI", _ITEM >> 16, _ITEM & 0xFFFF, told), item]
            offset += before
        return b"".join([*pieces, value[offset:]])

    def _item(self, cuts: list[_Cut], encoding: Encoding, depth: int) -> bytes:
        """Return an item's elements, its delimiter included."""
        if any(cut.tag == _CHARSET for cut in cuts):
            return b"".join(cut.head + cut.value for cut in cuts)
        made = [(cut, self.element(cut, encoding, depth)) for cut in cuts]
        order = "<" if encoding.little else ">"
        lengths: dict[int, int] = {}
        for cut, whole in made:
            lengths[cut.tag >> 16] = lengths.get(cut.tag >> 16, 0) + len(whole)
        return b"".join(
            cut.head + struct.pack(order + "I", lengths[cut.tag >> 16] - len(whole))
            if cut.tag & 0xFFFF == 0 and len(cut.value) == _GROUP_LENGTH_BYTES
            else whole
            for cut, whole in made
        )


def _cut(
    data: bytes, encoding: Encoding, start: int = 0, length: int = UNDEFINED_LENGTH
) -> Iterator[_Cut]:
    """Yield the elements of a dataset or an item; one of undefined length with its delimiter."""
    end = len(data) if length == UNDEFINED_LENGTH else start + length
    position = start
    for element in iter_elements(data, encoding, start, end):
        head = data[position : element.offset]
        position = element.offset + element.length
        vr = head[4:6] if encoding.explicit else _vr_of(element.tag)
        yield _Cut(element.tag, head, data[element.offset : position], vr)
        if element.tag == _ITEM_END:
            return


def _with_value(cut: _Cut, value: bytes, encoding: Encoding) -> bytes:
    """Return the element with another value; an undefined length stays undefined."""
    if value == cut.value:
        return cut.head + value
    order = "<" if encoding.little else ">"
    if encoding.explicit and len(cut.head) == _SHORT_HEAD:
        if len(value) > _LONGEST_SHORT:
            raise _refused("a text does not fit into its VR any more")
        return cut.head[:6] + struct.pack(order + "H", len(value)) + value
    (told,) = struct.unpack(order + "I", cut.head[-4:])
    length = told if told == UNDEFINED_LENGTH else len(value)
    return cut.head[:-4] + struct.pack(order + "I", length) + value


def _vr_of(tag: int) -> bytes:
    """Return the VR of an element of an implicit VR dataset, empty when only its maker knows."""
    from pydicom.datadict import dictionary_VR

    try:
        return dictionary_VR(tag).encode()
    except KeyError:
        return b""


def _refused(why: str) -> PermanentError:
    return PermanentError(
        f"The text of a header cannot be written in UTF-8: {why}.",
        reason=ReasonCode.CORRECTION_FAILED,
        next_step="Correct the character set in the rule, or exclude the study from it.",
    )
