"""Faults planted between source and cloud, each found and named by the audit."""

from __future__ import annotations

import dataclasses

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import JPEGLSLossless
from sqlalchemy import select

from dicom_migration.errors import ReasonCode
from dicom_migration.header_facts import read_header_facts
from dicom_migration.ledger import schema
from dicom_migration.policies.verification import (
    HeaderAudit,
    PixelAudit,
    VerificationPolicy,
)
from dicom_migration.verification.pixel_audit import audit_pixels
from dicom_migration.verification.sealed_events import STUDY_AUDITED_EVENT
from tests.integration.verification.audited_instance import (
    instance_of,
    parsed,
    rewritten,
)
from tests.integration.verification.written_wave import WAVE, write_wave


def test_one_changed_pixel_is_found_with_its_difference(audited, canonical):
    held = canonical("CT_small.dcm")
    dataset = parsed(held)
    pixels = dataset.pixel_array.copy()
    pixels[5, 7] += 3
    dataset.PixelData = pixels.tobytes()
    check = audited(held)
    summary = check.against(rewritten(held, dataset))
    assert (summary.different, summary.headers_different) == (1, 0)
    ((reason, detail),) = check.exceptions
    assert reason == ReasonCode.PIXEL_MISMATCH
    assert "samples differ, first in frame 1" in detail
    assert "Largest difference of two samples: <b>3</b>" in check.pages[0]
    assert check.state == "mismatched"


def test_swapped_frames_are_called_that(audited, canonical):
    held = canonical("rtdose.dcm")
    dataset = parsed(held)
    frames = dataset.pixel_array.copy()
    frames[[0, 1]] = frames[[1, 0]]
    dataset.PixelData = frames.tobytes()
    check = audited(held)
    assert check.against(rewritten(held, dataset)).different == 1
    assert "the frames are the same, in another order, first in frame 1" in check.exceptions[0][1]


def test_a_lost_frame_is_found(audited, canonical):
    held = canonical("rtdose.dcm")
    dataset = parsed(held)
    frames = dataset.pixel_array
    dataset.PixelData = frames[:-1].tobytes()
    dataset.NumberOfFrames = len(frames) - 1
    check = audited(held)
    assert check.against(rewritten(held, dataset)).different == 1
    details = dict(check.exceptions)
    assert "different numbers of frames" in details[ReasonCode.PIXEL_MISMATCH]
    assert "(0028,0008) changed" in details[ReasonCode.HEADER_MISMATCH]


def change_the_window(dataset: Dataset) -> None:
    dataset.WindowCenter = "4711"


def drop_a_private_tag(dataset: Dataset) -> None:
    del dataset[0x00431010 if 0x00431010 in dataset else next(iter(private_tags(dataset)))]


def private_tags(dataset: Dataset) -> list[int]:
    return [tag for tag in dataset.keys() if tag.is_private and not tag.is_private_creator]  # noqa: SIM118


def lose_a_sequence_item(dataset: Dataset) -> None:
    del dataset.BeamSequence[0].ControlPointSequence[-1]


def change_a_nested_value(dataset: Dataset) -> None:
    dataset.BeamSequence[0].ControlPointSequence[0].NominalBeamEnergy = "99"


@pytest.mark.parametrize(
    ("name", "fault", "named"),
    [
        ("MR_small.dcm", change_the_window, "(0028,1050) changed"),
        ("CT_small.dcm", drop_a_private_tag, "added"),
        ("rtplan.dcm", lose_a_sequence_item, "(300A,00B0)[1].(300A,0111) items"),
        ("rtplan.dcm", change_a_nested_value, "(300A,00B0)[1].(300A,0111)[1].(300A,0114) changed"),
    ],
)
def test_a_header_that_differs_is_a_defect_that_names_the_tag_and_no_value(
    audited, canonical, name, fault, named
):
    held = canonical(name)
    dataset = parsed(held)
    fault(dataset)
    check = audited(held)
    summary = check.against(rewritten(held, dataset))
    assert (summary.headers_different, summary.different) == (1, 0)
    ((reason, detail),) = check.exceptions
    assert reason == ReasonCode.HEADER_MISMATCH
    assert named in detail
    assert "4711" not in detail
    assert "4711" not in check.pages[0]
    assert check.state == "mismatched"


