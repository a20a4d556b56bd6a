"""The quick reading of a header is the close one, or it says nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.errors import InvalidDicomError

from dicom_migration.datasets import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, inflate
from dicom_migration.errors import MigrationError
from dicom_migration.transfer.header_reading import HeaderReading, read_closely, read_quickly
from tests.archives import held_from, real_file, real_files


def dataset_of(path: Path) -> tuple[bytes, str]:
    try:
        held = held_from(path.read_bytes())
    except (InvalidDicomError, AttributeError, EOFError) as error:
        pytest.skip(f"no Part 10 file with all its UIDs: {type(error).__name__}")
    data = held.dataset
    if held.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        data = inflate(data)
    return data, held.transfer_syntax_uid


def closely(data: bytes, syntax: str) -> HeaderReading | None:
    try:
        return read_closely(io.BytesIO(data), 0, syntax, "1.2")
    except MigrationError:
        return None


@pytest.mark.parametrize("path", real_files(), ids=lambda path: path.name)
def test_both_readings_of_a_real_file_agree(path: Path) -> None:
    data, syntax = dataset_of(path)
    quick = read_quickly(data, 0, syntax)
    assert quick is None or quick == closely(data, syntax)


def test_most_real_files_are_read_quickly() -> None:
    quick = close = 0
    for path in real_files():
        try:
            held = held_from(path.read_bytes())
        except (InvalidDicomError, AttributeError, EOFError):
            continue
        if read_quickly(held.dataset, 0, held.transfer_syntax_uid) is not None:
            quick += 1
        else:
            close += 1
    assert quick > 4 * close


CT, CT_SYNTAX = dataset_of(next(p for p in real_files() if p.name == "CT_small.dcm"))
MR = held_from(real_file("MR_small_implicit.dcm"))
HEADER_BYTES = 3000


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, HEADER_BYTES), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_whatever_bytes_change_a_quick_reading_is_the_close_one(
    explicit: bool, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(CT if explicit else MR.dataset)
    syntax = CT_SYNTAX if explicit else MR.transfer_syntax_uid
    for position, value in changes:
        data[position] = value
    quick = read_quickly(bytes(data), 0, syntax)
    assert quick is None or quick == closely(bytes(data), syntax)


@given(st.integers(0, HEADER_BYTES))
def test_a_header_cut_short_is_never_read_quickly(length: int) -> None:
    """Unless the cut is between two elements, where nothing shows it."""
    quick = read_quickly(CT[:length], 0, CT_SYNTAX)
    assert quick is None or quick.end == length


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (b"ISO_IR 100", "Müller^Jörg".encode("latin-1")),
        (b"ISO_IR 192", "Müller^山田".encode()),
        (b"ISO_IR 100", "Müller".encode()),
        (b"", "Müller".encode("latin-1")),
        (b"ISO 2022 IR 6\\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(B"),
    ],
)
def test_text_of_any_character_set_is_read_alike(charset: bytes, name: bytes) -> None:
    def element(tag: bytes, vr: bytes, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        return tag + vr + len(value).to_bytes(2, "little") + value

    data = (
        element(b"\x08\0\x05\0", b"CS", charset)
        + element(b"\x08\0\x80\0", b"LO", name)
        + element(b"\x10\0\x10\0", b"PN", name)
        + element(b"\x20\0\x0d\0", b"UI", b"1.2.3")
    )
    quick = read_quickly(data, 0, "1.2.840.10008.1.2.1")
    assert quick is not None
    assert quick == closely(data, "1.2.840.10008.1.2.1")
