"""An encoded header with some of its elements replaced, every other byte left as it was.

A library would decode and encode the whole header, and with it change what it understands
differently: odd lengths, unknown VRs, undecodable text, group lengths. Here the elements are cut
apart at their borders (PS3.5 section 7.1), some are exchanged, and all are put together again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from dicom_migration.archive.elements import (
    SHORT_VRS,
    Encoding,
    TruncatedDatasetError,
    encoding_of,
    guess_encoding,
    iter_elements,
)
from dicom_migration.errors import PermanentError, ReasonCode

_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UI_PADDING, _TEXT_PADDING = b"\0", b" "
_ITEM = 0xFFFEE000


def actual_encoding(header: bytes, transfer_syntax_uid: str) -> Encoding:
    """Return how the elements are really encoded: archives hold explicit said to be implicit.

    Byte order is the transfer syntax's; whether VRs are explicit shows in the first element.
    """
    declared = encoding_of(transfer_syntax_uid)
    if len(header) < 8:
        return declared
    return declared._replace(explicit=guess_encoding(header).explicit)


class ElementsApart:
    """A header cut into its top-level elements, in the order they stand.

    Parameters
    ----------
    header
        Dataset bytes up to Pixel Data, not deflated.
    transfer_syntax_uid
        How they are said to be encoded.

    Raises
    ------
    PermanentError
        With reason ``instance_truncated``: an element goes on past the end.
    """

    def __init__(self, header: bytes, transfer_syntax_uid: str) -> None:
        encoding = actual_encoding(header, transfer_syntax_uid)
        self.encoding = encoding
        self._order = "<" if encoding.little else ">"
        self._pieces: list[tuple[int, bytes]] = []
        self._values: dict[int, bytes] = {}
        position = 0
        try:
            for element in iter_elements(header, encoding):
                end = element.offset + element.length
                self._pieces.append((element.tag, header[position:end]))
                self._values.setdefault(element.tag, header[element.offset : end])
                position = end
        except TruncatedDatasetError as error:
            raise PermanentError(
                f"The dataset ends inside its {error}.",
                reason=ReasonCode.INSTANCE_TRUNCATED,
                next_step="Restore the instance at the source from its backup, or exclude the "
                "study.",
            ) from None
        self._padding = header[position:]

    def raw(self, tag: int) -> bytes | None:
        """Return the whole element as it stands, None when there is none."""
        return next((piece for found, piece in self._pieces if found == tag), None)

    def even(self, tag: int, vr: bytes) -> bytes | None:
        """Return the whole element, padded where it is of odd length; None when there is none.

        `vr` is what it is where none is written. Inside an item an odd length would shift what
        follows, and a sequence cannot be padded from outside.
        """
        piece, value = self.raw(tag), self._values.get(tag, b"")
        if piece is None or len(value) % 2 == 0:
            return piece
        written = piece[4:6] if self.encoding.explicit else vr
        if written == b"SQ":
            return piece
        known = written in _LONG_VRS or written in SHORT_VRS
        return self.encode(tag, written if known else b"UN", value)

    def value(self, tag: int) -> bytes | None:
        """Return the element's value as it stands, None when there is none."""
        return self._values.get(tag)

    def replace(self, elements: Mapping[int, bytes]) -> bytes:
        """Return the header with these whole elements put in, in tag order.

        Group Length elements (gggg,0000) of the groups concerned are set right.
        """
        pieces = [(tag, elements.get(tag, piece)) for tag, piece in self._pieces]
        present = {tag for tag, _ in self._pieces}
        for tag in sorted(set(elements) - present):
            place = next((i for i, (other, _) in enumerate(pieces) if other > tag), len(pieces))
            pieces.insert(place, (tag, elements[tag]))
        groups = {tag >> 16 for tag in elements}
        pieces = [
            (tag, self._group_length(tag, pieces) if _is_group_length(tag, groups) else piece)
            for tag, piece in pieces
        ]
        return b"".join(piece for _, piece in pieces) + self._padding

    def encode(self, tag: int, vr: bytes, value: bytes) -> bytes:
        """Return one whole element; the value is padded to even length (PS3.5 section 7.1.1).

        Raises
        ------
        PermanentError
            With reason ``correction_failed``: the value is too long for its VR's length field.
        """
        if len(value) % 2 and vr != b"SQ":  # between items and their end nothing may stand
            value += _UI_PADDING if vr in (b"UI", b"OB", b"UN") else _TEXT_PADDING
        head = struct.pack(self._order + "HH", tag >> 16, tag & 0xFFFF)
        if not self.encoding.explicit:
            return head + struct.pack(self._order + "I", len(value)) + value
        if vr in _LONG_VRS:
            return head + vr + b"\0\0" + struct.pack(self._order + "I", len(value)) + value
        if len(value) > 0xFFFE:
            raise PermanentError(
                f"A value of {len(value)} bytes does not fit into VR {vr.decode()}.",
                reason=ReasonCode.CORRECTION_FAILED,
                next_step="Correct the rule in include/cleansing.",
            )
        return head + vr + struct.pack(self._order + "H", len(value)) + value

    def item(self, elements: bytes) -> bytes:
        """Return a sequence item of explicit length (PS3.5 section 7.5)."""
        layout = self._order + "HHI"
        return struct.pack(layout, _ITEM >> 16, _ITEM & 0xFFFF, len(elements)) + elements

    def _group_length(self, tag: int, pieces: list[tuple[int, bytes]]) -> bytes:
        total = sum(
            len(piece) for other, piece in pieces if other >> 16 == tag >> 16 and other != tag
        )
        return self.encode(tag, b"UL", struct.pack(self._order + "I", total))


def _is_group_length(tag: int, groups: set[int]) -> bool:
    return tag & 0xFFFF == 0 and tag >> 16 in groups
