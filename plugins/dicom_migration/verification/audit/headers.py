"""Two headers compared attribute by attribute: sequences, private tags and what follows pixels.

Values are compared as bytes, not as decoded: a decoder that misreads both sides the same way would
hide a difference. Nothing here is shared with the code that writes headers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from dicom_migration.datasets import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, PIXEL_TAGS

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

#: Deeper nesting than this is not followed: it is told as a difference unless the bytes are equal.
MAX_DEPTH = 32
#: Offsets and lengths of compressed frames (PS3.3 C.7.6.3.1.8): of the encoding, not of the image.
OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})
_CHARSET = 0x00080005
_TEXT_VRS = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
#: Bytes of the words that a byte order concerns (PS3.5 section 7.3).
_WORDS = {"AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4}
_WORDS |= {"FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8}


class Difference(NamedTuple):
    """Where two headers differ: tags and item numbers (from 1), never a value.

    `kind` is ``missing`` (in the cloud), ``added`` (there), ``changed``, or ``items`` (a sequence
    has another number of them).
    """

    path: tuple[int, ...]
    kind: str

    def __str__(self) -> str:
        """Return for example ``(0040,A730)[2].(0040,A160) changed``."""
        steps = [
            f"({step >> 16:04X},{step & 0xFFFF:04X})" if place % 2 == 0 else f"[{step}]."
            for place, step in enumerate(self.path)
        ]
        return f"{''.join(steps)} {self.kind}"


@dataclass(frozen=True, slots=True)
class Comparing:
    """What may lawfully differ in the whole dataset, and how the two are encoded.

    Attributes
    ----------
    same_encoding
        Both in one transfer syntax as far as the header goes: VRs have to agree too.
    swapped
        One is big endian, the other little.
    derived
        Group lengths and offset tables follow from the encoding: not compared.
    ignored
        Tags that are not compared, at any depth.
    text_charset
        Text was re-encoded in UTF-8; what it was really encoded in, None when it was not.
    """

    same_encoding: bool = True
    swapped: bool = False
    derived: bool = False
    ignored: Collection[int] = ()
    text_charset: str | None = None

    def skips(self, tag: int) -> bool:
        """Tell whether `tag` is left out."""
        derived = self.derived and (tag & 0xFFFF == 0 or tag in OFFSET_TABLES)
        return derived or tag in self.ignored


def comparing(source_syntax: str, cloud_syntax: str, **more: Any) -> Comparing:
    """Return how datasets of these transfer syntaxes are compared."""
    kinds = [
        (syntax == IMPLICIT_VR_LITTLE_ENDIAN, syntax == EXPLICIT_VR_BIG_ENDIAN)
        for syntax in (source_syntax, cloud_syntax)
    ]
    found = Comparing(kinds[0] == kinds[1], kinds[0][1] != kinds[1][1], **more)
    return found if source_syntax == cloud_syntax else replace(found, derived=True)


def differences(source: Dataset, cloud: Dataset, how: Comparing) -> list[Difference]:
    """Return every difference of two datasets; top-level pixel values are not compared here."""
    return list(_Walk(how).datasets(source, cloud, (), how.text_charset))


class _Walk:
    def __init__(self, how: Comparing) -> None:
        self._how = how

    def datasets(
        self, source: Dataset, cloud: Dataset, path: tuple[int, ...], charset: str | None
    ) -> Iterator[Difference]:
        if charset is not None:
            charset = self._charset(source, charset)
        for tag in sorted({*source.keys(), *cloud.keys()}):
            if self._how.skips(tag) or (not path and tag in PIXEL_TAGS):
                continue
            here = (*path, int(tag))
            if tag not in cloud:
                yield Difference(here, "missing")
            elif tag not in source:
                yield Difference(here, "added")
            else:
                yield from self._elements(source, cloud, tag, here, charset)

    def _charset(self, source: Dataset, inherited: str) -> str:
        if self._how.text_charset != "declared":
            return inherited
        raw, _ = _raw(source, _CHARSET) if _CHARSET in source else (None, None)
        return inherited if raw is None else raw.decode("ascii", "replace").strip(" \0")

    def _elements(
        self,
        source: Dataset,
        cloud: Dataset,
        tag: BaseTag,
        path: tuple[int, ...],
        charset: str | None,
    ) -> Iterator[Difference]:
        theirs, their_vr = _raw(source, tag)
        ours, our_vr = _raw(cloud, tag)
        if theirs is not None and ours is not None:
            if self._same_bytes(theirs, ours, their_vr, our_vr):
                return
            vr = their_vr or our_vr or _dictionary_vr(tag)
            if charset is not None and _same_text(theirs, ours, vr, charset):
                return
            if charset is not None and tag == _CHARSET and ours.strip() == b"ISO_IR 192":
                return
        pair = _sequences(source, cloud, tag)
        if pair is not None:
            yield from self._items(*pair, path, charset)
        elif not _same_values(source, cloud, tag, theirs, ours):
            yield Difference(path, "changed")

    def _same_bytes(
        self, theirs: bytes, ours: bytes, their_vr: str | None, our_vr: str | None
    ) -> bool:
        if self._how.same_encoding:
            return theirs == ours and their_vr == our_vr
        if self._how.swapped:
            theirs = _turned(theirs, _WORDS.get(their_vr or our_vr or "", 1))
        return theirs == ours

    def _items(
        self, theirs: Any, ours: Any, path: tuple[int, ...], charset: str | None
    ) -> Iterator[Difference]:
        if len(theirs) != len(ours):
            yield Difference(path, "items")
        if len(path) // 2 >= MAX_DEPTH:
            yield Difference(path, "changed")
            return
        for number, (item, held) in enumerate(zip(theirs, ours, strict=False), start=1):
            yield from self.datasets(item, held, (*path, number), charset)


def _raw(dataset: Dataset, tag: int) -> tuple[bytes | None, str | None]:
    """Return the value's bytes and VR as written; None for what the parser took apart already."""
    from pydicom.dataelem import RawDataElement

    element = dataset.get_item(tag)
    if isinstance(element, RawDataElement):
        return element.value or b"", element.VR
    return None, None


