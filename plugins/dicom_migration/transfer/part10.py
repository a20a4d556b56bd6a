"""The Part 10 header that goes before a dataset in the cloud (PS3.10 section 7.1).

Always the same bytes for the same instance: no time, no host, no title of the sender, so that
a second transfer gives the identical object.
"""

from __future__ import annotations

import struct

from dicom_migration.archive import InstanceIdentity

PREAMBLE = bytes(128) + b"DICM"
#: PS3.10: identifies the writing implementation; derived from a UUID (PS3.5 annex B.2).
IMPLEMENTATION_CLASS_UID = "2.25.34302120804362296485257703138410293094"
IMPLEMENTATION_VERSION_NAME = "DICOM_MIGRATION1"


def part10_header(identity: InstanceIdentity) -> bytes:
    """Return preamble, prefix and file meta information (group 0002) for `identity`."""
    elements = b"".join(
        (
            struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
            _short(0x0002, b"UI", identity.sop_class_uid),
            _short(0x0003, b"UI", identity.sop_instance_uid),
            _short(0x0010, b"UI", identity.transfer_syntax_uid),
            _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    group_length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(elements))
    return PREAMBLE + group_length + elements


def _short(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value