def test_a_tag_that_the_source_rewrites_can_be_ignored_by_policy(audited, canonical):
    held = canonical("MR_small.dcm")
    dataset = parsed(held)
    change_the_window(dataset)
    policy = VerificationPolicy(header_audit=HeaderAudit(ignore=("00281050",)))
    assert audited(held).against(rewritten(held, dataset), policy).headers_different == 0


def test_what_the_source_cannot_decode_is_said_and_accuses_nobody(audited, canonical):
    held = canonical("CT_small.dcm")
    dataset = parsed(held)
    dataset.BitsAllocated = 13
    broken = rewritten(held, dataset)
    check = audited(broken)
    summary = check.against(broken)
    assert (summary.undecodable, summary.different, summary.headers_different) == (1, 0, 0)
    ((reason, detail),) = check.exceptions
    assert reason == ReasonCode.PIXEL_DATA_INVALID
    assert "cannot be decoded as the source delivers it" in detail
    assert "bytes are the same" in detail
    assert check.state == "verified"


def test_what_nobody_can_decode_and_differs_is_a_defect(audited, canonical):
    held = canonical("CT_small.dcm")
    dataset = parsed(held)
    dataset.BitsAllocated = 13
    broken = rewritten(held, dataset)
    dataset.PixelData = bytes(len(dataset.PixelData))
    check = audited(broken)
    assert check.against(rewritten(held, dataset)).different == 1
    assert check.exceptions[0][0] == ReasonCode.PIXEL_MISMATCH


def test_a_recompressed_source_with_the_same_pixels_is_equal(audited, canonical):
    held = canonical("CT_small.dcm")
    compressed = parsed(held)
    compressed.compress(JPEGLSLossless, generate_instance_uid=False)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, compressed)
    delivered = dataclasses.replace(
        held,
        dataset=buffer.getvalue(),
        identity=dataclasses.replace(held.identity, transfer_syntax_uid=str(JPEGLSLossless)),
    )
    check = audited(held)
    summary = check.against(delivered)
    assert (summary.compared, summary.different, summary.headers_different) == (1, 0, 0)


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "MR_small_implicit.dcm"])
def test_another_byte_order_or_vr_form_is_no_difference(audited, canonical, name):
    other, held = instance_of(name), canonical("MR_small.dcm")
    delivered = dataclasses.replace(other, record=held.record)
    check = audited(held)
    summary = check.against(delivered)
    assert (summary.compared, summary.headers_compared) == (1, 1)
    assert check.exceptions == []


def test_every_study_of_the_sample_leaves_a_proof_in_the_ledger(audited, canonical):
    held = canonical("CT_small.dcm")
    check = audited(held)
    check.against(held)
    with check.ledger.read() as connection:
        table = schema.event.c
        payload = connection.scalar(
            select(table.payload).where(
                table.kind == STUDY_AUDITED_EVENT,
                table.study_instance_uid == held.record.study_instance_uid,
            )
        )
    assert '"headers_proved":1' in payload.replace(" ", "")
    assert '"pixels_proved":1' in payload.replace(" ", "")


def test_defects_enlarge_the_sample_until_all_is_read(store, ledger, canonical):
    held = canonical("CT_small.dcm")
    many = []
    for number in range(60):
        dataset = parsed(held)
        dataset.SOPInstanceUID = f"{held.record.sop_instance_uid}.{number}"
        one = rewritten(held, dataset)
        uid = str(dataset.SOPInstanceUID)
        many.append(
            dataclasses.replace(
                one,
                record=dataclasses.replace(held.record, sop_instance_uid=uid),
                identity=dataclasses.replace(held.identity, sop_instance_uid=uid),
                facts=read_header_facts(dataset),
            )
        )
    policy = VerificationPolicy(pixel_audit=PixelAudit(defect_rate=0.2))
    wave = write_wave(store, ledger, many, state="verified")
    clean = audit_pixels(wave.archive, store, ledger, WAVE, policy)
    assert clean.rounds == 1
    assert clean.wanted < 20
    spoilt = [dataclasses.replace(i, dataset=i.dataset[:-2] + b"\x01\x7f") for i in many]
    wave.archive.instances = spoilt
    other = VerificationPolicy(pixel_audit=PixelAudit(defect_rate=0.2, seed=7))
    found = audit_pixels(wave.archive, store, ledger, WAVE, other)
    assert found.rounds > 1
    assert found.wanted == found.different == 60
