"""Bad instances on their way through the transfer: a clear refusal or a result, within bounds."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from dicom_migration.archive import InstanceIdentity
from dicom_migration.datasets import deflate
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.transfer.correcting import Correction
from dicom_migration.transfer.instance_pass import Examined, PassSettings, examine
from dicom_migration.transfer.part10 import part10_header
from dicom_migration.transfer.signatures import SIGNATURE_BROKEN
from dicom_migration.transfer.spool import MemoryBudget, Spool

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
STUDY, SERIES, INSTANCE = "1.2.3", "1.2.3.4", "1.2.3.4.5"
WHEN = datetime(2026, 1, 2, tzinfo=UTC)
SECONDS, MEMORY_BYTES = 5.0, 64 * 2**20


def short(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2) if vr != b"UI" else b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def long(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    told = len(value) if length is None else length
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, told) + value


def item(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value) if length is None else length) + value


def dataset(*inside: bytes, sex: bytes = b"W", charset: bytes = b"") -> bytes:
    return b"".join(
        (
            short(0x00080005, b"CS", charset) if charset else b"",
            short(0x00080018, b"UI", INSTANCE.encode()),
            short(0x00100040, b"CS", sex),
            short(0x0020000D, b"UI", STUDY.encode()),
            short(0x0020000E, b"UI", SERIES.encode()),
            *inside,
        )
    )


def nested(depth: int, *, undefined: bool) -> bytes:
    if undefined:
        head = long(0x00400275, b"SQ", b"", 0xFFFFFFFF) + item(b"", 0xFFFFFFFF)
        ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        return head * depth + ends * depth
    value = b""
    for _ in range(depth):
        value = long(0x00400275, b"SQ", item(value))
    return value


def passed(
    content: bytes, syntax: str = EXPLICIT, *more: Correction, sex: str = "W"
) -> Iterator[Examined]:
    """Examine an instance whose sex is to be corrected, held on the disk as a large one is."""
    identity = InstanceIdentity("1.2.840.10008.5.1.4.1.1.7", INSTANCE, syntax)
    spool = Spool(part10_header(identity), MemoryBudget(0))
    spool.write(content)
    spool.seal()
    settings = PassSettings(
        STUDY, "PACS", "STANDARD", (Correction("c", "PatientSex", "F", sex, "sex", WHEN), *more)
    )
    try:
        yield examine(identity, spool, settings, MemoryBudget(0))
    finally:
        spool.close()


def examined(content: bytes, syntax: str = EXPLICIT, *more: Correction, sex: str = "W") -> Examined:
    for result in passed(content, syntax, *more, sex=sex):
        result.stored.close()
        return result
    raise AssertionError


def bounded(work: Callable[[], object]) -> None:
    tracemalloc.start()
    begun = time.process_time()
    try:
        work()
        assert time.process_time() - begun < SECONDS
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


REFUSED = {
    "noise": b"\x93\x17" * 400,
    "a nesting bomb without lengths": dataset(nested(5_000, undefined=True)),
    "2 GB declared, 10 bytes there": dataset(long(0x00400275, b"UT", b"x" * 10, 2**31 - 1)),
    "2 GB declared under an absurd VR": dataset(long(0x00400275, b"ZZ", b"x" * 10, 2**31 - 1)),
    "a sequence that does not end": dataset(long(0x00400275, b"SQ", item(b""), 0xFFFFFFFF)),
    "another study": dataset().replace(STUDY.encode() + b"\0", b"9.9.9\0"),
    "no elements": b"",
}
REASONS = {
    ReasonCode.HEADER_UNREADABLE,
    ReasonCode.INSTANCE_TRUNCATED,
    ReasonCode.UID_INVALID,
    ReasonCode.INSTANCE_UNEXPECTED,
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused_with_a_reason(content: bytes) -> None:
    def work() -> None:
        with pytest.raises(PermanentError) as refused:
            examined(content)
        assert refused.value.reason in REASONS
        assert refused.value.next_step

    bounded(work)


TAKEN = {
    "4 GB less one declared inside a whole sequence": dataset(
        long(0x00400275, b"SQ", item(b"x" * 10, 2**32 - 2))
    ),
    "10,000 items": dataset(
        long(0x00400275, b"SQ", item(short(0x00080100, b"SH", b"CODE")) * 10_000)
    ),
    "10,000 items without lengths": dataset(
        long(0x00400275, b"SQ", item(b"", 0xFFFFFFFF) + b"\xfe\xff\x0d\xe0\0\0\0\0", 0xFFFFFFFF)[
            :12
        ]
        + (item(b"", 0xFFFFFFFF) + b"\xfe\xff\x0d\xe0\0\0\0\0") * 10_000
        + b"\xfe\xff\xdd\xe0\0\0\0\0"
    ),
    "a nesting bomb with lengths": dataset(nested(2_000, undefined=False)),
    "absurd VRs": dataset(long(0x00400275, b"ZZ", b"12345678"), long(0x00400300, b"QQ", b"")),
    "a stray delimiter at the end": dataset(b"\xfe\xff\xdd\xe0\0\0\0\0"),
    "NULs in text": dataset(short(0x00400280, b"ST", b"A\0\0B\0C")),
    "mixed character sets": dataset(
        short(0x00321060, b"LO", "Röntgen".encode()),
        short(0x00400280, b"ST", "Röntgen".encode("latin-1")),
        charset=b"ISO 2022 IR 6\\ISO 2022 IR 87\\NOSUCH",
    ),
    "an empty and a many-valued attribute": dataset(
        short(0x00200020, b"CS", b""), short(0x00280030, b"DS", b"1\\2")
    ),
}  # fmt: skip


@pytest.mark.parametrize("content", TAKEN.values(), ids=TAKEN)
def test_what_is_odd_and_whole_is_corrected_and_otherwise_kept(content: bytes) -> None:
    def work() -> None:
        made = examined(content)
        assert made.corrections == ("c",)
        assert made.facts["patient_sex"] == "F"
        assert made.dataset_bytes == len(content)

    bounded(work)


def test_a_nul_inside_a_value_is_what_the_ledger_shows_of_it() -> None:
    assert examined(dataset(sex=b"W\0F"), sex="W␀F").corrections == ("c",)


def test_a_deflated_dataset_is_corrected_too() -> None:
    assert examined(deflate(dataset()), DEFLATED).facts["patient_sex"] == "F"


def test_a_broken_signature_stands_in_the_manifest() -> None:
    signed = short(0x04000005, b"US", b"\1\0") + short(0x04000020, b"AT", b"\x10\0\x40\0")
    content = dataset(long(0x4FFE0001, b"SQ", item(signed)))
    assert examined(content).corrections == ("c", SIGNATURE_BROKEN)


def test_mixed_text_is_not_re_encoded_on_a_guess() -> None:
    content = dataset(
        short(0x00321060, b"LO", "Röntgen".encode()),
        short(0x00400280, b"ST", "Röntgen".encode("latin-1")),
        charset=b"ISO_IR 192",
    )
    utf8 = Correction(
        "u", "SpecificCharacterSet", "ISO_IR 100", "ISO_IR 192", "r", WHEN, text_charset="declared"
    )
    with pytest.raises(PermanentError) as refused:
        examined(content, EXPLICIT, utf8)
    assert refused.value.reason is ReasonCode.CORRECTION_FAILED
