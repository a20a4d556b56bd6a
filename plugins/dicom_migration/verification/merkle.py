"""One hash over all objects of a wave, from which each of them can be proved.

The construction is that of RFC 6962 section 2.1 (Certificate Transparency): a leaf is
``SHA-256(0x00 || data)``, a node ``SHA-256(0x01 || left || right)``, and a list of n leaves splits
at the largest power of two below n. The data of a leaf is the UTF-8 text of
``study UID, object key, offset (0 when none), bytes, object SHA-256``, joined by tabs; leaves are
sorted by study UID, object key and offset. The empty tree is ``SHA-256("")``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

CONSTRUCTION = (
    "RFC 6962 section 2.1 with SHA-256; leaf data: study UID, object key, offset or 0, bytes, "
    "object SHA-256, tab-separated UTF-8; leaves sorted by study UID, object key, offset"
)
#: Columns of the manifest that a leaf is made of, in order.
LEAF_COLUMNS = (
    "study_instance_uid",
    "object_key",
    "offset",
    "object_bytes",
    "object_sha256",
)


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def leaf_data(record: dict[str, Any]) -> bytes:
    """Return the data of the leaf of one manifest record (its :data:`LEAF_COLUMNS`)."""
    values = [record[name] for name in LEAF_COLUMNS]
    return "\t".join(str(value if value is not None else 0) for value in values).encode()


def sort_key(record: dict[str, Any]) -> tuple[str, str, int]:
    """Order records as the leaves are ordered."""
    return record["study_instance_uid"], record["object_key"], record["offset"] or 0


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Return the root (hexadecimal) over leaf hashes.

    Built level by level: an odd last node moves up unchanged, which gives the same tree as the
    recursive definition.
    """
    if not leaves:
        return hashlib.sha256(b"").hexdigest()
    level = list(leaves)
    while len(level) > 1:
        paired = [
            hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest()
            for i in range(0, len(level) - 1, 2)
        ]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0].hex()
