"""The ZIP that we write is read by programs that others wrote."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_migration.transfer.series_zip import SeriesZip
from dicom_migration.transfer.zip_format import Entry

GIB = 1 << 30
names = st.text(alphabet="0123456789.", min_size=1, max_size=64).filter(lambda n: n.strip("."))
files = st.dictionaries(names.map("{}.dcm".format), st.binary(max_size=3000), max_size=12)


class InMemory:
    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class Zeros:
    """As many zero bytes as one likes, which take no memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(min(length, self.size - offset))


def pack(held: dict[str, bytes]) -> SeriesZip:
    entries = [Entry(name, len(data), zlib.crc32(data)) for name, data in held.items()]
    return SeriesZip(entries, [InMemory(data) for data in held.values()])


@given(files)
def test_python_unpacks_what_was_packed(held: dict[str, bytes]) -> None:
    packed = pack(held)
    data = packed.read()
    assert len(data) == packed.size
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(held)
        assert {name: archive.read(name) for name in held} == held


@given(files)
def test_the_bytes_from_an_offset_are_the_file(held: dict[str, bytes]) -> None:
    packed = pack(held)
    data = b"".join(packed.pieces())
    for offset, content in zip(packed.offsets, held.values(), strict=True):
        assert data[offset : offset + len(content)] == content


@given(files, st.integers(1, 700))
def test_reads_of_any_length_give_the_same_bytes(held: dict[str, bytes], length: int) -> None:
    packed = pack(held)
    whole = b"".join(packed.pieces())
    packed.seek(0)
    assert b"".join(iter(lambda: packed.read(length), b"")) == whole
    packed.seek(-min(30, packed.size), io.SEEK_END)
    assert packed.read() == whole[-30:]
    assert packed.sha256() == hashlib.sha256(whole).hexdigest()


def test_the_same_instances_give_the_same_bytes_in_every_release() -> None:
    held = {"1.2.dcm": b"one", "1.3.dcm": b"two"}
    assert pack(held).read() == pack(held).read()
    assert hashlib.sha256(pack(held).read()).hexdigest() == (
        "b3c220329ec0dc652a0c68eff5bfff1362e1bfa2d80accea27a1585cc237ae87"
    )


def test_an_instance_of_more_than_4_gib_and_one_behind_it_are_found() -> None:
    sizes = [10, 5 * GIB, 20]
    entries = [
        Entry(f"1.{place}.dcm", size, zlib.crc32(bytes(min(size, 20))))
        for place, size in enumerate(sizes)
    ]
    packed = SeriesZip(entries, [Zeros(size) for size in sizes])
    with zipfile.ZipFile(packed) as archive:  # reads the directory only
        assert [info.file_size for info in archive.infolist()] == sizes
        assert [info.compress_size for info in archive.infolist()] == sizes
        for info, offset in zip(archive.infolist(), packed.offsets, strict=True):
            with archive.open(info) as member:
                assert member.read(4) == bytes(4)
            assert offset > info.header_offset
    packed.seek(packed.offsets[2])
    assert packed.read(24) == bytes(20) + b"PK\x01\x02"


def test_more_instances_than_the_old_format_can_count_are_all_there() -> None:
    entries = [Entry(f"1.{number}.dcm", 1, zlib.crc32(b"\0")) for number in range(70_000)]
    packed = SeriesZip(entries, [Zeros(1) for _ in entries])
    with zipfile.ZipFile(packed) as archive:
        assert len(archive.namelist()) == 70_000
        assert archive.read("1.69999.dcm") == b"\0"


@pytest.mark.parametrize(
    "command",
    [["unzip", "-t"], ["7z", "t"], ["bsdtar", "-tf"], ["zipinfo", "-t"]],
    ids=lambda command: command[0],
)
def test_programs_that_people_have_open_it(command: list[str], tmp_path: Path) -> None:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    file = tmp_path / "series.zip"
    file.write_bytes(pack({"1.2.dcm": b"one" * 1000, "1.3.dcm": b"two"}).read())
    done = subprocess.run([*command, file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is not installed")
def test_unzip_lists_more_than_4_gib(tmp_path: Path) -> None:
    sizes = [4 * GIB + 7, 11]
    entries = [
        Entry(f"1.{place}.dcm", size, zlib.crc32(bytes(11))) for place, size in enumerate(sizes)
    ]
    packed = SeriesZip(entries, [Zeros(size) for size in sizes])
    file, end = tmp_path / "series.zip", 0
    with file.open("wb") as sparse:  # what is zero is not written
        for offset, size in zip([*packed.offsets, packed.size], [*sizes, 0], strict=True):
            packed.seek(end)
            sparse.seek(end)
            sparse.write(packed.read(offset - end))
            end = offset + size
    done = subprocess.run(["unzip", "-l", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert str(sizes[0]) in done.stdout
    done = subprocess.run(["unzip", "-p", file, "1.1.dcm"], capture_output=True, timeout=60)
    assert done.stdout == bytes(11)
