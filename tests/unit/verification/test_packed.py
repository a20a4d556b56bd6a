"""The directory of a packed series is read from the object's end alone, however large it is."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from dicom_migration.transfer.series_zip import SeriesZip
from dicom_migration.transfer.zip_format import Entry, end_of_directory, local_header
from dicom_migration.verification.packed import _check_directory

GIB = 1 << 30
LOCATOR = struct.Struct("<4sIQI")
_lenient: Callable[..., Any] = zipfile._EndRecData64  # type: ignore[attr-defined]


class Zeros:
    def __init__(self, size: int) -> None:
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(min(length, self.size - offset))


def _as_python_does_today(file: Any, offset: int, record: Any) -> Any:
    """Refuse a ZIP64 record that lies behind its locator, as since CVE-2025-8291."""
    end = file.seek(0, 2)
    start = end + offset - LOCATOR.size
    if start >= 0:
        file.seek(start)
        mark, _, where, _ = LOCATOR.unpack(file.read(LOCATOR.size))
        if mark == b"PK\x06\x07" and where > start:
            raise zipfile.BadZipFile("Corrupt zip64 end of central directory locator")
    return _lenient(file, offset, record)


def packed_of(sizes: list[int]) -> tuple[SeriesZip, int, list[tuple[str, int, int, int]]]:
    """Return an archive, where its directory begins, and what that has to list."""
    entries = [Entry(f"1.{place}.dcm", size, place) for place, size in enumerate(sizes)]
    packed = SeriesZip(entries, [Zeros(size) for size in sizes])
    listed = [
        (entry.name, offset - len(local_header(entry)), entry.size, entry.crc32)
        for entry, offset in zip(entries, packed.offsets, strict=True)
    ]
    return packed, packed.offsets[-1] + sizes[-1], listed


@pytest.mark.parametrize("sizes", [[10, 20], [10, 5 * GIB, 20], [1] * 70_000])
def test_what_the_transfer_wrote_is_right(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "_EndRecData64", _as_python_does_today)
    packed, directory, listed = packed_of(sizes)
    packed.seek(directory)
    assert _check_directory(packed.read(), directory, listed) == ""


@pytest.mark.parametrize("sizes", [[10, 20], [10, 5 * GIB, 20]])
def test_bytes_beside_the_instances_are_found(sizes: list[int]) -> None:
    packed, directory, listed = packed_of(sizes)
    packed.seek(directory)
    tail = packed.read()
    assert "belong to no instance" in _check_directory(b"junk" + tail, directory, listed)
    assert "lists other files" in _check_directory(tail, directory, listed[:1])
    assert "cannot be read" in _check_directory(tail[:-1], directory, listed)
    assert "cannot be read" in _check_directory(b"", directory, listed)
    assert "lists other files" in _check_directory(
        end_of_directory(0, 0, directory), directory, listed
    )
