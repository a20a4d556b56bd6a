"""Two tasks retrieve by C-MOVE at once, each at a landing of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_migration.archive.dimse_settings import LandingAddress
from dicom_migration.errors import PermanentError
from dicom_migration.ledger import Ledger
from dicom_migration.pacing import landings as waiting
from dicom_migration.pacing.landings import wait_for_landing
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.stopping import StopFlag
from include.peers.orthanc import Orthanc
from include.peers.process import free_port
from tests.archives import held_from, real_file
from tests.conftest import require
from tests.integration.pacing.conftest import Start

ONE, TWO = LandingAddress("MIGRATION1", 11113), LandingAddress("MIGRATION2", 11114)


@pytest.mark.peers
def test_two_processes_move_at_once_and_nothing_is_mixed_up(
    ledger: Ledger, start: Start, tmp_path: Path
) -> None:
    require(Orthanc.available(), "orthanc")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "ct.dcm").write_bytes(real_file("CT_small.dcm"))
    held = held_from(real_file("CT_small.dcm")).record
    ports = {"MIGRATION1": free_port(), "MIGRATION2": free_port()}
    destinations = {title: ("127.0.0.1", port) for title, port in ports.items()}
    (tmp_path / "meet").mkdir()
    with Orthanc(tmp_path / "orthanc", move_destinations=destinations) as peer:
        assert peer.load(tmp_path / "files").loaded == 1
        workers = [
            start(
                "move",
                url=ledger.url,
                host=peer.host,
                port=peer.port,
                called=peer.ae_title,
                landings=list(ports.items()),
                study=held.study_instance_uid,
                folder=str(tmp_path / "meet"),
            )
            for _ in range(2)
        ]
        results = [worker.result() for worker in workers]
    assert {result["landing"] for result in results} == set(ports)
    for result in results:
        assert [delivered for _, _, delivered in result["rounds"]] == [[held.sop_instance_uid]] * 5


def asked(times: int) -> Callable[[], bool]:
    answers = iter([True] * times)
    return lambda: next(answers, False)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_S", 0)


def test_when_all_are_taken_the_next_task_waits_for_one(ledger: Ledger) -> None:
    workers = [Leases(ledger, name) for name in ("one", "two", "three")]
    found = [wait_for_landing(w, [ONE, TWO], StopFlag(), asked(2)) for w in workers]
    assert found == [ONE, TWO, None]
    workers[0].release_all()
    assert wait_for_landing(workers[2], [ONE, TWO], StopFlag(), asked(2)) == ONE


def test_machines_do_not_wait_for_one_another(ledger: Ledger) -> None:
    workers = [Leases(ledger, name) for name in ("one", "two")]
    found = [
        wait_for_landing(worker, [ONE], StopFlag(), asked(2), host=host)
        for worker, host in zip(workers, ("east", "west"), strict=True)
    ]
    assert found == [ONE, ONE]


def test_a_machine_uses_only_the_landings_that_are_its_own(ledger: Ledger) -> None:
    east = LandingAddress("EAST", 11113, "east")
    worker = Leases(ledger, "one")
    assert wait_for_landing(worker, [east, TWO], StopFlag(), asked(2), host="west") == TWO
    with pytest.raises(PermanentError, match="no landing for the machine west"):
        wait_for_landing(worker, [east], StopFlag(), asked(2), host="west")
