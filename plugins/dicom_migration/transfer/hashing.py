"""The hashes of an instance, all in one pass over its bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from dicom_migration.transfer.pixel_data import PixelValue
from dicom_migration.transfer.spool import Spool


@dataclass(frozen=True, slots=True)
class ObjectHashes:
    """SHA-256, hexadecimal; `pixels` is "" when the object holds none."""

    whole: str
    dataset: str
    pixels: str


def hash_object(spool: Spool, pixels: PixelValue | None = None) -> ObjectHashes:
    """Hash a sealed spool: all of it, its dataset, and the value of its Pixel Data.

    `pixels` lies within the object's bytes, not within the dataset's.
    """
    whole, dataset, value = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    first, last = (pixels.start, pixels.start + pixels.length) if pixels else (0, 0)
    position = 0
    for piece in spool.pieces():
        end = position + len(piece)
        whole.update(piece)
        dataset.update(piece[max(spool.header_bytes - position, 0) :])
        if position < last and end > first:
            value.update(piece[max(first - position, 0) : last - position])
        position = end
    return ObjectHashes(whole.hexdigest(), dataset.hexdigest(), value.hexdigest() if pixels else "")


def sha256_of(data: bytes | memoryview, pixels: PixelValue) -> str:
    """Return the SHA-256 (hexadecimal) of the value of Pixel Data within `data`."""
    return hashlib.sha256(data[pixels.start : pixels.start + pixels.length]).hexdigest()
