"""Headers change their encoding; what the elements hold does not."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_migration.transfer.reencoding import (
    HeaderNotConvertibleError,
    explicit_little_endian,
    turned,
)

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
UNDEFINED = 0xFFFFFFFF


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, size) + value


def short(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def long(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, size) + value


ITEM_END = implicit(0xFFFEE00D, b"")
SEQUENCE_END = implicit(0xFFFEE0DD, b"")


def converted(header: bytes, *, signed: bool = False) -> bytes:
    return explicit_little_endian(header, IMPLICIT, signed=signed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            implicit(0x00100010, b"A^B "), short(0x00100010, b"PN", b"A^B "), id="dictionary"
        ),
        pytest.param(
            implicit(0x00080005, b"odd"), short(0x00080005, b"CS", b"odd"), id="odd-length"
        ),
        pytest.param(
            implicit(0x00090010, b"US"), short(0x00090010, b"LO", b"US"), id="private-creator"
        ),
        pytest.param(
            implicit(0x00091001, b"\1\2\3\4"), long(0x00091001, b"UN", b"\1\2\3\4"), id="private"
        ),
        pytest.param(
            implicit(0x00089999, b"12"), long(0x00089999, b"UN", b"12"), id="not-in-the-dictionary"
        ),
        pytest.param(
            implicit(0x00321060, b"x" * 0x10000),
            long(0x00321060, b"UN", b"x" * 0x10000),
            id="too-long-for-its-vr",
        ),
        pytest.param(
            implicit(0x60023000, b"\1\2"), long(0x60023000, b"OW", b"\1\2"), id="overlay-data"
        ),
    ],
)
def test_a_value_is_copied_and_gets_the_vr_of_the_dictionary(before: bytes, after: bytes) -> None:
    assert converted(before) == after


def test_sequences_keep_the_form_of_their_lengths() -> None:
    code, meaning = implicit(0x00080100, b"AB"), implicit(0x00080104, b"text")
    open_item = implicit(0xFFFEE000, code, UNDEFINED) + ITEM_END
    closed_item = implicit(0xFFFEE000, meaning)
    before = implicit(0x00081032, open_item + closed_item + SEQUENCE_END, UNDEFINED)
    before += implicit(0x00082218, closed_item)
    item = implicit(0xFFFEE000, short(0x00080104, b"LO", b"text"))
    first = implicit(0xFFFEE000, short(0x00080100, b"SH", b"AB"), UNDEFINED) + ITEM_END
    after = long(0x00081032, b"SQ", first + item + SEQUENCE_END, UNDEFINED)
    after += long(0x00082218, b"SQ", item)
    assert converted(before) == after


def test_a_private_sequence_of_undefined_length_stays_implicit_within_un() -> None:
    inside = implicit(0xFFFEE000, implicit(0x00100010, b"A^B "), UNDEFINED) + ITEM_END
    before = implicit(0x00091002, inside + SEQUENCE_END, UNDEFINED)
    assert converted(before) == long(0x00091002, b"UN", inside + SEQUENCE_END, UNDEFINED)


def test_the_sign_of_the_pixels_decides_between_us_and_ss_also_in_an_icon() -> None:
    smallest = implicit(0x00280106, b"\xff\xff")
    assert converted(smallest, signed=True) == short(0x00280106, b"SS", b"\xff\xff")
    icon = implicit(0xFFFEE000, implicit(0x00280103, b"\0\0") + smallest)
    result = converted(implicit(0x00880200, icon), signed=True)
    assert result.endswith(short(0x00280106, b"US", b"\xff\xff"))


def test_group_lengths_are_set_right() -> None:
    before = implicit(0x00080000, b"\x0c\0\0\0") + implicit(0x00080016, b"1.2\0")
    before += implicit(0x00090000, b"\x0a\0\0\0") + implicit(0x00091001, b"12")
    after = short(0x00080000, b"UL", b"\x0c\0\0\0") + short(0x00080016, b"UI", b"1.2\0")
    after += short(0x00090000, b"UL", b"\x0e\0\0\0") + long(0x00091001, b"UN", b"12")
    assert converted(before) == after


def test_explicit_little_endian_stays_byte_for_byte() -> None:
    header = short(0x00080000, b"UL", b"\1\1\1\1") + short(0x00080016, b"UI", b"1.2\0")
    assert explicit_little_endian(header, EXPLICIT, signed=False) == header


def test_big_endian_words_are_turned_and_text_is_not() -> None:
    def big(tag: int, vr: bytes, value: bytes) -> bytes:
        return struct.pack(">HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value

    before = big(0x00100010, b"PN", b"A^B ") + big(0x00280010, b"US", b"\1\2")
    before += big(0x00280009, b"AT", b"\0\x18\x10\x63") + big(0x00189087, b"FD", bytes(range(8)))
    after = short(0x00100010, b"PN", b"A^B ") + short(0x00280010, b"US", b"\2\1")
    after += short(0x00280009, b"AT", b"\x18\0\x63\x10")
    after += short(0x00189087, b"FD", bytes(range(7, -1, -1)))
    assert explicit_little_endian(before, BIG, signed=False) == after


@pytest.mark.parametrize(
    ("header", "syntax"),
    [
        pytest.param(implicit(0x00081032, b"no items"), IMPLICIT, id="sequence-without-items"),
        pytest.param(implicit(0x00081032, b"", UNDEFINED), IMPLICIT, id="sequence-without-end"),
        pytest.param(implicit(0x00100010, b"A^B ", 400), IMPLICIT, id="value-past-the-end"),
        pytest.param(implicit(0x00100010, b"A^B ") + b"\0\0", IMPLICIT, id="bytes-left-over"),
        pytest.param(short(0x00100010, b"PN", b"A^B "), IMPLICIT, id="explicit-said-implicit"),
        pytest.param(implicit(0x00100010, b"A^B "), EXPLICIT, id="implicit-said-explicit"),
        pytest.param(b"\0\x09\x10\1UN\0\0\0\0\0\2\1\2", BIG, id="big-endian-words-of-unknown-size"),
    ],
)
def test_what_cannot_be_proven_is_refused(header: bytes, syntax: str) -> None:
    with pytest.raises(HeaderNotConvertibleError):
        explicit_little_endian(header, syntax, signed=False)


@given(st.binary(max_size=200))
def test_any_bytes_are_converted_or_refused(data: bytes) -> None:
    for syntax in (IMPLICIT, BIG):
        try:
            explicit_little_endian(data, syntax, signed=False)
        except HeaderNotConvertibleError:
            continue


@given(st.binary(max_size=64).filter(lambda value: len(value) % 8 == 0), st.sampled_from([2, 4, 8]))
def test_turning_words_twice_changes_nothing(value: bytes, word: int) -> None:
    assert turned(turned(value, word), word) == value
