"""Whatever a folder holds, reading its headers ends in a header or in a reason."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from include.peers.dicom_header import NotIndexableError, read_header
from include.peers.load_report import files_in
from include.peers.part10_copy import copy_as_part10
from include.sample_archive import ArchiveIndex


def planted_file(archive: Path, code: str) -> Path:
    index = ArchiveIndex.read(archive)
    return archive / next(planted.file for planted in index.planted if planted.code == code)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"Dear colleague,", "not a DICOM file"),
        (bytes(128) + b"DICM", "has no SOPClassUID"),
        (b"\x08\x00" + b"\xff" * 400, "."),
        (bytes(128) + b"DICM" + b"\xff" * 400, "."),
    ],
)
def test_what_is_no_instance_has_a_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotIndexableError, match=reason):
        read_header(path)


def test_a_bare_dataset_is_wrapped_without_touching_it(archive: Path, tmp_path: Path) -> None:
    bare = planted_file(archive, "no_file_meta")
    header = read_header(bare)
    assert not header.is_complete
    assert header.transfer_syntax == ExplicitVRLittleEndian
    copy_as_part10(bare, header, tmp_path / "copy.dcm")
    wrapped = (tmp_path / "copy.dcm").read_bytes()
    assert wrapped[128:132] == b"DICM"
    assert wrapped.endswith(bare.read_bytes())
    assert dcmread(tmp_path / "copy.dcm").SOPInstanceUID == header.values["SOPInstanceUID"]


def test_a_deflated_header_is_read(archive: Path) -> None:
    header = read_header(planted_file(archive, "deflated"))
    assert header.transfer_syntax == DeflatedExplicitVRLittleEndian
    assert header.values["Modality"] == "CR"


def test_a_deflate_bomb_is_not_inflated(archive: Path, tmp_path: Path) -> None:
    deflated = planted_file(archive, "deflated")
    header = read_header(deflated)
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    # A private element of 64 MB of zeros, before anything that identifies the instance.
    element = b"\x09\x00\x01\x10OB\x00\x00" + (1 << 26).to_bytes(4, "little")
    bomb = deflate.compress(element) + b"".join(deflate.compress(bytes(1 << 20)) for _ in range(64))
    path = tmp_path / "bomb.dcm"
    path.write_bytes(deflated.read_bytes()[: header.dataset_offset] + bomb + deflate.flush())
    with pytest.raises(NotIndexableError):
        read_header(path)


def test_wrongly_encoded_names_are_read_as_they_can_be(archive: Path) -> None:
    assert read_header(planted_file(archive, "charset_utf8_undeclared")).values["PatientName"]
    right = next(
        header
        for header in map(read_header, files_in(archive))
        if "山田" in str(header.values["PatientName"])
    )
    assert right.values["PatientName"] == "Yamada^Tarou=山田^太郎=やまだ^たろう"
