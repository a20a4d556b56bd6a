"""Several workers at one wave: nothing twice, and a stop that loses nothing."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.ledger import Ledger, schema
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.stopping import StopFlag, StoppedError
from dicom_migration.pacing.task_pacing import TaskPacing
from dicom_migration.transfer import shard_transfer
from dicom_migration.transfer.shard_transfer import transfer_shard
from dicom_migration.transfer.shards import close_wave, cut_shards
from tests.archives import HeldInstance, MemoryArchive
from tests.integration.transfer.conftest import (
    POLICY,
    THROTTLE,
    WAVE,
    in_order_of_transfer,
    states,
)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_transfer, "WAIT_FOR_OTHERS_S", 0.05)


def leases_left(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return int(connection.scalar(select(func.count()).select_from(schema.lease)) or 0)


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
