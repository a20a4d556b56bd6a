"""The worker's disk is full, or the ledger is away: nobody's study is to blame."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicom_migration.archive import ImageArchive, InstanceIdentity
from dicom_migration.archive.dicomweb import DicomWebArchive, DicomWebSettings
from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.archive.folder import FolderArchive, FolderSettings
from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.ledger import Ledger, database, schema
from dicom_migration.transfer import study_sink
from dicom_migration.transfer.instance_pass import examine
from include.peers import Orthanc
from include.peers.postgres import Postgres
from include.peers.process import wait_until
from tests.conftest import require
from tests.integration.cloud.fault_proxy import FaultProxy
from tests.integration.cloud.http_faults import Fault
from tests.integration.transfer.faults.conftest import Begin
from tests.integration.transfer.faults.migration import POLICY, Migration, put_wave
from tests.integration.transfer.faults.sample import FIRST, LAST, VICTIM, WHOLE, Sample

#: Far less than the minute that we wait for SQLite's lock.
_LOCKED_SECONDS = 1.0
_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(sample: Sample) -> Iterator[FolderArchive]:
    with FolderArchive(FolderSettings(sample.folder)) as opened:
        yield opened


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte; the large instance needs more."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(params=["C-GET", "C-MOVE", "DICOMweb", "folder"])
def archive(
    request: pytest.FixtureRequest, settings: DimseSettings, orthanc: Orthanc, sample: Sample
) -> Iterator[ImageArchive]:
    opened: ImageArchive
    if request.param == "folder":
        opened = FolderArchive(FolderSettings(sample.folder))
    elif request.param == "DICOMweb":
        opened = DicomWebArchive(DicomWebSettings(orthanc.dicomweb_url))
    else:
        opened = DimseArchive(replace(settings, retrieve_method=request.param))
    with opened:
        yield opened


@pytest.mark.peers
def test_a_full_disk_leaves_what_does_not_fit_and_the_others_go_on(
    begin: Begin, archive: ImageArchive, tiny_disk: Path
) -> None:
    migration = begin()
    policy = POLICY.model_copy(update={"spool_folder": str(tiny_disk)})
    with pytest.raises(TransientError, match="Free space") as caught:
        migration.run(archive, policy=policy)
    migration.check_left(LAST, caught.value, *[("failed", "disk_full")] * 2)
    migration.check_moved(FIRST, VICTIM)
    assert list(tiny_disk.iterdir()) == [], "nothing with PHI is left"
    assert os.statvfs(tiny_disk).f_bavail == os.statvfs(tiny_disk).f_blocks, "nor open unnamed"
    assert migration.run(archive)["studies"] == 1
    migration.check_moved(*WHOLE)


@pytest.mark.parametrize("trouble", [MemoryError(), OSError(errno.EIO, "Input/output error")])
def test_a_worker_whose_memory_or_disk_gives_out_blames_no_study(
    begin: Begin,
    folder: FolderArchive,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Exception,
) -> None:
    migration = begin()

    def give_out(identity: InstanceIdentity, *rest: Any) -> Any:
        if identity.sop_instance_uid.startswith(VICTIM):
            raise trouble
        return examine(identity, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(study_sink, "examine", give_out)
        with pytest.raises(TransientError, match="Look at the worker's memory") as caught:
            migration.run(folder)
    migration.check_left(VICTIM, caught.value, *[("failed", "worker_failed")] * 2)
    migration.check_moved(FIRST, LAST)
    assert migration.run(folder)["studies"] == 1
    migration.check_moved(*WHOLE)


def test_a_ledger_on_a_full_disk_is_waited_for(
    begin: Begin, folder: FolderArchive, tiny_disk: Path
) -> None:
    migration = begin()
    larger = ["mount", "-o", "remount,size=4m", str(tiny_disk)]  # an empty ledger has to fit
    subprocess.run(larger, check=True)
    path = tiny_disk / "ledger.db"
    migration.ledger.close()
    path.write_bytes(Path(migration.ledger.engine.url.database or "").read_bytes())
    with Ledger(f"sqlite:///{path}") as ledger:
        migration.ledger = ledger
        ballast = tiny_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        with pytest.raises(TransientError) as caught:
            migration.run(folder)
        assert caught.value.reason is ReasonCode.LEDGER_UNAVAILABLE
        ballast.unlink()
        migration.run(folder)
        migration.check_moved(*WHOLE)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    require(Postgres.available(), "postgresql")
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        with Ledger(server.url) as ledger:
            ledger.upgrade()
        yield server


@pytest.fixture
def on_postgres(postgres: Postgres, begin: Begin, proxy: FaultProxy) -> Iterator[Migration]:
    """A migration whose ledger is on a server that can be stopped; its bucket is behind `proxy`."""
    migration = begin(url=proxy.url)
    with Ledger(postgres.url) as ledger:
        with ledger.write() as connection:
            for table in reversed(schema.metadata.sorted_tables):
                connection.execute(table.delete())
        put_wave(ledger)
        migration.ledger = ledger
        yield migration


@pytest.mark.peers
def test_a_ledger_that_stops_inside_a_study_is_gone_on_with_when_it_is_back(
    begin: Begin,
    on_postgres: Migration,
    postgres: Postgres,
    proxy: FaultProxy,
    folder: FolderArchive,
) -> None:
    undisturbed = begin()
    undisturbed.run(folder)
    # After the bucket took the instance, before the ledger learns of it.
    proxy.script(
        Fault.calling(postgres.stop, forward=True), method="PUT", path_contains=f"{VICTIM}.1.2"
    )
    with pytest.raises(TransientError, match="Check that the ledger's database runs") as caught:
        on_postgres.run(folder, last_try=True)
    assert caught.value.reason is ReasonCode.LEDGER_UNAVAILABLE
    postgres.start()
    assert on_postgres.state(VICTIM) == "transferring"
    # The one before it was being completed meanwhile, the one after it may have been begun.
    left = [study for study in WHOLE if on_postgres.state(study) != "transferred"]
    assert {VICTIM, LAST} <= set(left)
    assert not any(on_postgres.reasons(study) for study in WHOLE)
    assert on_postgres.run(folder)["studies"] == len(left)
    assert on_postgres.attempts(VICTIM) == [("interrupted", ""), ("transferred", "")]
    assert on_postgres.end() == undisturbed.end()


@pytest.mark.peers
def test_a_ledger_that_restarts_between_two_steps_is_not_noticed(
    begin: Begin,
    on_postgres: Migration,
    postgres: Postgres,
    proxy: FaultProxy,
    folder: FolderArchive,
) -> None:
    undisturbed = begin()
    undisturbed.run(folder)

    def restart() -> None:
        postgres.stop()
        postgres.start()

    proxy.script(Fault.calling(restart, forward=True), method="PUT", path_contains=f"{VICTIM}.1.2")
    assert on_postgres.run(folder)["transferred"] == len(WHOLE)
    assert on_postgres.attempts(VICTIM) == [("transferred", "")]
    assert on_postgres.end() == undisturbed.end()


@contextlib.contextmanager
def locked(ledger: Ledger) -> Iterator[Callable[[], None]]:
    """Let another process hold the write lock of a SQLite ledger; gives what releases it."""
    command = [sys.executable, "-c", _LOCKER, ledger.engine.url.database or ""]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        try:
            yield process.stdin.close
        finally:
            process.stdin.close()
            assert wait_until(lambda: process.poll() is not None, 10)


def test_a_ledger_that_another_process_locks_is_waited_for(
    begin: Begin, proxy: FaultProxy, folder: FolderArchive
) -> None:
    migration = begin(url=proxy.url)
    with contextlib.ExitStack() as stack:

        def lock_for_a_while() -> None:
            release = stack.enter_context(locked(migration.ledger))
            threading.Timer(_LOCKED_SECONDS, release).start()

        proxy.script(
            Fault.calling(lock_for_a_while, forward=True),
            method="PUT",
            path_contains=f"{VICTIM}.1.2",
        )
        began = time.monotonic()
        assert migration.run(folder)["transferred"] == len(WHOLE)
    assert time.monotonic() - began > _LOCKED_SECONDS
    assert migration.attempts(VICTIM) == [("transferred", "")]
    migration.check_moved(*WHOLE)


def test_a_ledger_that_stays_locked_stops_the_task_and_blames_no_study(
    begin: Begin, folder: FolderArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_TIMEOUT_MS", 100)  # instead of a minute
    migration = begin()
    with locked(migration.ledger):
        with pytest.raises(TransientError) as caught:
            migration.run(folder, last_try=True)
        assert caught.value.reason is ReasonCode.LEDGER_UNAVAILABLE
        assert caught.value.next_step
    for study in WHOLE:
        assert (migration.state(study), migration.attempts(study)) == ("cleansed", [])
        assert migration.reasons(study) == []
    assert migration.objects() == {}
    migration.run(folder)
    migration.check_moved(*WHOLE)
