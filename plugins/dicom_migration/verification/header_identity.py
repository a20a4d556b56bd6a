"""Which instance a stored object says it is, from its first bytes, without decoding the rest.

The four UIDs that verification compares stand early in every header, so that a walk over the
element headers (PS3.5 section 7.1) finds them in a fraction of the time of a parser. And most
instances of a series have the same elements in the same places: where a header has every element
header of one that was walked before, and the same transfer syntax, a walk would take the very same
steps, and is not taken. What is not plain is left to pydicom: ``None`` here accuses nobody.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dicom_migration.datasets import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from dicom_migration.verification.header_walk import HeaderWalk, OddHeaderError, Place

_META_START = 144  # preamble, prefix, and (0002,0000), whose value is the length of what follows
_SYNTAX = 0x00020010
#: Study, Series and SOP Instance UID, as :class:`Identity` has them.
_UIDS = (0x0020000D, 0x0020000E, 0x00080018)
_NOT_PLAIN = frozenset({EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, ""})
_REMEMBERED = 8


class Identity(NamedTuple):
    """What the header says; none of them is empty."""

    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


class Layouts:
    """Where the identity stands in the headers met last; safe to share between threads.

    It holds tags, lengths and places, and of the values only transfer syntaxes.
    """

    def __init__(self) -> None:
        self._known: tuple[_Layout, ...] = ()

    def identity_of(self, head: bytes | memoryview, dataset_start: int) -> Identity | None:
        """Return what an object's first bytes say; None when they do not say it plainly.

        Parameters
        ----------
        head
            The object from its first byte on; as much of it as is at hand.
        dataset_start
            Where the dataset begins (bytes), after group 0002.
        """
        try:
            for layout in self._known:
                if layout.fits(head, dataset_start):
                    return layout.identity(head)
            layout = _walked(head, dataset_start)
            self._known = (layout, *self._known[: _REMEMBERED - 1])
            return layout.identity(head)
        except (OddHeaderError, struct.error, UnicodeDecodeError):
            return None


_MET = Layouts()


def identity_of(head: bytes | memoryview, dataset_start: int) -> Identity | None:
    """Return what an object's first bytes say; see :meth:`Layouts.identity_of`."""
    return _MET.identity_of(head, dataset_start)


class _Layout:
    """All steps of one walk: `steps` are (offset, length) of the bytes that decided them.

    `places` are those of study, series and instance UID.
    """

    def __init__(
        self,
        head: bytes | memoryview,
        dataset_start: int,
        syntax: str,
        steps: list[Place],
        places: list[Place],
    ) -> None:
        self._dataset_start = dataset_start
        self._syntax = syntax
        self._places = [slice(offset, offset + length) for offset, length in places]
        self._end = max(place.stop for place in self._places)
        self._decided = [bytes(head[offset : offset + length]) for offset, length in steps]
        self._last = slice(steps[-1][0], sum(steps[-1]))
        self._steps: list[Place] | None = steps
        self._struct = struct.Struct("")

    def fits(self, head: bytes | memoryview, dataset_start: int) -> bool:
        """Tell whether a walk over `head` would be the same."""
        if dataset_start != self._dataset_start or head[self._last] != self._decided[-1]:
            return False
        if (steps := self._steps) is not None:  # made when it is first needed: many never are
            self._struct, self._steps = _struct_of(steps), None
        return len(head) >= self._end and self._decided == list(self._struct.unpack_from(head))

    def identity(self, head: bytes | memoryview) -> Identity | None:
        """Return the UIDs in `head`, which this layout fits."""
        texts = [_text(bytes(head[place])) for place in self._places]
        return Identity(self._syntax, *texts) if all(texts) else None


def _struct_of(steps: list[Place]) -> struct.Struct:
    """Return what unpacks the bytes of all steps from the first byte of a header."""
    parts, position = ["<"], 0
    for offset, length in steps:
        parts.append(f"{offset - position}x{length}s")
        position = offset + length
    return struct.Struct("".join(parts))


def _walked(head: bytes | memoryview, dataset_start: int) -> _Layout:
    walk = HeaderWalk(head)
    meta = walk.values(_META_START, dataset_start, frozenset({_SYNTAX}), implicit=False)
    offset, length = meta[_SYNTAX]
    syntax = _text(bytes(head[offset : offset + length]))
    if syntax in _NOT_PLAIN:
        raise OddHeaderError
    walk.steps.append(meta[_SYNTAX])  # it decides how the rest is read
    implicit = syntax == IMPLICIT_VR_LITTLE_ENDIAN
    found = walk.values(dataset_start, len(head), frozenset(_UIDS), implicit=implicit)
    return _Layout(head, dataset_start, syntax, walk.steps, [found[tag] for tag in _UIDS])


def _text(value: bytes) -> str:
    return value.decode("ascii").rstrip("\0 ")
