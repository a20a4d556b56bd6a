"""Files taken apart while they arrive, whatever they are like and however they are cut."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dicom_migration.archive import InstanceIdentity
from dicom_migration.archive.part10 import HEAD_LIMIT, Part10Splitter
from dicom_migration.errors import PermanentError, ReasonCode

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
WITH_META = ["CT_small", "MR_small_implicit", "MR_small_bigendian", "image_dfl", "JPEG2000"]
WITHOUT = ["no_meta_group_length", "ExplVR_BigEndNoMeta", "ExplVR_LitEndNoMeta", "rtstruct"]


def content_of(name: str) -> bytes:
    return Path(str(get_testdata_file(f"{name}.dcm", download=False))).read_bytes()


def split(content: bytes, sizes: list[int]) -> tuple[InstanceIdentity | None, bytes]:
    """Feed `content` in pieces of the sizes given, over and over."""
    splitter = Part10Splitter()
    dataset = bytearray()
    position = turn = 0
    while position < len(content):
        size = sizes[turn % len(sizes)]
        dataset += splitter.feed(memoryview(content)[position : position + size])
        position, turn = position + size, turn + 1
    dataset += splitter.finish()
    return splitter.identity, bytes(dataset)


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


IDENTITY = element(8, 0x16, b"UI", b"1.2.3") + element(8, 0x18, b"UI", b"1.2.3.4")


@pytest.mark.parametrize(
    ("name", "syntax", "first_bytes"),
    [
        ("CT_small", EXPLICIT, b"\x08\x00"),
        ("MR_small_implicit", IMPLICIT, b"\x08\x00"),
        ("MR_small_bigendian", BIG, b"\x00\x08"),
        ("image_dfl", "1.2.840.10008.1.2.1.99", None),
        ("no_meta_group_length", IMPLICIT, b"\x08\x00"),
        ("ExplVR_BigEndNoMeta", BIG, b"\x00\x08"),
        ("ExplVR_LitEndNoMeta", EXPLICIT, b"\x08\x00"),
        ("rtstruct", IMPLICIT, b"\x08\x00"),
    ],
)
def test_it_understands_files_with_and_without_meta_information(
    name: str, syntax: str, first_bytes: bytes | None
) -> None:
    content = content_of(name)
    identity, dataset = split(content, [65536])
    assert identity is not None
    assert identity.transfer_syntax_uid == syntax
    assert content.endswith(dataset)
    assert first_bytes in (None, dataset[:2])


@settings(deadline=None)
@given(
    name=st.sampled_from(WITH_META + WITHOUT),
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=6),
)
def test_how_a_file_is_cut_changes_nothing(name: str, sizes: list[int]) -> None:
    content = content_of(name)
    assert split(content, sizes) == split(content, [len(content)])


def test_the_dataset_knows_better_than_the_meta_information() -> None:
    meta = element(2, 2, b"UI", b"1.9") + element(2, 3, b"UI", b"1.9.9")
    meta += element(2, 0x10, b"UI", EXPLICIT.encode())
    identity, dataset = split(bytes(128) + b"DICM" + meta + IDENTITY, [50])
    assert identity == InstanceIdentity("1.2.3", "1.2.3.4", EXPLICIT)
    assert dataset == IDENTITY


def test_the_meta_information_speaks_where_the_dataset_is_silent() -> None:
    meta = element(2, 2, b"UI", b"1.9") + element(2, 3, b"UI", b"1.9.9")
    meta += element(2, 0x10, b"UI", EXPLICIT.encode())
    patient = element(0x10, 0x10, b"PN", b"DOE^JANE")
    identity, _ = split(bytes(128) + b"DICM" + meta + patient, [1000])
    assert identity == InstanceIdentity("1.9", "1.9.9", EXPLICIT)


def test_a_missing_transfer_syntax_is_what_the_dataset_looks_like() -> None:
    identity, dataset = split(bytes(128) + b"DICM" + element(2, 2, b"UI", b"1.9") + IDENTITY, [9])
    assert identity == InstanceIdentity("1.2.3", "1.2.3.4", EXPLICIT)
    assert dataset == IDENTITY


def test_a_wrong_group_length_is_not_believed() -> None:
    syntax = element(2, 0x10, b"UI", EXPLICIT.encode())
    for length in (0, 7, len(syntax) - 1, 500):
        wrong = struct.pack("<HH2sHI", 2, 0, b"UL", 4, length)
        identity, dataset = split(bytes(128) + b"DICM" + wrong + syntax + IDENTITY, [64])
        assert identity is not None
        assert identity.transfer_syntax_uid == EXPLICIT
        assert dataset == IDENTITY


def test_a_file_that_is_none_is_unreadable_and_not_quoted() -> None:
    splitter = Part10Splitter()
    splitter.feed(b"Patient: Jane Doe, " * 100)
    with pytest.raises(PermanentError) as caught:
        splitter.finish()
    assert caught.value.reason is ReasonCode.HEADER_UNREADABLE
    assert "Jane" not in str(caught.value)


def test_the_head_is_bounded() -> None:
    splitter = Part10Splitter()
    endless = struct.pack("<HH2sHI", 2, 1, b"OB", 0, 0xFFFFFF00)
    splitter.feed(bytes(128) + b"DICM" + endless)
    splitter.feed(bytes(HEAD_LIMIT - 1000))
    with pytest.raises(PermanentError, match="could not be identified"):
        splitter.feed(bytes(1000))


@given(data=st.binary(max_size=600), size=st.integers(1, 200), prefixed=st.booleans())
def test_garbage_is_identified_or_refused(data: bytes, size: int, prefixed: bool) -> None:
    content = bytes(128) + b"DICM" + data if prefixed else data
    try:
        identity, dataset = split(content, [size])
    except PermanentError:
        return
    assert identity is not None
    assert content.endswith(dataset)
