"""A packed series: its instances in pieces of any size, its directory from the end alone."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from dicom_migration.manifest import ManifestRow
from dicom_migration.transfer.series_zip import SeriesZip
from dicom_migration.transfer.zip_format import Entry, end_of_directory, local_header
from dicom_migration.verification.packed import _check_directory, read_packed
from dicom_migration.verification.streamed_instance import read_streamed_instance
from tests.integration.verification.written_wave import part10, real_instances

GIB = 1 << 30
LOCATOR = struct.Struct("<4sIQI")
_lenient: Callable[..., Any] = zipfile._EndRecData64  # type: ignore[attr-defined]


class Held:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


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


@pytest.mark.parametrize("piece", [61, 4096, 1 << 18, 1 << 30])
def test_what_instances_say_does_not_depend_on_where_pieces_end(piece: int) -> None:
    objects = [part10(instance) for instance in real_instances()] + [b"no DICOM at all"]
    entries = [
        Entry(f"1.{place}.dcm", len(data), zlib.crc32(data)) for place, data in enumerate(objects)
    ]
    packed = SeriesZip(entries, [Held(data) for data in objects])
    rows = [
        ManifestRow(
            study_instance_uid="1",
            series_instance_uid="1",
            sop_instance_uid=f"1.{place}",
            sop_class_uid="",
            transfer_syntax_uid="",
            dataset_bytes=0,
            dataset_sha256="",
            object_bytes=len(data),
            object_sha256="",
            pixel_bytes=None,
            pixel_sha256="",
            object_key="",
            source="",
            offset=offset,
        )
        for place, (data, offset) in enumerate(zip(objects, packed.offsets, strict=True))
    ]
    archive = packed.read()
    file = io.BytesIO(archive)
    reading = read_packed(iter(lambda: file.read(piece), b""), rows, 1 << 25, looked_into=())
    alone = [
        read_streamed_instance([data], 1 << 25, whole=False, dataset=False) for data in objects
    ]
    assert reading.problem == ""
    assert reading.size == len(archive)
    assert reading.instances == alone
