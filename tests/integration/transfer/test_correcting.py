"""Corrections over every real file at hand: the named attributes change, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_migration.archive import InstanceIdentity
from dicom_migration.archive.elements import iter_elements
from dicom_migration.datasets import inflate, read_header
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.transfer.correcting import Correction
from dicom_migration.transfer.correcting import correct_header as corrected_header
from dicom_migration.transfer.original_attributes import ORIGINAL_ATTRIBUTES
from dicom_migration.transfer.part10 import part10_header
from dicom_migration.transfer.splicing import actual_encoding
from tests.archives import HeldInstance, held_from, real_files
from tests.conftest import require
from tests.correction import parts_of

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STUDY_DESCRIPTION, ACCESSION_NUMBER = 0x00081030, 0x00080050


def correction(keyword: str, value: str, old_value: str = "") -> Correction:
    return Correction(f"c-{keyword}", keyword, value, old_value, "test-rule", WHEN)


def correct_header(
    header: bytes, syntax: str, charset: str, corrections: list[Correction], source: str = ""
) -> bytes:
    return corrected_header(header, syntax, charset, corrections, source).header


def real_instances() -> list[tuple[str, HeldInstance]]:
    found = []
    for path in real_files():
        held = whole_instance(path.read_bytes())
        if held is not None:
            found.append((path.name, held))
    assert len(found) > 100
    return found


def whole_instance(file: bytes) -> HeldInstance | None:
    """Return the file as an instance; None when it is no Part 10 file, or no whole one."""
    try:
        held = held_from(file)
        header_of(held)
    except Exception:  # noqa: BLE001 - the collection has files broken in every way
        return None
    return held


def header_of(held: HeldInstance) -> tuple[bytes, bytes]:
    """Return the header's bytes, and Pixel Data with what follows it."""
    plain = held.dataset
    if held.transfer_syntax_uid == "1.2.840.10008.1.2.1.99":
        plain = inflate(plain)
    file = BytesIO(plain)
    read_header(file, held.transfer_syntax_uid)
    list(iter_elements(plain[: file.tell()], actual_encoding(plain, held.transfer_syntax_uid)))
    return plain[: file.tell()], plain[file.tell() :]


def elements(header: bytes, syntax: str) -> dict[int, bytes]:
    pieces, position = {}, 0
    for element in iter_elements(header, actual_encoding(header, syntax)):
        pieces[element.tag] = header[position : element.offset + element.length]
        position = element.offset + element.length
    return pieces


@pytest.mark.parametrize("held", [pytest.param(held, id=name) for name, held in real_instances()])
def test_only_the_named_attributes_and_their_record_differ(held: HeldInstance) -> None:
    header, _ = header_of(held)
    charset = str(
        read_header(BytesIO(header), held.transfer_syntax_uid).get("SpecificCharacterSet", "")
    )
    corrected = correct_header(
        header,
        held.transfer_syntax_uid,
        "",
        [correction("StudyDescription", "CORRECTED"), correction("AccessionNumber", "A 1")],
    )
    before = elements(header, held.transfer_syntax_uid)
    after = elements(corrected, held.transfer_syntax_uid)
    meant = {STUDY_DESCRIPTION, ACCESSION_NUMBER, ORIGINAL_ATTRIBUTES}
    lengths = {0x00080000, 0x04000000}
    differing = {tag for tag in before.keys() | after.keys() if before.get(tag) != after.get(tag)}
    assert meant <= differing <= meant | lengths
    assert list(after) == sorted(after) or list(before) != sorted(before)
    read = read_header(BytesIO(corrected), held.transfer_syntax_uid)
    assert read.StudyDescription == "CORRECTED"
    assert read.AccessionNumber == "A 1"
    record = read.OriginalAttributesSequence[-1]
    original = record.ModifiedAttributesSequence[0]
    old = read_header(BytesIO(header), held.transfer_syntax_uid)
    assert str(original.StudyDescription or "") == str(old.get("StudyDescription") or "")
    assert record.AttributeModificationDateTime == "20260102030405+0000"
    assert charset in ("", str(original.get("SpecificCharacterSet", "")))


