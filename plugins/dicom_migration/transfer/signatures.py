"""Digital signatures that a correction breaks.

A signature covers the elements that Data Elements Signed (0400,0020) of its MAC Parameters names
(PS3.3 section C.12.1.1.3.1.1). A broken one is kept: with the Original Attributes Sequence the
dataset that was signed can be put together again, and the signature proven on that; a removed one
proves nothing any more. (PS3.15 section A.2 removes what a system signs anew; this one does not
sign.)
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator

from dicom_migration.archive.elements import TruncatedDatasetError, iter_elements
from dicom_migration.transfer.splicing import ElementsApart

#: Stands among an instance's corrections in the manifest when one of them broke a signature.
SIGNATURE_BROKEN = "signature-broken"
_MAC_PARAMETERS, _SIGNED, _ORIGINAL_ATTRIBUTES = 0x4FFE0001, 0x04000020, 0x04000561
_ITEM, _ITEM_HEAD = (0xFFFE, 0xE000), 8
_TAG = struct.Struct("<HH"), struct.Struct(">HH")


def breaks_signature(apart: ElementsApart, changed: Collection[int]) -> bool:
    """Tell whether a signature of the dataset covers one of the `changed` top-level tags.

    One whose MAC Parameters cannot be read counts as broken, and so does one inside a sequence
    that changes.
    """
    layout = _TAG[not apart.encoding.little]
    inside = layout.pack(_MAC_PARAMETERS >> 16, _MAC_PARAMETERS & 0xFFFF)
    if any(inside in (apart.value(tag) or b"") for tag in changed if tag != _ORIGINAL_ATTRIBUTES):
        return True
    items = apart.value(_MAC_PARAMETERS)
    if not items:
        return False
    try:
        return not set(changed).isdisjoint(_signed_tags(apart, items))
    except (TruncatedDatasetError, struct.error):
        return True


def _signed_tags(apart: ElementsApart, items: bytes) -> Iterator[int]:
    """Yield the tags that any item of MAC Parameters Sequence names."""
    layout = _TAG[not apart.encoding.little]
    offset = 0
    while len(items) - offset >= _ITEM_HEAD:
        head = layout.unpack_from(items, offset)
        offset += _ITEM_HEAD
        if head != _ITEM:  # a delimiter
            continue
        for element in iter_elements(items, apart.encoding, offset):
            end = element.offset + element.length
            if element.tag >> 16 == 0xFFFE:
                break
            if element.tag == _SIGNED:
                value = items[element.offset : end]
                yield from (group << 16 | number for group, number in layout.iter_unpack(value))
            offset = end