def _sequences(source: Dataset, cloud: Dataset, tag: BaseTag) -> tuple[Any, Any] | None:
    try:
        theirs, ours = source[tag], cloud[tag]
        if theirs.VR == ours.VR == "SQ":
            return theirs.value, ours.value
    except Exception:  # noqa: BLE001 - hostile bytes raise anything in a parser
        return None
    return None


def _same_values(
    source: Dataset, cloud: Dataset, tag: BaseTag, theirs: bytes | None, ours: bytes | None
) -> bool:
    """Compare what has no bytes of its own any more; what has them was found different."""
    if theirs is not None and ours is not None:
        return False
    try:
        return bool(source[tag].value == cloud[tag].value)
    except Exception:  # noqa: BLE001 - as above
        return False


def _same_text(theirs: bytes, ours: bytes, vr: str, charset: str) -> bool:
    """Tell whether `ours` is `theirs` in UTF-8, apart from padding."""
    from pydicom.charset import convert_encodings, decode_bytes
    from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

    if vr not in _TEXT_VRS:
        return False
    delimiters = PN_DELIMS if vr == "PN" else TEXT_VR_DELIMS
    try:
        encodings = convert_encodings(charset.split("\\") if charset else None)
        text = decode_bytes(theirs, encodings, delimiters)
        return text.rstrip(" \0") == ours.decode("utf-8").rstrip(" \0")
    except (UnicodeError, LookupError):
        return False


def _dictionary_vr(tag: int) -> str:
    from pydicom.datadict import dictionary_VR

    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def _turned(value: bytes, word: int) -> bytes:
    if word == 1 or len(value) % word:
        return value
    turned = bytearray(len(value))
    for place in range(word):
        turned[place::word] = value[word - 1 - place :: word]
    return bytes(turned)