def test_dcmdump_sees_no_other_difference(tmp_path: Path) -> None:
    require(shutil.which("dcmdump"), "dcmtk")
    compared = 0
    for name, held in real_instances():
        header, tail, syntax = parts_of(held)  # a deflated dataset as it is inside
        corrected = correct_header(
            header, syntax, "", [correction("StudyDescription", "CORRECTED")]
        )
        meta = part10_header(
            InstanceIdentity(held.record.sop_class_uid, held.record.sop_instance_uid, syntax)
        )
        before, after = (
            dumped(meta + body + tail, tmp_path / f"{index}-{name}")
            for index, body in enumerate((header, corrected))
        )
        if before is None:  # dcmdump itself cannot read the original
            continue
        assert after is not None, name
        assert without_record(after) == without_record(before), name
        compared += 1
    assert compared > 50


def test_a_value_that_its_attribute_cannot_hold_is_kept_where_it_breaks_nothing(
    ct_small: HeldInstance,
) -> None:
    header, _ = header_of(ct_small)
    syntax = ct_small.transfer_syntax_uid
    long = b"LUMBAR SPINE AND SACROILIAC JOINT "
    place = header.index(b"\x18\x00\x22\x00")
    header = header[:place] + b"\x18\x00\x15\x00CS" + bytes([len(long), 0]) + long + header[place:]
    made = correct_header(header, syntax, "", [correction("BodyPartExamined", "LUMBAR SPINE")])
    read = read_header(BytesIO(made), syntax)
    item = read.OriginalAttributesSequence[0]
    assert read.BodyPartExamined == "LUMBAR SPINE"
    assert not item.ModifiedAttributesSequence[0].BodyPartExamined
    kept = item.NonconformingModifiedAttributesSequence[0]
    assert kept.SelectorAttribute == 0x00180015
    assert kept.NonconformingDataElementValue == long


def dumped(content: bytes, file: Path) -> list[str] | None:
    file.write_bytes(content)
    run = subprocess.run(["dcmdump", "+L", str(file)], capture_output=True, check=False, timeout=60)
    return run.stdout.decode("latin-1").splitlines() if run.returncode == 0 else None


def without_record(lines: list[str]) -> list[str]:
    """Drop what is meant to differ: (0008,1030), (0400,0561) with its items, group lengths."""
    kept, inside = [], False
    for line in lines:
        if line.startswith("(0400,0561)"):
            inside = True
        elif inside and line.startswith("(fffe,e0dd)"):
            inside = False
        elif not inside and not line.startswith(("(0008,1030)", "(0008,0000)", "(0400,0000)")):
            kept.append(line)
    return kept


def test_a_second_correction_adds_to_the_record(ct_small: HeldInstance) -> None:
    header, _ = header_of(ct_small)
    syntax = ct_small.transfer_syntax_uid
    once = correct_header(header, syntax, "", [correction("StudyDescription", "FIRST")])
    twice = correct_header(once, syntax, "", [correction("StudyDescription", "SECOND")])
    read = read_header(BytesIO(twice), syntax)
    told = [
        item.ModifiedAttributesSequence[0].StudyDescription
        for item in read.OriginalAttributesSequence
    ]
    assert told[1] == "FIRST"
    assert len(told) == 2


@pytest.fixture
def ct_small() -> HeldInstance:
    return dict(real_instances())["CT_small.dcm"]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("NoSuchAttribute", "a secret"),
        ("Rows", "512"),
        ("PatientName", "山田"),
        ("StudyDate", "ü"),
    ],
)
def test_what_cannot_be_written_is_refused_without_telling_the_value(
    ct_small: HeldInstance, keyword: str, value: str
) -> None:
    header, _ = header_of(ct_small)
    with pytest.raises(PermanentError) as caught:
        correct_header(
            header, ct_small.transfer_syntax_uid, "ISO_IR 100", [correction(keyword, value)]
        )
    assert caught.value.reason is ReasonCode.CORRECTION_FAILED
    assert value not in str(caught.value)


def test_text_is_written_in_the_charset_that_the_copy_declares(
    ct_small: HeldInstance,
) -> None:
    header, _ = header_of(ct_small)
    corrected = correct_header(
        header,
        ct_small.transfer_syntax_uid,
        "ISO_IR 100",
        [correction("SpecificCharacterSet", "ISO_IR 192"), correction("PatientName", "山田^太郎")],
    )
    read = dcmread(BytesIO(bytes(128) + b"DICM" + corrected), force=True)
    assert read.PatientName == "山田^太郎"
