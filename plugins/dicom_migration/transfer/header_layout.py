"""The element borders of a header, remembered: the next instance of a series has the same ones.

A walk costs some microseconds an element, and the instances of a series differ in values, seldom
in which elements there are and how long. So a header that was walked leaves its layout behind: one
:class:`struct.Struct` that cuts the next header at the same places. Whether it fits is seen from
the cut element headers themselves: tags, VRs and lengths must be equal, one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from dicom_migration.archive.elements import (
    SHORT_VRS,
    UNDEFINED_LENGTH,
    Buffer,
    Encoding,
    HeaderElement,
    plain_elements,
)
from dicom_migration.datasets import PIXEL_TAGS
from dicom_migration.header_facts import TEXT_VRS

_TEXT_VRS = frozenset(vr.encode() for vr in TEXT_VRS)
_UNDEFINED = UNDEFINED_LENGTH.to_bytes(4, "little")
_KEPT = 8
"""Layouts that are tried: a series has a few, as its numbers gain digits."""
_PIXEL_HEADER_BYTES = 6  # tag and VR; the length is not the header's


class HeaderLayout:
    """Where the elements of a header lie, and at which places what matters is.

    Attributes
    ----------
    elements
        As walked, offsets from the start of the dataset.
    headers
        Tag, VR and length of each element, as written.
    place_of
        The place of a tag among them.
    texts
        Places of text (PS3.5 section 6.1.2.2).
    bytes
        Length of the header.
    """

    def __init__(
        self, data: Buffer, start: int, elements: Sequence[HeaderElement], end: int
    ) -> None:
        self.elements = [
            HeaderElement(tag, vr, first - start, value - start, last - start)
            for tag, vr, first, value, last in elements
        ]
        self.bytes = end - start
        self._has_pixels = end < len(data)
        cuts = "".join(f"{e.value - e.start}s{e.end - e.value}s" for e in self.elements)
        tail = f"{_PIXEL_HEADER_BYTES}s" if self._has_pixels else ""
        self._struct = struct.Struct(f"<{cuts}{tail}")
        self.headers: tuple[bytes, ...] = self._struct.unpack_from(data, start)[::2]
        self.place_of = {element.tag: place for place, element in enumerate(self.elements)}
        self.texts = tuple(
            place
            for place, element in enumerate(self.elements)
            if _is_text(element.tag, element.vr)
        )

    def values(self, data: Buffer, start: int) -> Sequence[bytes] | None:
        """Return the value of each element, None when the layout does not fit `data`."""
        left = len(data) - start
        if left < self._struct.size or (left > self.bytes) != self._has_pixels:
            return None
        pieces = self._struct.unpack_from(data, start)
        return pieces[1::2] if pieces[::2] == self.headers else None


class LayoutMemory:
    """The layouts met last, for one encoding; to be used by one thread at a time, or any number.

    (Lists are replaced, never changed, so that threads at worst walk a header once more.)
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._layouts: list[HeaderLayout] = []

    def cut(self, data: Buffer, start: int) -> tuple[HeaderLayout, Sequence[bytes]] | None:
        """Return the layout of the header that begins at `start`, and its values.

        None where the header is out of the ordinary; see
        :func:`~dicom_migration.archive.elements.plain_elements`.
        """
        for layout in self._layouts:
            values = layout.values(data, start)
            if values is not None:
                if layout is not self._layouts[0]:
                    self._keep(layout)
                return layout, values
        walked = plain_elements(data, self._encoding, start, PIXEL_TAGS)
        if walked is None:
            return None
        layout = HeaderLayout(data, start, *walked)
        if not any(self._is_open(data, start, element) for element in layout.elements):
            self._keep(layout)
        values = [bytes(data[start + e.value : start + e.end]) for e in layout.elements]
        return layout, values

    def _keep(self, layout: HeaderLayout) -> None:
        others = [other for other in self._layouts if other is not layout]
        self._layouts = [layout, *others[: _KEPT - 1]]

    def _is_open(self, data: Buffer, start: int, element: HeaderElement) -> bool:
        """Tell whether an element is of undefined length: where it ends, only a walk can tell."""
        declared = bytes(data[start + element.value - 4 : start + element.value])
        return declared == _UNDEFINED and element.vr not in SHORT_VRS


@lru_cache(10_000)
def _is_text(tag: int, vr: bytes) -> bool:
    if not vr:
        from pydicom.datadict import dictionary_VR

        try:
            vr = dictionary_VR(tag).encode()
        except KeyError:  # a private element of an implicit VR dataset
            return False
    return vr in _TEXT_VRS
