"""Identifiers that depend on nothing but the seed, so that a rebuild is byte-identical."""

from __future__ import annotations

import hashlib

from pydicom.uid import PYDICOM_ROOT_UID, UID, generate_uid

# One private storage class under a root that is not DICOM's: no peer can have it in its list.
PRIVATE_SOP_CLASS_UID = UID(PYDICOM_ROOT_UID + "20.1.1")
IMPLEMENTATION_CLASS_UID = UID(PYDICOM_ROOT_UID + "20.2.1")


def derive_uid(seed: int, *parts: object) -> UID:
    """Return the UID that this seed gives to the thing named by `parts`."""
    return generate_uid(entropy_srcs=[str(seed), *(str(part) for part in parts)])


def derive_number(seed: int, *parts: object) -> int:
    """Return a 32-bit number for the thing named by `parts`, to seed its own random generator.

    Every study draws from its own generator: adding a study to the plan must not change the
    pixels of the others.
    """
    digest = hashlib.sha256("/".join([str(seed), *map(str, parts)]).encode()).digest()
    return int.from_bytes(digest[:4], "big")
