"""Whatever a header holds: a correction changes the named attributes and their record alone."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from io import BytesIO

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dicom_migration.archive.elements import iter_elements
from dicom_migration.datasets import read_header
from dicom_migration.transfer.correcting import Correction, correct_header
from dicom_migration.transfer.splicing import actual_encoding

SYNTAXES = {
    "1.2.840.10008.1.2": ("<", False),
    "1.2.840.10008.1.2.1": ("<", True),
    "1.2.840.10008.1.2.2": (">", True),
}
DESCRIPTION, RECORD = 0x00081030, 0x04000561
NEW = Correction("c", "StudyDescription", "NEW", "", "test-rule", datetime(2026, 1, 2, tzinfo=UTC))
#: Of our groups and others, private ones too; an odd group is private (PS3.5 section 7.8).
TAGS = st.builds(
    lambda group, number: group << 16 | number,
    st.sampled_from([0x0008, 0x0009, 0x0010, 0x0011, 0x0400, 0x0401, 0x5400, 0x7001]),
    st.integers(0x0001, 0xFFFF),
).filter(lambda tag: tag not in (DESCRIPTION, RECORD, 0x00080005))
SHORT, LONG = [b"LO", b"DA", b"US", b"PN", b"AT"], [b"OB", b"UN", b"UT", b"OW", b"QQ"]


@st.composite
def headers(draw: st.DrawFn) -> tuple[str, dict[int, bytes]]:
    """A header's elements as written, by tag: odd lengths, empty, nested, private, unknown VRs."""
    syntax = draw(st.sampled_from(sorted(SYNTAXES)))
    order, explicit = SYNTAXES[syntax]
    elements = {0x00080016: element(order, explicit, 0x00080016, b"UI", b"1.2\0")}
    for tag in draw(st.lists(TAGS, max_size=12, unique=True)):
        kind = draw(st.sampled_from(["short", "long", "sequence", "group"]))
        value = draw(st.binary(max_size=40))
        if kind == "sequence":
            elements[tag] = sequence(order, explicit, tag, value, draw(st.booleans()))
        elif kind == "group":
            length = tag & 0xFFFF0000
            elements[length] = element(order, explicit, length, b"UL", bytes(4))
        else:
            vr = draw(st.sampled_from(SHORT if kind == "short" else LONG))
            elements[tag] = element(order, explicit, tag, vr, value)
    if draw(st.booleans()):
        old = draw(st.binary(max_size=9))
        elements[DESCRIPTION] = element(order, explicit, DESCRIPTION, b"LO", old)
    return syntax, dict(sorted(elements.items()))


def element(order: str, explicit: bool, tag: int, vr: bytes, value: bytes) -> bytes:
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack(order + "I", len(value)) + value
    if vr in SHORT or vr in (b"UI", b"UL"):
        return head + vr + struct.pack(order + "H", len(value)) + value
    return head + vr + b"\0\0" + struct.pack(order + "I", len(value)) + value


def sequence(order: str, explicit: bool, tag: int, value: bytes, undefined: bool) -> bytes:
    inside = element(order, explicit, 0x00080100, b"LO", value)
    length = 0xFFFFFFFF if undefined else len(inside)
    item = struct.pack(order + "HHI", 0xFFFE, 0xE000, length) + inside
    if not undefined:
        return element(order, explicit, tag, b"SQ", item)
    item += struct.pack(order + "HHI", 0xFFFE, 0xE00D, 0)
    item += struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0)
    head = element(order, explicit, tag, b"SQ", b"")[:-4]
    return head + struct.pack(order + "I", 0xFFFFFFFF) + item


def cut(header: bytes, syntax: str) -> dict[int, bytes]:
    pieces, position = {}, 0
    for found in iter_elements(header, actual_encoding(header, syntax)):
        pieces[found.tag] = header[position : found.offset + found.length]
        position = found.offset + found.length
    return pieces


@settings(max_examples=300, deadline=None)
@given(headers())
def test_every_other_element_is_the_same_to_the_byte(
    made: tuple[str, dict[int, bytes]],
) -> None:
    syntax, elements = made
    corrected = correct_header(b"".join(elements.values()), syntax, "", [NEW]).header
    after = cut(corrected, syntax)
    lengths = {0x00080000, 0x04000000}
    assert {t: p for t, p in after.items() if t not in {DESCRIPTION, RECORD} | lengths} == {
        t: p for t, p in elements.items() if t not in {DESCRIPTION} | lengths
    }
    assert list(after) == sorted(after)
    assert after[DESCRIPTION].endswith(b"NEW ")
    order = SYNTAXES[syntax][0]
    for tag in lengths & elements.keys():
        following = sum(len(p) for t, p in after.items() if t >> 16 == tag >> 16 and t != tag)
        assert struct.unpack(order + "I", after[tag][-4:]) == (following,)


@settings(max_examples=100, deadline=None)
@given(headers())
def test_what_was_there_is_in_the_record_to_the_byte(made: tuple[str, dict[int, bytes]]) -> None:
    syntax, elements = made
    header = b"".join(elements.values())
    corrected = correct_header(header, syntax, "", [NEW], source="PACS\\1é").header
    record = cut(corrected, syntax)[RECORD]
    read = read_header(BytesIO(header), syntax)  # the referee knows no VR but the standard's
    assume({int(tag) for tag in list(read.keys())} == set(elements))
    old = elements.get(DESCRIPTION)
    value = b"" if old is None else old[8:]
    assert value in record  # as its element, or as the value that the element must not have
    item = read_header(BytesIO(corrected), syntax).OriginalAttributesSequence[0]
    assert item.ReasonForTheAttributeModification == "CORRECT"
    assert item.SourceOfPreviousValues == "PACS/1?"
    assert item.ModifyingSystem
    assert item.AttributeModificationDateTime.startswith("20260102")
    assert "StudyDescription" in item.ModifiedAttributesSequence[0]
