"""Leases when many processes want them at once, on both databases."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dicom_migration.ledger import Ledger
from dicom_migration.pacing.leases import Leases
from tests.integration.pacing.conftest import Start

WORKERS, ROUNDS = 3, 12


@pytest.mark.peers
def test_two_processes_never_hold_the_same_lease(
    any_ledger: Ledger, start: Start, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    workers = [
        start(
            "contend",
            url=any_ledger.url,
            names=["a", "b"],
            rounds=ROUNDS,
            folder=str(inside),
            together=WORKERS,
        )
        for _ in range(WORKERS)
    ]
    assert [worker.result() for worker in workers] == [ROUNDS] * WORKERS
    assert Leases(any_ledger, "test").active("landing") == 0


@pytest.mark.peers
def test_what_a_killed_process_held_is_free_when_its_lease_has_run_out(
    any_ledger: Ledger, start: Start
) -> None:
    start("hold_and_die", url=any_ledger.url, name="a").result()
    leases = Leases(any_ledger, "next")
    deadline = time.monotonic() + 30
    while leases.acquire("landing", ["a"]) is None:
        assert time.monotonic() < deadline, "the lease of the dead lasts for ever"
        time.sleep(0.05)
