"""What the worker processes of these tests do: ``main`` runs one function by its name."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from dicom_migration.archive import InstanceIdentity
from dicom_migration.archive.dimse import DimseArchive
from dicom_migration.archive.dimse_settings import DimseSettings, LandingAddress
from dicom_migration.archive.sinks import CountingSink
from dicom_migration.ledger import Ledger
from dicom_migration.pacing.landings import wait_for_landing
from dicom_migration.pacing.leases import Leases, new_holder
from dicom_migration.pacing.paced_archive import PacedArchive
from dicom_migration.pacing.stopping import StopFlag
from dicom_migration.pacing.task_pacing import STUDY, TaskPacing
from dicom_migration.policies.throttle import ThrottlePolicy
from tests.archives import held_from, real_file

PIECE = bytes(65_536)


def meet(folder: str, who: str, together: int) -> None:
    """Wait until so many workers are there."""
    (Path(folder) / f"met-{who}").touch()
    while len(list(Path(folder).glob("met-*"))) < together:
        time.sleep(0.01)


def contend(url: str, names: list[str], rounds: int, folder: str, together: int) -> int:
    """Take a lease, prove that nobody else has it, give it back; return how often it was had."""
    had = 0
    with Ledger(url) as ledger:
        leases = Leases(ledger, new_holder(), seconds=60)
        meet(folder, str(os.getpid()), together)
        while had < rounds:
            name = leases.acquire("landing", names)
            if name is None:
                continue
            proof = Path(folder) / name
            os.close(os.open(proof, os.O_CREAT | os.O_EXCL))  # fails while another is inside
            time.sleep(0.02)
            proof.unlink()
            leases.release("landing", name)
            had += 1
    return had


def hold_and_die(url: str, name: str) -> None:
    """Take a lease and leave without a word."""
    with Ledger(url) as ledger:
        assert Leases(ledger, new_holder(), seconds=2).acquire("landing", [name])
        print("null", flush=True)
        os._exit(0)


class _Endless:
    """An archive whose one study ends when the time is up; delivers as fast as it is let."""

    name = "endless"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.samples: list[tuple[float, int]] = []

    def retrieve_study(self, study_instance_uid: str, sink: Any, expected: Any = ()) -> None:
        until = time.monotonic() + self.seconds
        taken = 0
        writer = sink.open(InstanceIdentity("1.2", "1.2.3", "1.2.840.10008.1.2.1"))
        while time.monotonic() < until:
            writer.write(PIECE)
            taken += len(PIECE)
            self.samples.append((time.monotonic(), taken))
        writer.commit()


def receive(url: str, bytes_per_second: int, seconds: float, study: str) -> Any:
    """Receive for a while under a shared limit; return ``[monotonic time, bytes so far]``."""
    policy = ThrottlePolicy(bytes_per_second=bytes_per_second, lease_seconds=2)
    source = _Endless(seconds)
    with Ledger(url) as ledger:
        leases = Leases(ledger, new_holder(), seconds=policy.lease_seconds)
        with TaskPacing(ledger, policy, source.name, leases, StopFlag()) as pacing:
            assert pacing.wait_for_turn(lambda: True)
            assert leases.acquire(STUDY, [study])
            archive = PacedArchive(source, pacing)  # type: ignore[arg-type]
            archive.retrieve_study(study, CountingSink())
    return source.samples


def move(
    url: str, host: str, port: int, called: str, landings: list[list[Any]], study: str, folder: str
) -> Any:
    """Lease a landing, wait until the other worker has one, too, and retrieve a study by C-MOVE."""
    held = held_from(real_file("CT_small.dcm"))
    with Ledger(url) as ledger:
        leases = Leases(ledger, new_holder())
        addresses = [LandingAddress(title, number) for title, number in landings]
        landing = wait_for_landing(leases, addresses, StopFlag(), lambda: True)
        assert landing is not None
        meet(folder, landing.ae_title, len(landings))
        settings = DimseSettings(
            host,
            port,
            called,
            retrieve_method="C-MOVE",
            move_destination_ae_title=landing.ae_title,
            landing_host="127.0.0.1",
            landing_port=landing.port,
        )
        rounds = []
        with DimseArchive(settings) as archive:
            for _ in range(5):
                began = time.monotonic()
                sink = CountingSink()
                outcome = archive.retrieve_study(study, sink)
                rounds.append([began, time.monotonic(), outcome.delivered])
        leases.release_all()
    assert held.record.study_instance_uid == study
    return {"landing": landing.ae_title, "rounds": rounds}


def main() -> None:
    """Run ``workers.<name>(**arguments)`` and print its result as JSON on the last line."""
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(globals()[name](**arguments)))
