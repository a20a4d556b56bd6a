"""Faults planted between source and cloud, each found and named by the audit."""

from __future__ import annotations

import dataclasses
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import JPEGLSLossless
from sqlalchemy import insert, select

from dicom_migration.errors import ReasonCode
from dicom_migration.header_facts import read_header_facts
from dicom_migration.ledger import schema, utc_now
from dicom_migration.policies.verification import (
    AuditReport,
    HeaderAudit,
    PixelAudit,
    VerificationPolicy,
)
from dicom_migration.transfer.correcting import Correction, correct_header
from dicom_migration.verification.pixel_audit import AUDITED_EVENT, audit_pixels
from tests.integration.verification.written_wave import (
    WAVE,
    Instance,
    part10,
    read_instance,
    write_wave,
)

POLICY = VerificationPolicy()
IMPLICIT = "1.2.840.10008.1.2"
PADDING = 0xFFFCFFFC  # Data Set Trailing Padding, which some of the real files have


def instance_of(name: str) -> Instance:
    found = read_instance(Path(get_testdata_file(name)))
    assert found is not None
    return found


def parsed(instance: Instance) -> Dataset:
    return dcmread(io.BytesIO(part10(instance)))


def rewritten(instance: Instance, dataset: Dataset) -> Instance:
    """Return the instance with another dataset, in its own transfer syntax."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = instance.identity.transfer_syntax_uid == IMPLICIT
    buffer.is_little_endian = True
    write_dataset(buffer, dataset)
    return dataclasses.replace(instance, dataset=buffer.getvalue())


class Audited:
    """A wave of one instance, whose source then delivers something else."""

    def __init__(self, store, ledger, held: Instance) -> None:
        self.store, self.ledger = store, ledger
        self.wave = write_wave(store, ledger, [held], state="verified")
        self.pages: list[str] = []

    def against(self, delivered: Instance, policy: VerificationPolicy = POLICY):
        self.wave.archive.instances = [delivered]
        return audit_pixels(
            self.wave.archive,
            self.store,
            self.ledger,
            WAVE,
            policy,
            publish=lambda page: self.pages.append(page) or "s3://reports/page",
        )

    @property
    def exceptions(self) -> list[tuple[str, str]]:
        with self.ledger.read() as connection:
            table = schema.exception.c
            return [tuple(row) for row in connection.execute(select(table.reason, table.detail))]

    @property
    def state(self) -> str:
        with self.ledger.read() as connection:
            return connection.scalar(select(schema.study.c.state))


@pytest.fixture
def audited(store, ledger):
    return lambda held: Audited(store, ledger, held)


@pytest.fixture
def canonical():
    """Return an instance as our own writer writes it, so that only the planted fault differs."""

    def make(name: str) -> Instance:
        held = instance_of(name)
        dataset = parsed(held)
        dataset.pop(PADDING, None)
        return rewritten(held, dataset)

    return make


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


def corrected(held: Instance, value: str) -> Instance:
    """Return what the transfer stores when Study Description was corrected."""
    at = held.dataset.index(b"\xe0\x7f\x10\x00")
    old = str(parsed(held).StudyDescription)
    correction = Correction(
        "c-1", "StudyDescription", value, old, "rule", datetime(2026, 1, 2, tzinfo=UTC)
    )
    syntax = held.identity.transfer_syntax_uid
    header = correct_header(held.dataset[:at], syntax, "ISO_IR 100", [correction], "memory").header
    return dataclasses.replace(held, dataset=header + held.dataset[at:])


def approve(ledger, held: Instance, value: str) -> None:
    with ledger.write() as connection:
        connection.execute(
            insert(schema.correction).values(
                correction_id="c-1",
                wave_id=WAVE,
                study_instance_uid=held.record.study_instance_uid,
                keyword="StudyDescription",
                new_value=value,
                rule_id="rule",
                reason="",
                ruleset_sha256="0" * 64,
                status="approved",
                updated_at=utc_now(),
            )
        )


@pytest.fixture
def corrected_wave(store, ledger, canonical, monkeypatch):
    """Return a function that stores a corrected instance, its manifest naming the correction."""
    from tests.integration.verification import written_wave

    row_of = written_wave.row_of
    monkeypatch.setattr(
        written_wave,
        "row_of",
        lambda *args: dataclasses.replace(row_of(*args), corrections=("c-1",)),
    )
    held = canonical("CT_small.dcm")
    return held, lambda stored: Audited(store, ledger, stored)


def test_an_approved_correction_is_no_defect(corrected_wave, ledger):
    held, audited = corrected_wave
    check = audited(corrected(held, "CORRECTED"))
    approve(ledger, held, "CORRECTED")
    summary = check.against(held)
    assert (summary.headers_compared, summary.headers_different) == (1, 0)
    assert check.exceptions == []


def test_the_same_change_without_an_approval_is_a_defect(corrected_wave):
    held, audited = corrected_wave
    check = audited(corrected(held, "CORRECTED"))
    assert check.against(held).headers_different == 1
    assert "(0008,1030) changed" in check.exceptions[0][1]


def test_another_value_than_the_approved_one_is_a_defect(corrected_wave, ledger):
    held, audited = corrected_wave
    check = audited(corrected(held, "SOMETHING ELSE"))
    approve(ledger, held, "CORRECTED")
    assert check.against(held).headers_different == 1
    assert "(0008,1030) lacks an approved correction" in check.exceptions[0][1]


def test_a_correction_that_does_not_record_what_was_there_is_a_defect(corrected_wave, ledger):
    held, audited = corrected_wave
    dataset = parsed(held)
    dataset.StudyDescription = "CORRECTED"
    check = audited(rewritten(held, dataset))
    approve(ledger, held, "CORRECTED")
    assert check.against(held).headers_different == 1
    assert "(0400,0561) does not record" in check.exceptions[0][1]


def with_annotation(held: Instance, said: str | None) -> Instance:
    dataset = parsed(held)
    if said is not None:
        dataset.BurnedInAnnotation = said
    return rewritten(held, dataset)


@pytest.mark.parametrize(
    ("renderings", "said", "shown"),
    [
        ("none", "NO", 0),
        ("not_burned_in", "NO", 2),
        ("not_burned_in", "YES", 0),
        ("not_burned_in", None, 0),
        ("all", "YES", 2),
        ("all", None, 2),
    ],
)
def test_images_are_shown_only_as_far_as_the_policy_says(
    audited, canonical, renderings, said, shown
):
    held = with_annotation(canonical("CT_small.dcm"), said)
    check = audited(held)
    check.against(held, VerificationPolicy(audit_report=AuditReport(renderings=renderings)))
    page = check.pages[0]
    assert page.count("data:image/png;base64,") == shown
    assert ("not shown" in page) is (shown == 0)
    assert ("Treat it as patient data" in page) is (shown > 0)


def test_every_study_of_the_sample_leaves_a_proof_in_the_ledger(audited, canonical):
    held = canonical("CT_small.dcm")
    check = audited(held)
    check.against(held)
    with check.ledger.read() as connection:
        table = schema.event.c
        payload = connection.scalar(
            select(table.payload).where(
                table.kind == AUDITED_EVENT,
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
