"""Several workers at one wave: nothing twice, requested first, a stop that loses nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.ledger import Ledger, request_studies, schema
from dicom_migration.ledger.events import chain_names, verify_chain
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.stopping import StopFlag, StoppedError
from dicom_migration.pacing.task_pacing import TaskPacing
from dicom_migration.policies.throttle import ThrottlePolicy
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer import shard_transfer
from dicom_migration.transfer.shard_transfer import transfer_shard
from dicom_migration.transfer.shards import Shard, close_wave, cut_shards
from tests.archives import HeldInstance, MemoryArchive
from tests.integration.transfer.conftest import NOW, WAVE

POLICY = TransferPolicy(studies_per_shard=100)
THROTTLE = ThrottlePolicy(max_associations=4)
OTHER_WAVE = "Ptest-W0002"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_transfer, "WAIT_FOR_OTHERS_S", 0.05)


@pytest.fixture
def transfer(store: S3Store, ledger: Ledger) -> Callable[..., dict[str, int | float]]:
    def run(
        archive: MemoryArchive,
        shard: Shard,
        *,
        holder: str = "one",
        stop: StopFlag | None = None,
        last_try: bool = False,
    ) -> dict[str, int | float]:
        stop = stop or StopFlag()
        leases = Leases(ledger, holder)
        with TaskPacing(ledger, THROTTLE, archive.name, leases, stop) as pacing:
            return transfer_shard(
                archive, store, ledger, shard, POLICY, last_try=last_try, pacing=pacing
            )

    return run


def states(ledger: Ledger) -> dict[str, str]:
    with ledger.read() as connection:
        rows = connection.execute(select(schema.study.c.study_instance_uid, schema.study.c.state))
        return {row.study_instance_uid: row.state for row in rows}


def in_order_of_transfer(ledger: Ledger) -> list[str]:
    table = schema.event.c
    with ledger.read() as connection:
        return list(
            connection.scalars(
                select(table.study_instance_uid)
                .where(table.kind == "study.transferred")
                .order_by(table.at)
            )
        )


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


def leases_left(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return int(connection.scalar(select(func.count()).select_from(schema.lease)) or 0)


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


def test_two_workers_at_one_shard_move_each_study_once(
    archive: MemoryArchive, ledger: Ledger, wave: str, transfer: Any
) -> None:
    (shard,) = cut_shards(ledger, wave, POLICY)
    summaries: list[dict[str, int | float]] = []

    def work(holder: str) -> None:
        summaries.append(transfer(archive, shard, holder=holder))

    workers = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "three")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    total = len(states(ledger))
    assert len(summaries) == 3
    assert sum(summary["transferred"] for summary in summaries) == total
    assert all(s["transferred"] + s["elsewhere"] == total for s in summaries)
    with ledger.read() as connection:
        attempts = connection.execute(
            select(schema.attempt.c.study_instance_uid, schema.attempt.c.outcome)
        ).all()
    assert sorted(attempts) == [(uid, "transferred") for uid in sorted(states(ledger))]
    assert leases_left(ledger) == 0


def test_a_shard_waits_for_its_study_that_another_worker_is_at(
    archive: MemoryArchive, ledger: Ledger, wave: str, transfer: Any
) -> None:
    uids = sorted(states(ledger))
    (shard,) = cut_shards(ledger, wave, POLICY)
    other = Leases(ledger, "other")
    other.acquire("study", [uids[0]])
    moved_by_then: list[int] = []

    def give_up() -> None:
        while list(states(ledger).values()).count("transferred") < len(uids) - 1:
            time.sleep(0.02)
        moved_by_then.append(list(states(ledger).values()).count("transferred"))
        other.release_all()

    giving_up = threading.Thread(target=give_up)
    giving_up.start()
    summary = transfer(archive, shard)
    giving_up.join()
    assert moved_by_then == [len(uids) - 1]
    assert summary["transferred"] == len(uids)
    assert in_order_of_transfer(ledger)[-1] == uids[0]


def test_told_to_stop_within_a_study_everything_is_left_to_go_on_with(
    archive: MemoryArchive, ledger: Ledger, wave: str, transfer: Any
) -> None:
    uids = sorted(states(ledger))
    (shard,) = cut_shards(ledger, wave, POLICY)
    stop = StopFlag()

    def stop_at_the_third(held: HeldInstance) -> None:
        if held.record.study_instance_uid == uids[2]:
            stop.set()

    with pytest.raises(StoppedError):
        transfer(
            replace(archive, before_delivery=stop_at_the_third), shard, stop=stop, last_try=True
        )
    assert [states(ledger)[uid] for uid in uids[:4]] == [
        "transferred",
        "transferred",
        "transferring",
        "cleansed",
    ]
    assert leases_left(ledger) == 0
    assert transfer(archive, shard, holder="two")["transferred"] == len(uids) - 2
    assert set(states(ledger).values()) == {"transferred"}


def test_a_worker_whose_claim_was_taken_over_does_not_go_on_with_the_study(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    uids = sorted(states(ledger))
    (shard,) = cut_shards(ledger, wave, POLICY)
    stolen: list[str] = []

    def steal(held: HeldInstance) -> None:
        uid = held.record.study_instance_uid
        if uid == uids[1] and not stolen:
            stolen.append(uid)
            with ledger.write() as connection:
                connection.execute(
                    update(schema.lease)
                    .where(schema.lease.c.kind == "study")
                    .values(holder="another")
                )
            leases.renew()
            with ledger.write() as connection:  # and the other dies
                connection.execute(schema.lease.delete().where(schema.lease.c.holder == "another"))

    leases = Leases(ledger, "one")
    with TaskPacing(ledger, THROTTLE, archive.name, leases, StopFlag()) as pacing:
        summary = transfer_shard(
            replace(archive, before_delivery=steal),
            store,
            ledger,
            shard,
            POLICY,
            last_try=True,
            pacing=pacing,
        )
    assert stolen == [uids[1]]
    assert summary["transferred"] == len(uids)
    with ledger.read() as connection:
        outcomes = connection.scalars(
            select(schema.attempt.c.outcome)
            .where(schema.attempt.c.study_instance_uid == uids[1])
            .order_by(schema.attempt.c.attempt_id)
        ).all()
    assert outcomes == ["failed", "transferred"]


def test_when_the_window_closes_the_rest_is_left_for_the_next(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    (shard,) = cut_shards(ledger, wave, POLICY)
    answers = iter([True, True])
    leases = Leases(ledger, "one")
    with TaskPacing(ledger, THROTTLE, archive.name, leases, StopFlag()) as pacing:
        summary = transfer_shard(
            archive,
            store,
            ledger,
            shard,
            POLICY,
            last_try=True,
            may_go_on=lambda: next(answers, False),
            pacing=pacing,
        )
    total = len(states(ledger))
    assert summary["left"] == total - summary["studies"] > 0
    assert close_wave(ledger, WAVE)["cleansed"] == summary["left"]
