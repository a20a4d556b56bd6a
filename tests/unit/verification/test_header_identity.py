"""The identity read from first bytes is pydicom's, or none at all."""

from __future__ import annotations

import io
import itertools
import random
import struct
import tracemalloc

import pytest

from dicom_migration.verification.header_identity import Layouts, identity_of
from dicom_migration.verification.part10 import (
    PREFIX_BYTES,
    StoredInstance,
    dataset_start,
    read_stored_instance,
)
from dicom_migration.verification.streamed_instance import read_streamed_instance
from tests.integration.verification.written_wave import part10, real_instances

OBJECTS = [part10(instance) for instance in real_instances()]
SPOOL = 1 << 25


def start_of(data):
    start = dataset_start(data[:PREFIX_BYTES])
    assert start
    return start


def said(stored: StoredInstance):
    return (
        stored.transfer_syntax_uid,
        stored.study_instance_uid,
        stored.series_instance_uid,
        stored.sop_instance_uid,
    )


def through(memory, data):
    """Give `data` piece by piece in the same memory, as the store does."""
    view = memoryview(memory)
    for at in range(0, len(data), len(memory)):
        piece = data[at : at + len(memory)]
        view[: len(piece)] = piece
        yield view[: len(piece)]
        view[:] = bytes(len(memory))


def element(tag, vr, value):
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def with_dataset(dataset):
    meta = element(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0")
    length = element(0x00020000, b"UL", struct.pack("<I", len(meta)))
    return bytes(128) + b"DICM" + length + meta + dataset


INSTANCE = element(0x00080018, b"UI", b"1.2.3.44")
STUDY_AND_SERIES = element(0x0020000D, b"UI", b"1.2.") + element(0x0020000E, b"UI", b"1.2.3\0")


def test_real_headers_say_what_pydicom_reads_in_them():
    plain = 0
    for data in OBJECTS:
        identity = identity_of(data, start_of(data))
        if identity is not None:
            plain += 1
            assert tuple(identity) == said(read_stored_instance([data], SPOOL))
    assert plain > 0.8 * len(OBJECTS)


def test_an_object_that_passes_gives_the_hashes_and_identity_of_one_that_is_held():
    for data in OBJECTS:
        held = read_stored_instance([data], SPOOL)
        for size in (37, 70_000, len(data)):
            pieces = through(bytearray(size), data)
            passed = read_streamed_instance(pieces, SPOOL, whole=True, dataset=True)
            assert said(passed) == said(held)
            assert (passed.object_sha256, passed.dataset_sha256, passed.problem) == (
                held.object_sha256,
                held.dataset_sha256,
                held.problem,
            )


def test_a_sequence_of_undefined_length_hides_no_identity_and_lends_none():
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + element(0x0020000D, b"UI", b"9.9.9.9\0")
    ends = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1200, b"SQ", 0, 0xFFFFFFFF) + item + ends
    data = with_dataset(INSTANCE + sequence + STUDY_AND_SERIES)
    identity = identity_of(data, start_of(data))
    assert identity is not None
    assert identity[1:] == ("1.2.", "1.2.3", "1.2.3.44")


def test_a_header_met_before_says_the_same_as_one_that_is_walked_for_the_first_time():
    """Headers of like and unlike layout in any order, whole, cut, and with one byte changed."""
    noise = random.Random(11)
    heads = [bytes(data[:6000]) for data in OBJECTS]
    for head in heads[:]:
        start = start_of(head)
        for _ in range(8):
            changed = bytearray(head)
            changed[noise.randrange(start, min(len(head), start + 1500))] = noise.randrange(256)
            heads += [head, bytes(changed), bytes(changed[: noise.randrange(start, len(head))])]
    noise.shuffle(heads)
    memory = Layouts()
    met = 0
    for head in heads:
        start, before = start_of(head), memory._known
        assert memory.identity_of(head, start) == Layouts().identity_of(head, start)
        met += memory._known is before
    assert met > len(heads) // 4


def test_an_instance_of_the_same_layout_lends_its_identity_to_no_other():
    memory = Layouts()
    one = with_dataset(INSTANCE + STUDY_AND_SERIES)
    other = one.replace(b"1.2.3.44", b"1.2.3.45")
    empty = one.replace(b"1.2.3.44", bytes(8))
    no_ascii = one.replace(b"1.2.3.44", b"1.2.3.\xff4")
    walked = memory.identity_of(one, start_of(one))
    layouts = memory._known
    met = memory.identity_of(other, start_of(other))
    assert walked is not None
    assert met == walked._replace(sop_instance_uid="1.2.3.45")
    assert memory.identity_of(empty, start_of(empty)) is None
    assert memory.identity_of(no_ascii, start_of(no_ascii)) is None
    assert memory._known is layouts


@pytest.mark.parametrize(
    "dataset",
    [
        STUDY_AND_SERIES + INSTANCE,  # out of order
        INSTANCE + element(0x00200010, b"SH", b"ID"),  # no study
        INSTANCE + STUDY_AND_SERIES[:-3],  # cut off
        INSTANCE.replace(b"UI", b"ui") + STUDY_AND_SERIES,  # no value representation
    ],
)
def test_what_is_not_plain_is_left_to_pydicom(dataset):
    data = with_dataset(dataset)
    assert identity_of(data, start_of(data)) is None


def test_damaged_headers_neither_fail_nor_hang():
    noise = random.Random(7)
    for data in OBJECTS:
        for _ in range(20):
            broken = bytearray(data[:4096])
            for _ in range(5):
                broken[noise.randrange(PREFIX_BYTES, len(broken))] = noise.randrange(256)
            identity_of(bytes(broken), start_of(data))
            read_streamed_instance([bytes(broken)], SPOOL, whole=True, dataset=False)


def test_a_group_length_that_promises_gigabytes_keeps_none_of_them():
    head = bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", 1 << 31))
    piece = bytes(1 << 20)
    tracemalloc.start()
    try:
        stored = read_streamed_instance(
            itertools.chain([head], itertools.repeat(piece, 64)), 1 << 21, whole=True, dataset=True
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored.problem == "it ends inside its file meta information"
    assert peak < 8 << 20


def test_a_file_that_is_no_dicom_is_called_so():
    stored = read_streamed_instance([b"hello", b"world"], SPOOL, whole=True, dataset=True)
    assert "no DICM prefix" in stored.problem
    assert stored == read_stored_instance(io.BytesIO(b"helloworld"), SPOOL)
