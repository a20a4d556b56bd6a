"""Which attributes a header has at its top level: present, empty, or against their VR.

The answer is one text, `` 00080016 00080018 00100040e 00180015v ``: the tags of the standard's
dictionary that occur, in the header's order, between single spaces. ``e`` follows the tag of an
empty attribute, ``v`` that of one whose value is against its value representation (PS3.5 section
6.2); what is not listed is absent. It holds no value, headers of one device share one text, and
it is complete: a suite may ask for an attribute that no suite knew when the header was read.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any

from dicom_migration.datasets import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, PIXEL_TAGS
from dicom_migration.value_representations import (
    MAX_CHARACTERS,
    bytes_conform_to_vr,
    conforms_to_vr,
)

if TYPE_CHECKING:
    from pydicom import Dataset

EMPTY, AGAINST_VR = "e", "v"
_UNDEFINED = 0xFFFFFFFF


def attributes_of(dataset: Dataset) -> str:
    """Return the attributes of `dataset`; call it before any element is read.

    Reading an element replaces its bytes by what pydicom made of them.
    """
    from pydicom.datadict import DicomDictionary

    told = []
    for tag in dataset.keys():  # noqa: SIM118 - iterating a dataset decodes its elements
        entry = DicomDictionary.get(int(tag))
        if entry is not None and int(tag) & 0xFFFF:
            told.append(f"{int(tag):08X}{_state(dataset.get_item(tag), entry[0])}")
    return f" {' '.join(told)} "


def with_attribute(attributes: str | None, keyword: str, value: str) -> str | None:
    """Return `attributes` as they are once `keyword` has `value`; None stays None."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(keyword)
    if attributes is None or tag is None:
        return attributes
    others = [told for told in attributes.split() if not told.startswith(f"{tag:08X}")]
    fault = "" if conforms_to_vr(dictionary_VR(tag), value) else AGAINST_VR
    return f" {' '.join([*others, f'{tag:08X}{fault if value else EMPTY}'])} "


def pixel_bytes_at(file: BytesIO, transfer_syntax_uid: str) -> int | None:
    """Return the bytes of native pixel data in the element that `file` stands at.

    None when there is no such element, or it is encapsulated (PS3.5 section A.4). When the file
    ends before the declared length, the bytes that are there are counted.
    """
    order = ">" if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else "<"
    head = file.read(12)
    if len(head) < 8:
        return None
    group, element = struct.unpack_from(f"{order}HH", head)
    if (group << 16 | element) not in PIXEL_TAGS:
        return None
    implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    if not implicit and len(head) < 12:
        return None
    (length,) = struct.unpack_from(f"{order}I", head, 4 if implicit else 8)
    if length == _UNDEFINED:
        return None
    start = file.seek(-4 if implicit and len(head) == 12 else 0, 1)
    return min(int(length), file.getbuffer().nbytes - start)


def _state(element: Any, vr_of_dictionary: str) -> str:
    value = element.value
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return EMPTY
    allowed = vr_of_dictionary.split(" or ")
    vr = str(element.VR or allowed[0])
    if vr != "UN" and vr not in allowed:
        return AGAINST_VR
    if isinstance(value, bytes):
        if vr in MAX_CHARACTERS and not value.strip(b" \0"):
            return EMPTY
        return "" if bytes_conform_to_vr(vr, value) else AGAINST_VR
    if isinstance(value, str) and not conforms_to_vr(vr, value):
        return AGAINST_VR
    return ""
