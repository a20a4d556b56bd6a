"""Text re-encoded in UTF-8: read right afterwards, wherever it stands, and nothing else touched."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_migration.datasets import read_header
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.transfer.correcting import Correction, correct_header

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = {
    "ISO_IR 100": "Müller^Jörg",
    "ISO_IR 144": "Люкceмбypг",
    "GB18030": "王^小东",
    "ISO 2022 IR 6\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ISO 2022 IR 6\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
}


def encoded(
    charset: str, name: str, syntax: UID, *, undefined: bool = False, own: str = ""
) -> bytes:
    dataset, item, other = Dataset(), Dataset(), Dataset()
    dataset.SpecificCharacterSet = charset.split("\\")
    dataset.StudyDescription = "ASCII"
    dataset.PatientName = name
    item.ReferringPhysicianName = name
    item.private_block(0x0009, "MAKER", create=True).add_new(1, "OB", b"\xe4\x00")
    other.CodeMeaning = name.split("=", maxsplit=1)[-1]
    if own:
        other.SpecificCharacterSet = own
    item.PersonIdentificationCodeSequence = Sequence([other])
    item["PersonIdentificationCodeSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    dataset.RequestAttributesSequence = Sequence([item])
    dataset["RequestAttributesSequence"].is_undefined_length = undefined
    file = BytesIO()
    raw = DicomIO(file)
    raw.is_little_endian = syntax != ExplicitVRBigEndian
    raw.is_implicit_VR = syntax == ImplicitVRLittleEndian
    write_dataset(raw, dataset)
    return file.getvalue()


def to_utf8(text_charset: str) -> Correction:
    return Correction(
        "c", "SpecificCharacterSet", "ISO_IR 192", "", "utf-8-everywhere", WHEN,
        text_charset=text_charset,
    )  # fmt: skip


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
@pytest.mark.parametrize("charset", NAMES)
def test_every_text_reads_the_same_in_utf8(charset: str, syntax: UID, undefined: bool) -> None:
    header = encoded(charset, NAMES[charset], syntax, undefined=undefined)
    made = correct_header(header, syntax, charset, [to_utf8("declared")]).header
    before, after = read_header(BytesIO(header), syntax), read_header(BytesIO(made), syntax)
    assert after.SpecificCharacterSet == "ISO_IR 192"
    assert after.PatientName == before.PatientName
    item, old = after.RequestAttributesSequence[0], before.RequestAttributesSequence[0]
    assert item.ReferringPhysicianName == old.ReferringPhysicianName
    nested = item.PersonIdentificationCodeSequence[0], old.PersonIdentificationCodeSequence[0]
    assert nested[0].CodeMeaning == nested[1].CodeMeaning
    assert item[0x0009, 0x1001].value == b"\xe4\x00"
    kept = after.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert kept.PatientName == before.PatientName
    assert "StudyDescription" not in kept


def test_an_item_with_a_character_set_of_its_own_stays() -> None:
    syntax = ExplicitVRLittleEndian
    header = encoded("ISO_IR 100", "Müller", syntax, own="ISO_IR 100")
    made = correct_header(header, syntax, "ISO_IR 100", [to_utf8("declared")]).header
    item = read_header(BytesIO(made), syntax).RequestAttributesSequence[0]
    assert item.PersonIdentificationCodeSequence[0].CodeMeaning == "Müller"
    assert item.PersonIdentificationCodeSequence[0].SpecificCharacterSet == "ISO_IR 100"


def test_undeclared_text_is_read_with_the_set_that_the_rule_names() -> None:
    header = encoded("ISO_IR 100", "Müller", ExplicitVRLittleEndian).replace(
        b"ISO_IR 100", b"ISO_IR 6  "
    )
    made = correct_header(
        header, ExplicitVRLittleEndian, "ISO_IR 6", [to_utf8("ISO_IR 100")]
    ).header
    assert read_header(BytesIO(made), ExplicitVRLittleEndian).PatientName == "Müller"


def test_text_that_is_not_encoded_so_is_refused_without_telling_it() -> None:
    header = encoded("ISO_IR 100", "Müller", ExplicitVRLittleEndian)
    with pytest.raises(PermanentError) as refused:
        correct_header(header, ExplicitVRLittleEndian, "", [to_utf8("ISO_IR 192")])
    assert refused.value.reason is ReasonCode.CORRECTION_FAILED
    assert "ller" not in str(refused.value)


def test_explicit_sequences_nested_without_end_are_refused() -> None:
    value = b""
    for _ in range(100):
        item = b"\xfe\xff\x00\xe0" + len(value).to_bytes(4, "little") + value
        value = b"\x08\x00\x40\x11SQ\0\0" + len(item).to_bytes(4, "little") + item
    with pytest.raises(PermanentError, match="nested too deeply"):
        correct_header(value, ExplicitVRLittleEndian, "", [to_utf8("ISO_IR 100")])
