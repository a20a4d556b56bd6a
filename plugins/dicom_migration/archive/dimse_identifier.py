"""Encodes query/retrieve identifiers and decodes those of the answers.

Source: DICOM PS3.4 section C.4 (identifiers), C.2.2.2 (matching: empty is universal).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping

from dicom_migration.archive.dataset_attributes import read_attributes
from dicom_migration.archive.elements import encoding_of
from dicom_migration.archive.records import Attributes

_VRS = {
    0x00080005: b"CS",
    0x00080016: b"UI",
    0x00080018: b"UI",
    0x00080020: b"DA",
    0x00080030: b"TM",
    0x00080050: b"SH",
    0x00080052: b"CS",
    0x00080058: b"UI",
    0x00080060: b"CS",
    0x00080061: b"CS",
    0x00080062: b"UI",
    0x00080080: b"LO",
    0x00081030: b"LO",
    0x0008103E: b"LO",
    0x00100010: b"PN",
    0x00100020: b"LO",
    0x00100021: b"LO",
    0x00100030: b"DA",
    0x00100040: b"CS",
    0x00180015: b"CS",
    0x0020000D: b"UI",
    0x0020000E: b"UI",
    0x00200010: b"SH",
    0x00200011: b"IS",
    0x00200013: b"IS",
    0x00201206: b"IS",
    0x00201208: b"IS",
    0x00201209: b"IS",
    0x00280008: b"IS",
}


def encode_identifier(values: Mapping[int, str], transfer_syntax_uid: str) -> bytes:
    """Encode keys and their ASCII matching values; "" asks for the value of a key."""
    encoding = encoding_of(transfer_syntax_uid)
    encoded = bytearray()
    for tag in sorted(values):
        vr = _VRS[tag]
        raw = values[tag].encode("ascii")
        if len(raw) % 2:
            raw += b"\0" if vr == b"UI" else b" "
        encoded += struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if encoding.explicit:
            encoded += vr + struct.pack("<H", len(raw))
        else:
            encoded += struct.pack("<I", len(raw))
        encoded += raw
    return bytes(encoded)


def decode_identifier(data: bytes, transfer_syntax_uid: str, tags: Collection[int]) -> Attributes:
    """Decode the wanted attributes of an answer; what is malformed counts as absent."""
    return read_attributes(data, encoding_of(transfer_syntax_uid), tags)
