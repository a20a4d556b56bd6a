"""A copied study that changed at the source is seen, and never by overwriting what was counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Row, select, update

from dicom_migration.archive import StudyRecord
from dicom_migration.ledger import Ledger, StudyState, schema
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.settlement import settle_mismatches
from tests.capped_archive import CappedArchive
from tests.unit.discovery.conftest import study
from tests.unit.discovery.test_inventory import take

WAVE = "P1-W00001"


def copied(ledger: Ledger, record: StudyRecord, state: StudyState, received: int = 10) -> None:
    take(ledger, CappedArchive([record]))
    with ledger.write() as connection:
        connection.execute(
            update(schema.study).values(
                state=state.value, wave_id=WAVE, received_instances=received
            )
        )


def again(ledger: Ledger, record: StudyRecord, inventory: str = "I0000000002") -> Row[Any]:
    take(ledger, CappedArchive([record]), inventory=inventory)
    with ledger.read() as connection:
        return connection.execute(select(schema.study)).one()


def exceptions(ledger: Ledger) -> list[Row[Any]]:
    with ledger.read() as connection:
        return list(connection.execute(select(schema.exception)))


@pytest.mark.parametrize("state", [StudyState.TRANSFERRED, StudyState.VERIFIED])
def test_a_copied_study_that_grew_is_noted_and_sent_again(
    ledger: Ledger, state: StudyState
) -> None:
    copied(ledger, study(1), state)
    counts = take(
        ledger, CappedArchive([study(1, number_of_instances=11)]), inventory="I0000000002"
    )
    with ledger.read() as connection:
        row = connection.execute(select(schema.study)).one()
        events = connection.execute(
            select(schema.event).where(schema.event.c.kind == "study.mismatched")
        ).all()
    (noted,) = exceptions(ledger)
    assert counts.grown == 1
    assert (row.state, row.number_of_instances) == ("mismatched", 10)
    assert (noted.reason, noted.phase) == ("source_changed", "discovery")
    assert "Verification sends it again" in noted.suggested_fix
    assert len(events) == 1
    settled = settle_mismatches(ledger, WAVE, VerificationPolicy())
    assert (settled.redriven, settled.quarantined) == (1, 0)


def test_a_copied_study_that_shrank_is_put_before_a_person(ledger: Ledger) -> None:
    copied(ledger, study(1), StudyState.VERIFIED)
    row = again(ledger, study(1, number_of_instances=9))
    assert (row.state, row.number_of_instances) == ("mismatched", 10)
    settled = settle_mismatches(ledger, WAVE, VerificationPolicy())
    assert (settled.redriven, settled.quarantined) == (0, 1)


def test_a_study_that_awaits_settlement_is_not_noted_twice(ledger: Ledger) -> None:
    copied(ledger, study(1), StudyState.VERIFIED)
    again(ledger, study(1, number_of_instances=11))
    row = again(ledger, study(1, number_of_instances=11), "I0000000003")
    assert (row.state, row.number_of_instances) == ("mismatched", 10)
    with ledger.read() as connection:
        assert len(connection.execute(select(schema.verification)).all()) == 1


def test_other_series_with_as_many_instances_are_a_change_once(ledger: Ledger) -> None:
    copied(ledger, study(1), StudyState.VERIFIED)
    assert again(ledger, study(1, number_of_series=2)).state == "mismatched"
    with ledger.write() as connection:
        connection.execute(update(schema.study).values(state=StudyState.VERIFIED.value))
    assert again(ledger, study(1, number_of_series=2), "I0000000003").state == "verified"


def test_what_was_received_already_is_no_change(ledger: Ledger) -> None:
    copied(ledger, study(1), StudyState.VERIFIED, received=11)
    row = again(ledger, study(1, number_of_instances=11))
    assert (row.state, row.number_of_instances) == ("verified", 11)
    assert exceptions(ledger) == []


def test_a_corrected_description_of_a_copied_study_is_no_change_of_its_images(
    ledger: Ledger,
) -> None:
    copied(ledger, study(1), StudyState.VERIFIED)
    row = again(ledger, replace(study(1), study_description="corrected"))
    assert (row.state, row.study_description) == ("verified", "corrected")


def test_a_study_not_copied_yet_takes_the_new_count(ledger: Ledger) -> None:
    copied(ledger, study(1), StudyState.PLANNED, received=0)
    row = again(ledger, study(1, number_of_instances=11))
    assert (row.state, row.number_of_instances) == ("planned", 11)
