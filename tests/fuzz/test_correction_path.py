"""Damaged headers of real files through reading and correcting: a clear refusal, or a result.

Never another exception, never an element changed that was not named, never more than a second.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from io import BytesIO

from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_migration.errors import PermanentError
from dicom_migration.transfer.correcting import Correction, correct_header
from dicom_migration.transfer.header_reading import read_closely, read_quickly
from tests.archives import WHEEL, HeldInstance, held_from
from tests.correction import parts_of
from tests.unit.transfer.test_correcting_properties import cut

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
DESCRIPTION, CHARSET, RECORD = 0x00081030, 0x00080005, 0x04000561
TO_UTF8 = Correction(
    "u", "SpecificCharacterSet", "ISO_IR 192", "", "utf-8", WHEN, text_charset="ISO_IR 100"
)
NEW = Correction("c", "StudyDescription", "NEW", "", "new", WHEN)
SECONDS = 1.0
#: What hostile writers put where a length, a tag or a VR is expected.
POISON = st.sampled_from(
    [
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\0\0\0\0",
        b"SQ\0\0\xff\xff\xff\xff",
        b"UN\0\0\xff\xff\xff\xff",
        b"UT\0\0\xff\xff\xff\x7f",
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"\xfe\xff\xdd\xe0\0\0\0\0",
        b"\x08\x00\x05\x00CS\x04\0\\\\\\\\",
        b"\x1b$B\x1b(J",
        b"??",
    ]
)


@cache
def seeds() -> tuple[tuple[bytes, str], ...]:
    found = []
    for path in sorted(WHEEL.glob("*.dcm")):
        try:
            held: HeldInstance = held_from(path.read_bytes())
            header, _, syntax = parts_of(held)
        except Exception:  # noqa: BLE001, S112 - the collection has files broken in every way
            continue
        if len(header) < 20_000:
            found.append((header, syntax))
    assert len(found) > 40
    return tuple(found)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, str]:
    header, syntax = draw(st.sampled_from(seeds()))
    made = bytearray(header)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(made)))
        what = draw(st.sampled_from(["flip", "poison", "insert", "cut", "repeat"]))
        if what == "flip" and place < len(made):
            made[place] = draw(st.integers(0, 255))
        elif what in ("poison", "insert"):
            poison = draw(POISON)
            made[place : place + (len(poison) if what == "poison" else 0)] = poison
        elif what == "cut":
            del made[place : place + draw(st.integers(1, 40))]
        else:
            made[place:place] = made[place : place + 60] * draw(st.integers(1, 20))
    return bytes(made), syntax


@settings(deadline=None)
@given(damaged())
def test_a_damaged_header_is_read_or_refused(case: tuple[bytes, str]) -> None:
    header, syntax = case
    begun = time.process_time()
    try:
        if read_quickly(header, 0, syntax) is None:
            read_closely(BytesIO(header), 0, syntax, "1.2.3")
    except PermanentError:
        pass
    assert time.process_time() - begun < SECONDS


@settings(deadline=None)
@given(damaged(), st.sampled_from([(NEW,), (TO_UTF8,), (TO_UTF8, NEW)]))
def test_a_damaged_header_is_corrected_in_what_is_named_or_refused(
    case: tuple[bytes, str], corrections: tuple[Correction, ...]
) -> None:
    header, syntax = case
    begun = time.process_time()
    try:
        made = correct_header(header, syntax, "ISO_IR 100", corrections, "PACS").header
    except PermanentError:
        return
    finally:
        assert time.process_time() - begun < SECONDS
    before, after = cut(header, syntax), cut(made, syntax)
    if corrections == (NEW,):
        lengths = {0x00080000, 0x04000000}
        named = {DESCRIPTION, RECORD} | lengths
        assert {t: p for t, p in after.items() if t not in named} == {
            t: p for t, p in before.items() if t not in named
        }
    assert RECORD in after


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]))
def test_noise_is_corrected_or_refused(noise: bytes, syntax: str) -> None:
    for corrections in ((NEW,), (TO_UTF8,)):
        try:
            correct_header(noise, syntax, "", corrections)
        except PermanentError:
            continue
