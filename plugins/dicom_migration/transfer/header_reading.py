"""What the transfer must know of a dataset before its pixels: whose it is, and its facts.

Read twice over, quickly or closely. pydicom takes 2 ms a header, more than retrieving and storing
the instance, and thousands of instances of a study differ in a few values. So well-formed
datasets are walked element by element, and each element that matters is given to pydicom alone,
once for each value it has: what comes out is pydicom's. Anything out of the ordinary is read
closely, by pydicom as a whole. A test holds both readings together over all real files.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import BinaryIO

from dicom_migration.archive.elements import (
    Buffer,
    HeaderElement,
    encoding_of,
    guess_encoding,
    plain_elements,
)
from dicom_migration.datasets import PIXEL_TAGS, read_header
from dicom_migration.header_facts import (
    INTEGER_FACTS,
    TEXT_ENCODING,
    TEXT_FACTS,
    TEXT_VRS,
    encoding_of_texts,
    read_header_facts,
)
from dicom_migration.transfer.splicing import ElementsApart

Facts = dict[str, str | int | None]

_CHARSET = 0x00080005
_STUDY, _SERIES, _INSTANCE = 0x0020000D, 0x0020000E, 0x00080018
_TEXT_VRS = frozenset(vr.encode() for vr in TEXT_VRS)
_VALUES_KEPT = 20_000
"""Enough for the instance numbers and slices of several large studies: some 10 MB."""


@dataclass(frozen=True, slots=True)
class HeaderReading:
    """What a header says; the UIDs as written, without padding.

    Attributes
    ----------
    end
        Offset of the Pixel Data element, or of the end where there is none.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    facts: Facts
    end: int


def read_quickly(data: Buffer, start: int, transfer_syntax_uid: str) -> HeaderReading | None:
    """Read a well-formed header that begins at `start`; None when it has to be read closely.

    `data` is the dataset to its end, inflated if it was deflated.
    """
    encoding = encoding_of(transfer_syntax_uid)
    if len(data) - start < 8 or guess_encoding(data, start) != encoding:
        return None
    walked = plain_elements(data, encoding, start, PIXEL_TAGS)
    if walked is None:
        return None
    elements, end = walked
    by_tag = {element.tag: element for element in elements}
    charset = _bytes_of(data, by_tag.get(_CHARSET))
    facts: Facts = {}
    for tag, column in _fact_tags().items():
        element = by_tag.get(tag)
        facts[column] = (
            None
            if element is None
            else _fact(column, charset, _bytes_of(data, element), transfer_syntax_uid)
        )
    texts = [
        bytes(data[element.value : element.end])
        for element in elements
        if _is_text(element.tag, element.vr)
    ]
    declared = str(facts["specific_character_set"] or "")
    facts[TEXT_ENCODING] = encoding_of_texts(texts, declared)
    uids = [_value_of(data, by_tag.get(tag)) for tag in (_STUDY, _SERIES, _INSTANCE)]
    if not all(uid.isascii() for uid in uids):
        return None
    study, series, instance = (uid.rstrip(b"\0 ").decode("ascii") for uid in uids)
    return HeaderReading(study, series, instance, facts, end)


def read_closely(
    file: BinaryIO, start: int, transfer_syntax_uid: str, sop_instance_uid: str
) -> HeaderReading:
    """Read any header that begins at `start` of `file`.

    Raises
    ------
    PermanentError
        ``header_unreadable``, or ``instance_truncated``: an element goes on past the end.
    """
    file.seek(start)
    header = read_header(file, transfer_syntax_uid, sop_instance_uid=sop_instance_uid)
    end = file.tell()
    file.seek(start)
    ElementsApart(file.read(end - start), transfer_syntax_uid)  # or it is truncated
    uids = [
        str(header.get(keyword) or "")
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    ]
    return HeaderReading(uids[0], uids[1], uids[2], read_header_facts(header), end)


def _bytes_of(data: Buffer, element: HeaderElement | None) -> bytes:
    return b"" if element is None else bytes(data[element.start : element.end])


def _value_of(data: Buffer, element: HeaderElement | None) -> bytes:
    return b"" if element is None else bytes(data[element.value : element.end])


@lru_cache(_VALUES_KEPT)
def _fact(
    column: str, charset: bytes, element: bytes, transfer_syntax_uid: str
) -> str | int | None:
    """Return what pydicom makes of one element, given the character set before it."""
    before = b"" if element.startswith(charset) else charset
    header = read_header(io.BytesIO(before + element), transfer_syntax_uid)
    return read_header_facts(header)[column]


@cache
def _fact_tags() -> dict[int, str]:
    from pydicom.datadict import tag_for_keyword

    tags = {tag_for_keyword(keyword): name for name, keyword in (*TEXT_FACTS, *INTEGER_FACTS)}
    return {tag: name for tag, name in tags.items() if tag is not None}


@lru_cache(10_000)
def _is_text(tag: int, vr: bytes) -> bool:
    if not vr:
        from pydicom.datadict import dictionary_VR

        try:
            vr = dictionary_VR(tag).encode()
        except KeyError:  # a private element of an implicit VR dataset
            return False
    return vr in _TEXT_VRS
