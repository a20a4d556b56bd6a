"""What the transfer must know of a dataset before its pixels: whose it is, and its facts.

Read twice over, quickly or closely. pydicom takes 2 ms a header, more than retrieving and storing
the instance, and thousands of instances of a study differ in a few values. So well-formed
datasets are cut at their elements' borders, and each element that matters is given to pydicom
alone, once for each value it has: what comes out is pydicom's. Anything out of the ordinary is read
closely, by pydicom as a whole. A test holds both readings together over all real files.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import BinaryIO

from dicom_migration.archive.elements import (
    Buffer,
    Encoding,
    encoding_of,
    guess_encoding,
)
from dicom_migration.datasets import read_header
from dicom_migration.header_facts import (
    KEYWORD_OF_COLUMN,
    TEXT_ENCODING,
    encoding_of_texts,
    header_fact,
    read_header_facts,
    text_value,
)
from dicom_migration.transfer.header_layout import LayoutMemory
from dicom_migration.transfer.splicing import ElementsApart

Facts = dict[str, str | int | None]

_CHARSET = 0x00080005
_UID_TAGS = (0x0020000D, 0x0020000E, 0x00080018)  # study, series, instance
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
    cut = _layouts(encoding).cut(data, start)
    if cut is None:
        return None
    layout, values = cut
    place_of, headers = layout.place_of, layout.headers
    place = place_of.get(_CHARSET)
    charset = b"" if place is None else headers[place] + values[place]
    facts: Facts = {}
    for tag, column in _fact_tags().items():
        place = place_of.get(tag)
        facts[column] = (
            None
            if place is None
            else _fact(column, charset, headers[place], values[place], transfer_syntax_uid)
        )
    declared = str(facts["specific_character_set"] or "")
    texts = [values[place] for place in layout.texts]
    facts[TEXT_ENCODING] = encoding_of_texts(texts, declared)
    uids = [values[place_of[tag]] if tag in place_of else b"" for tag in _UID_TAGS]
    if not b"".join(uids).isascii():
        return None
    study, series, instance = (uid.rstrip(b"\0 ").decode("ascii") for uid in uids)
    return HeaderReading(study, series, instance, facts, start + layout.bytes)


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
        text_value(header, keyword) or ""
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    ]
    return HeaderReading(uids[0], uids[1], uids[2], read_header_facts(header), end)


@cache
def _layouts(encoding: Encoding) -> LayoutMemory:
    return LayoutMemory(encoding)


@lru_cache(_VALUES_KEPT)
def _fact(
    column: str, charset: bytes, head: bytes, value: bytes, transfer_syntax_uid: str
) -> str | int | None:
    """Return what pydicom makes of one element, given the character set before it."""
    element = head + value
    before = b"" if element == charset else charset
    header = read_header(io.BytesIO(before + element), transfer_syntax_uid)
    return header_fact(header, column)


@cache
def _fact_tags() -> dict[int, str]:
    from pydicom.datadict import tag_for_keyword

    tags = {tag_for_keyword(keyword): name for name, keyword in KEYWORD_OF_COLUMN.items()}
    return {tag: name for tag, name in tags.items() if tag is not None}
