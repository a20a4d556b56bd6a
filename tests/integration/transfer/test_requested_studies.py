"""Requested studies: first, in whatever wave they are, and in nobody's way when they fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import insert, update

from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.ledger import Ledger, request_studies, schema
from dicom_migration.ledger.events import chain_names, verify_chain
from dicom_migration.transfer.shards import Shard, close_wave, cut_shards
from tests.archives import HeldInstance, MemoryArchive
from tests.integration.transfer.conftest import NOW, POLICY, in_order_of_transfer, states

OTHER_WAVE = "Ptest-W0002"


def put_into_other_wave(ledger: Ledger, *uids: str) -> None:
    with ledger.write() as connection:
        connection.execute(
            insert(schema.wave).values(
                wave_id=OTHER_WAVE,
                plan_id="Ptest",
                ordinal=2,
                state="cleansed",
                approved_at=NOW,
                updated_at=NOW,
            )
        )
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid.in_(uids))
            .values(wave_id=OTHER_WAVE, shard=0)
        )


def test_a_requested_study_jumps_the_queue(
    archive: MemoryArchive, ledger: Ledger, wave: str, transfer: Any
) -> None:
    uids = sorted(states(ledger))
    (shard,) = cut_shards(ledger, wave, POLICY)

    def request_the_last(held: HeldInstance) -> None:
        if held.record.study_instance_uid == uids[0]:
            request_studies(ledger, [uids[-1]], requested_by="ada", reason="clinic")

    summary = transfer(replace(archive, before_delivery=request_the_last), shard)
    assert in_order_of_transfer(ledger) == [uids[0], uids[-1], *uids[1:-1]]
    assert (summary["studies"], summary["requested"]) == (len(uids), 0), "its own all the same"


def test_a_requested_study_of_another_wave_is_moved_and_counted_there(
    archive: MemoryArchive, ledger: Ledger, wave: str, transfer: Any
) -> None:
    uids = sorted(states(ledger))
    guest = uids[-1]
    put_into_other_wave(ledger, guest)
    (shard,) = cut_shards(ledger, wave, POLICY)
    request_studies(ledger, [guest], requested_by="ada", reason="clinic")
    summary = transfer(archive, shard)
    assert in_order_of_transfer(ledger)[0] == guest
    assert (summary["studies"], summary["requested"]) == (len(uids) - 1, 1)
    assert close_wave(ledger, wave) == {"transferred": len(uids) - 1}
    assert close_wave(ledger, OTHER_WAVE) == {"transferred": 1}
    with ledger.read() as connection:
        chains = chain_names(connection, f"wave:{OTHER_WAVE}/requested")
        assert [verify_chain(connection, chain).sequence for chain in chains] == [2]


def test_a_guest_that_fails_is_left_to_its_own_shard_and_not_tried_for_ever(
    archive: MemoryArchive, ledger: Ledger, wave: str, transfer: Any
) -> None:
    uids = sorted(states(ledger))
    guest = uids[-1]
    put_into_other_wave(ledger, guest)
    (shard,) = cut_shards(ledger, wave, POLICY)
    request_studies(ledger, [guest], requested_by="ada", reason="clinic")

    def break_off(held: HeldInstance) -> None:
        if held.record.study_instance_uid == guest:
            raise TransientError("The association broke.", reason=ReasonCode.SOURCE_FAILED)

    transfer(replace(archive, before_delivery=break_off), shard, last_try=True)
    assert states(ledger)[guest] == "transferring", "not quarantined by a stranger"
    assert transfer(archive, Shard(OTHER_WAVE, 0))["transferred"] == 1


def test_guests_that_all_fail_do_not_keep_a_shard_from_its_own_studies(
    archive: MemoryArchive, ledger: Ledger, wave: str, transfer: Any
) -> None:
    uids = sorted(states(ledger))
    guests, own = uids[: POLICY.give_up_after_studies], uids[POLICY.give_up_after_studies :]
    assert own
    put_into_other_wave(ledger, *guests)
    (shard,) = cut_shards(ledger, wave, POLICY)
    request_studies(ledger, guests, requested_by="ada", reason="clinic")

    def break_off(held: HeldInstance) -> None:
        if held.record.study_instance_uid in guests:
            raise TransientError("The association broke.", reason=ReasonCode.SOURCE_FAILED)

    summary = transfer(replace(archive, before_delivery=break_off), shard)
    assert (summary["transferred"], summary["left"]) == (len(own), 0)
    assert close_wave(ledger, wave) == {"transferred": len(own)}
