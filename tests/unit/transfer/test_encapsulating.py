"""Frames find their way into one Pixel Data value, and a reader finds each again."""

from __future__ import annotations

import io
import struct

import pytest
from pydicom.encaps import generate_frames, parse_basic_offsets

from dicom_migration.transfer.encapsulating import SEQUENCE_DELIMITER, fragment, offset_tables

FRAMES = [b"\xff\xd8odd\xff\xd9", b"\xff\xd8even\xff\xd9", b"\xff\xd8\xff\xd9"]


def test_each_frame_is_one_fragment_that_the_basic_table_points_to() -> None:
    elements, table = offset_tables([len(frame) for frame in FRAMES])
    value = table + b"".join(fragment(frame) for frame in FRAMES) + SEQUENCE_DELIMITER
    assert elements == b""
    offsets = parse_basic_offsets(io.BytesIO(value))
    assert [value[len(table) + at : len(table) + at + 4] for at in offsets] == [
        b"\xfe\xff\x00\xe0"
    ] * 3
    read = list(generate_frames(value, number_of_frames=3))
    assert [frame.rstrip(b"\0") for frame in read] == FRAMES


def test_offsets_past_32_bits_go_into_the_extended_table_with_true_lengths() -> None:
    lengths = [len(frame) for frame in FRAMES]
    elements, table = offset_tables(lengths, limit=17)
    assert table == struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    head = struct.pack("<HH2sHI", 0x7FE0, 1, b"OV", 0, 24)
    offsets = struct.unpack("<3Q", elements[len(head) : len(head) + 24])
    packed = b"".join(fragment(frame) for frame in FRAMES)
    tables = (struct.pack("<3Q", *offsets), struct.pack("<3Q", *lengths))
    read = generate_frames(table + packed, number_of_frames=3, extended_offsets=tables)
    assert [frame.rstrip(b"\0") for frame in read] == FRAMES
    assert elements.startswith(head)


@pytest.mark.parametrize("frame", FRAMES)
def test_fragments_are_of_even_length(frame: bytes) -> None:
    assert len(fragment(frame)) % 2 == 0
