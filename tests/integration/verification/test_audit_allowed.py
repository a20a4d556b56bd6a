"""What may differ (approved corrections), and what may be shown (images), is what was allowed."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from dicom_migration.ledger import schema, utc_now
from dicom_migration.policies.verification import (
    AuditReport,
    VerificationPolicy,
)
from dicom_migration.transfer.correcting import Correction, correct_header
from tests.integration.verification.audited_instance import (
    Audited,
    parsed,
    rewritten,
)
from tests.integration.verification.written_wave import WAVE, Instance


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
