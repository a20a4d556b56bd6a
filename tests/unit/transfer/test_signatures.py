"""A signature that a correction breaks is noted, and kept."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_migration.datasets import read_header
from dicom_migration.transfer.correcting import CorrectedHeader, Correction, correct_header
from dicom_migration.transfer.signatures import SIGNATURE_BROKEN

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
DATE, SEX = 0x00080020, 0x00100040


def corrected(syntax: UID, *signed: int, undefined: bool = False) -> CorrectedHeader:
    dataset, mac = Dataset(), Dataset()
    dataset.PatientSex = "W"
    mac.MACIDNumber = 1
    mac.MACAlgorithm = "SHA256"
    if signed:
        mac.DataElementsSigned = list(signed)
        other = Dataset()
        other.MACIDNumber, other.DataElementsSigned = 2, [0x00080060, 0x00080070]
        dataset.MACParametersSequence = Sequence([other, mac])
        dataset["MACParametersSequence"].is_undefined_length = undefined
        mac.is_undefined_length_sequence_item = undefined
        other.is_undefined_length_sequence_item = undefined
    raw = DicomIO(BytesIO())
    raw.is_little_endian = syntax != ExplicitVRBigEndian
    raw.is_implicit_VR = syntax == ImplicitVRLittleEndian
    write_dataset(raw, dataset)
    sex = Correction("c", "PatientSex", "F", "W", "sex", datetime(2026, 1, 2, tzinfo=UTC))
    return correct_header(raw.parent.getvalue(), syntax, "", [sex])


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_only_a_signature_of_a_changed_element_is_broken(syntax: UID, undefined: bool) -> None:
    assert corrected(syntax, DATE, SEX, undefined=undefined).notes == (SIGNATURE_BROKEN,)
    assert corrected(syntax, DATE, undefined=undefined).notes == ()
    assert corrected(syntax).notes == ()


def test_a_broken_signature_is_kept_as_evidence_of_what_was_signed() -> None:
    made = read_header(BytesIO(corrected(ExplicitVRLittleEndian, SEX).header), SYNTAXES[1])
    assert made.MACParametersSequence[1].DataElementsSigned == SEX
