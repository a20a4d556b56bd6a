"""One study is received while the one before it is completed; neither answers for the other."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicom_migration.archive import InstanceRecord, InstanceSink, RetrieveOutcome
from dicom_migration.archive.folder import FolderArchive, FolderSettings
from dicom_migration.errors import PermanentError
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.stopping import StopFlag, StoppedError
from dicom_migration.pacing.task_pacing import STUDY, TaskPacing
from dicom_migration.policies.throttle import ThrottlePolicy
from dicom_migration.transfer import shard_transfer
from dicom_migration.transfer.progress import Progress
from dicom_migration.transfer.shard_transfer import transfer_shard
from tests.integration.cloud.fault_proxy import FaultProxy
from tests.integration.cloud.http_faults import Fault
from tests.integration.transfer.faults.conftest import Begin
from tests.integration.transfer.faults.migration import POLICY, SHARD, Migration
from tests.integration.transfer.faults.sample import FIRST, LAST, Sample

BOTH = (FIRST, LAST)
#: The last write of a study, before the ledger's.
END_OF_FIRST = {"method": "PUT", "path_contains": f"{FIRST}/manifest"}
AWAY = ("failed", "target_unreachable")
MOVED = ("transferred", "")
_LONG_S = 20


class AnnouncingArchive(FolderArchive):
    """Tells when a study has been received."""

    def __init__(self, settings: FolderSettings) -> None:
        super().__init__(settings)
        self.awaited: list[bool] = []
        self.may_receive_last = threading.Event()
        self.may_receive_last.set()
        self._received: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    def await_received(self, study: str) -> None:
        self.awaited.append(self._received[study].wait(_LONG_S))

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: Sequence[InstanceRecord] = (),
    ) -> RetrieveOutcome:
        if study_instance_uid == LAST:
            self.may_receive_last.wait(_LONG_S)
        outcome = super().retrieve_study(study_instance_uid, sink, expected)
        self._received[study_instance_uid].set()
        return outcome


@pytest.fixture
def archive(sample: Sample) -> Iterator[AnnouncingArchive]:
    with AnnouncingArchive(FolderSettings(sample.folder)) as opened:
        yield opened


@pytest.fixture
def migration(begin: Begin, proxy: FaultProxy) -> Migration:
    return begin(studies=BOTH, url=proxy.url, max_attempts=1)


def test_the_next_study_arrives_while_one_waits_for_the_bucket(
    migration: Migration, proxy: FaultProxy, archive: AnnouncingArchive
) -> None:
    proxy.script(Fault.calling(lambda: archive.await_received(LAST), forward=True), **END_OF_FIRST)
    assert migration.run(archive)["transferred"] == 2
    assert archive.awaited == [True]
    migration.check_moved(*BOTH)


def test_a_study_that_is_completed_has_not_vanished_from_the_progress(
    migration: Migration,
    proxy: FaultProxy,
    archive: AnnouncingArchive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Progress] = []
    lines: list[str] = []

    def remembered(*arguments: Any) -> Progress:
        made.append(Progress(*arguments))
        return made[-1]

    def look() -> None:
        lines.append(made[0].line())
        archive.may_receive_last.set()

    monkeypatch.setattr(shard_transfer, "Progress", remembered)
    archive.may_receive_last.clear()
    proxy.script(Fault.calling(look, forward=True), **END_OF_FIRST)
    assert migration.run(archive)["transferred"] == 2
    assert "0 of 2 studies, 2 instances" in lines[0]
    assert "2 of 2 studies, 4 instances" in made[0].line()


def test_a_study_that_is_completed_in_vain_is_tried_again_and_the_next_one_is_not(
    migration: Migration, proxy: FaultProxy, archive: AnnouncingArchive
) -> None:
    fault = Fault(call=lambda: archive.await_received(LAST), reset=True)
    proxy.script(fault, times=2, **END_OF_FIRST)  # the second request is boto3's
    summary = migration.run(archive)
    assert (summary["transferred"], summary["retries"]) == (2, 1)
    assert migration.attempts(FIRST) == [AWAY, MOVED]
    assert migration.attempts(LAST) == [MOVED]
    migration.check_moved(*BOTH)


def test_what_stops_everybody_gives_the_received_study_up_without_a_trace(
    migration: Migration, proxy: FaultProxy, archive: AnnouncingArchive, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    refusal = replace(Fault.error(403, "AccessDenied"), call=lambda: archive.await_received(LAST))
    proxy.script(refusal, times=-1, **END_OF_FIRST)
    policy = POLICY.model_copy(update={"spool_folder": str(spool)})
    with pytest.raises(PermanentError) as caught:
        migration.run(archive, last_try=True, policy=policy)
    assert archive.awaited[0], "it was received before the bucket refused"
    migration.check_left(FIRST, caught.value, ("failed", "target_rejected"))
    migration.check_unblamed(LAST)
    assert list(spool.iterdir()) == []
    proxy.clear()
    assert migration.run(archive)["transferred"] == 2
    assert migration.attempts(LAST) == [("interrupted", ""), MOVED]
    migration.check_moved(*BOTH)


@pytest.mark.parametrize("stopped", [False, True])
def test_no_other_worker_gets_either_study_meanwhile(
    migration: Migration, proxy: FaultProxy, archive: AnnouncingArchive, stopped: bool
) -> None:
    stop = StopFlag()
    other = Leases(migration.ledger, "other")
    got: list[str | None] = []

    def look() -> None:
        archive.await_received(LAST)
        got.extend(other.acquire(STUDY, [study]) for study in BOTH)
        if stopped:
            stop.set()

    proxy.script(Fault.calling(look, forward=True), **END_OF_FIRST)
    leases = Leases(migration.ledger, "ours")
    with TaskPacing(migration.ledger, ThrottlePolicy(), "source", leases, stop) as pacing:
        try:
            transfer_shard(
                *(archive, migration.store, migration.ledger, SHARD, POLICY),
                last_try=False,
                pacing=pacing,
            )
        except StoppedError:
            assert stopped
    assert (archive.awaited, got) == ([True], [None, None])
    if stopped:
        assert migration.run(archive)["left"] == 0
    migration.check_moved(*BOTH)
    assert [other.acquire(STUDY, [study]) for study in BOTH] == list(BOTH)
