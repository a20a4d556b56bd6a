"""The work of one mapped task: every study of a shard, one failing study stopping no other."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.collector import imports_set_aside
from dicom_migration.errors import MigrationError, ReasonCode, TransientError
from dicom_migration.ledger import Ledger
from dicom_migration.pacing.metrics import PREFIX
from dicom_migration.pacing.paced_archive import PacedArchive
from dicom_migration.pacing.repeating import Repeating
from dicom_migration.pacing.task_pacing import STUDY, Unpaced
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.moving import Measure, Mover, Moving
from dicom_migration.transfer.progress import PROGRESS_SECONDS, Progress
from dicom_migration.transfer.shard_queue import ShardQueue, Work, transfer_chain
from dicom_migration.transfer.shards import Shard
from dicom_migration.transfer.spool import MemoryBudget, TransferMemory
from dicom_migration.transfer.streak import Streak
from dicom_migration.transfer.study_faults import note_of, quarantine_study
from dicom_migration.transfer.study_transfer import StudyResult, StudyTransfer
from dicom_migration.units import MIB

__all__ = ["transfer_chain", "transfer_shard"]

log = logging.getLogger(__name__)
_T = TypeVar("_T")
WAIT_FOR_OTHERS_S = 1.0
_NO_STUDYS_FAULT = frozenset({ReasonCode.LEDGER_UNAVAILABLE, ReasonCode.LEDGER_CONFLICT})
"""Never a reason to set a study aside: the ledger may have answered again just to note it."""


def transfer_shard(
    archive: ImageArchive,
    store: CloudStore,
    ledger: Ledger,
    shard: Shard,
    policy: TransferPolicy,
    *,
    last_try: bool,
    may_go_on: Callable[[], bool] = lambda: True,
    pacing: Unpaced | None = None,
) -> dict[str, int | float]:
    """Transfer what is left of a shard and return counts, bytes and seconds.

    Studies that source or target failed in passing are tried again, first here, then by the
    task's retry. On the `last_try` such a study is quarantined with the reason, so that the rest
    of the wave goes on; but only where others got through: when nothing does, the peer is down,
    and no study is to blame. `may_go_on` is asked between studies: the shard stops when it says
    no, and ``left`` says how many studies wait for the next time.

    With a :class:`~dicom_migration.pacing.task_pacing.TaskPacing` the worker shares limits with
    all others, claims each study before it moves it, and takes studies that a person asked for
    before its own; they count as ``requested``.

    Raises
    ------
    TransientError
        Some studies are left for the next try; of kind ``StoppedError`` when the task was told
        to stop.
    PermanentError
        Source or target refuse us altogether.
    """
    pacing = pacing or Unpaced()
    run = _ShardRun(archive, store, ledger, shard, policy, pacing)
    try:
        with imports_set_aside():
            run.move_all(may_go_on)
        run.settle(last_try)
    finally:
        run.queue.close()
    return run.summary()


class _ShardRun:
    """What one call of :func:`transfer_shard` keeps in mind."""

    def __init__(
        self,
        archive: ImageArchive,
        store: CloudStore,
        ledger: Ledger,
        shard: Shard,
        policy: TransferPolicy,
        pacing: Unpaced,
    ) -> None:
        self.queue = ShardQueue(ledger, shard, archive.name, policy, pacing.leases)
        self._archive = PacedArchive(archive, pacing)
        self._store = store
        self._ledger = ledger
        self._shard = shard
        self._policy = policy
        self._pacing = pacing
        self._memory = TransferMemory(
            in_transit=MemoryBudget(policy.spool_memory_mib * MIB),
            packed=MemoryBudget(policy.packed_memory_mib * MIB),
        )
        self._arrived: dict[str, tuple[int, int]] = {}  # by study, until it has ended
        self._progress = Progress(shard, self.queue.total, self.queue.promised, self._under_way)
        self._results: list[StudyResult] = []
        self._guests: list[StudyResult] = []
        self._left: dict[str, MigrationError] = {}
        self._streak = Streak(policy.give_up_after_studies)
        self._losses: Counter[str] = Counter()
        self._retries = 0
        self._guest_failed = False

    def move_all(self, may_go_on: Callable[[], bool]) -> None:
        """Move study after study until none is left, none may go on, or the peer is down.

        While one study is completed, the next is received: what the target takes to answer, and
        the ledger to write, costs no time at the source.
        """
        threads = self._policy.upload_threads
        with (
            ThreadPoolExecutor(threads, thread_name_prefix="upload") as uploads,
            ThreadPoolExecutor(1, thread_name_prefix="complete") as completing,
            Repeating("progress", PROGRESS_SECONDS, self._progress.log),
        ):
            transfer = StudyTransfer(
                self._archive, self._store, self._ledger, uploads, threads, self._memory
            )
            mover = Mover(transfer, completing)
            try:
                self._move_each(mover, may_go_on)
            finally:
                self._end_former(mover)
        self._progress.log()

    def _move_each(self, mover: Mover, may_go_on: Callable[[], bool]) -> None:
        while not self._streak.is_everybodys:
            if not self.queue.waiting:
                if mover.former is None:
                    return
                self._end_former(mover)  # which may put it back
                continue
            if not self._pacing.wait_for_turn(may_go_on):
                return
            work = self.queue.take(own_first=self._guest_failed)
            if work is not None:
                self._move(work, mover)
            elif mover.former is not None:
                self._end_former(mover)
            elif self.queue.waiting:
                # Another worker is at what is left here: it was asked for. The wave can only
                # be closed when that has ended, so it is awaited, without loading the source.
                self._pacing.let_go()
                self._pacing.stop.sleep(WAIT_FOR_OTHERS_S)

    def settle(self, last_try: bool) -> None:
        """Quarantine what failed on the last try, or raise for another."""
        ours = any(error.reason in _NO_STUDYS_FAULT for error in self._left.values())
        if self._left and (self._streak.is_everybodys or ours or not last_try):
            raise _unfinished(self._shard, self._left)
        for uid, trouble in list(self._left.items()):
            if self.queue.claim(uid) is None:
                raise _unfinished(self._shard, self._left)  # somebody asked for it: it is moved now
            quarantine_study(
                self._ledger, transfer_chain(self._shard), uid, [note_of(uid, trouble)]
            )

    def summary(self) -> dict[str, int | float]:
        """Return what was done, for the task's XCom."""
        states = Counter(result.state.value for result in self._results)
        moved = [*self._results, *self._guests]
        recompression: Counter[str] = Counter()
        for result in moved:
            recompression.update(result.recompression)
        return {
            "studies": len(self._results) + len(self._left),
            "transferred": states["transferred"],
            "quarantined": states["quarantined"] + len(self._left),
            "requested": len(self._guests),
            "elsewhere": self.queue.elsewhere,
            "left": self.queue.waiting,
            "retries": self._retries,
            "instances": sum(result.instances for result in moved),
            "bytes_received": sum(result.bytes_received for result in moved),
            "bytes_stored": sum(result.bytes_stored for result in moved),
            "seconds": round(self._progress.seconds, 3),
            "seconds_querying": round(self._archive.query_s, 3),
            "seconds_retrieving": round(self._archive.retrieve_s, 3),
            "seconds_waiting": round(self._pacing.waited_s, 3),
            **{f"recompression.{name}": count for name, count in sorted(recompression.items())},
        }

    def _move(self, work: Work, mover: Mover) -> None:
        """Receive a study, and leave it to be completed once the one before it is."""
        study = Moving(work, Measure(self._archive, self._pacing))
        try:
            received = self._with_attempts(study, mover.receive)
            self._arrived[work.uid] = self._archive.under_way()
        except TransientError as error:
            self._left_for_another_try(study, error)
            return
        finally:
            study.measure.received()
            self._archive.study_ended()
        try:
            self._end_former(mover)
        except BaseException:
            mover.give_up(received)
            raise
        if isinstance(received, StudyResult):
            self._ended(study, received)
        else:
            mover.begin_to_complete(study, received)

    def _end_former(self, mover: Mover) -> None:
        """Wait until the study that is being completed is, if there is one."""
        former, mover.former = mover.former, None
        if former is None:
            return
        study, completed = former
        try:
            try:
                result = completed.result()
            except TransientError as error:
                self._try_again(study, error)
                result = self._with_attempts(study, mover.receive_and_complete)
        except TransientError as error:
            self._left_for_another_try(study, error)
        else:
            self._ended(study, result)

    def _under_way(self) -> tuple[int, int]:
        """Return instances and bytes received of studies that have not ended."""
        counts = [self._archive.under_way(), *self._arrived.copy().values()]
        return sum(n for n, _ in counts), sum(n_bytes for _, n_bytes in counts)

    def _ended(self, study: Moving, result: StudyResult) -> None:
        work = study.work
        self._arrived.pop(work.uid, None)
        self.queue.done(work)
        if not work.is_guest:
            self._progress.ended(result)
        (self._guests if work.is_guest else self._results).append(result)
        study.measure.report(result)
        self._guest_failed = False
        self._streak.ended_as(result)

    def _left_for_another_try(self, study: Moving, error: TransientError) -> None:
        work = study.work
        self._pacing.stop.check()
        lost = self._lost(work)
        self._arrived.pop(work.uid, None)
        self.queue.done(work)
        if lost and self._losses[work.uid] < self._policy.study_attempts:
            log.warning("%s", error)
            self._losses[work.uid] += 1
            self.queue.put_back(work)
            return
        log.warning("Study %s is left for another try: %s", work.uid, error)
        # What a guest meets may be its own trouble, and asked-for studies come first to every
        # worker: an own study comes next, and tells whether it is everybody's.
        self._guest_failed = work.is_guest
        if not work.is_guest:
            self._left[work.uid] = error
            self._streak.failed(error)
            self._progress.ended(None)

    def _with_attempts(self, study: Moving, move: Callable[[Work], _T]) -> _T:
        while True:
            study.attempts += 1
            try:
                return move(study.work)
            except TransientError as error:
                self._try_again(study, error)

    def _try_again(self, study: Moving, error: TransientError) -> None:
        """Go on to another attempt, or raise `error` when there is to be none."""
        work = study.work
        stopped = self._pacing.stop.is_set
        if study.attempts >= self._policy.study_attempts or stopped or self._lost(work):
            raise error
        self._retries += 1
        self._pacing.metrics.count(f"{PREFIX}.transfer.retries", reason=error.reason.value)
        log.info("Trying study %s again: %s", work.uid, error.reason)

    def _lost(self, work: Work) -> bool:
        leases = self._pacing.leases
        return leases is not None and not leases.holds(STUDY, work.uid)


def _unfinished(shard: Shard, left: dict[str, MigrationError]) -> TransientError:
    reasons = Counter(error.reason.value for error in left.values())
    told = ", ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items()))
    uid, error = next(iter(left.items()))
    return TransientError(
        f"Wave {shard.wave_id} shard {shard.number}: at least {len(left)} studies are left for "
        f"another try ({told}). First, study {uid}: {error.message}",
        reason=error.reason,
        next_step=error.next_step or "Nothing: the task tries again after a pause.",
    )
