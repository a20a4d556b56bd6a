"""The work of one mapped task: every study of a shard, one failing study stopping no other."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import select

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import (
    MAY_CONCERN_EVERYBODY,
    MigrationError,
    PermanentError,
    ReasonCode,
    TransientError,
)
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, schema
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.approved_corrections import approved_corrections
from dicom_migration.transfer.instance_pass import PassSettings
from dicom_migration.transfer.shards import TO_MOVE, Shard
from dicom_migration.transfer.study_faults import PHASE
from dicom_migration.transfer.study_transfer import (
    StudyResult,
    StudyTransfer,
    quarantine_study,
)
from dicom_migration.units import MIB, human_bytes

log = logging.getLogger(__name__)
PROGRESS_SECONDS = 5.0


def transfer_chain(shard: Shard) -> EventChain:
    """Return the event chain that a shard's transfer writes."""
    return EventChain(f"wave:{shard.wave_id}/shard-{shard.number}")


def transfer_shard(
    archive: ImageArchive,
    store: CloudStore,
    ledger: Ledger,
    shard: Shard,
    policy: TransferPolicy,
    *,
    last_try: bool,
    may_go_on: Callable[[], bool] = lambda: True,
) -> dict[str, int | float]:
    """Transfer what is left of a shard and return counts, bytes and seconds.

    Studies that source or target failed in passing are tried again, first here, then by the
    task's retry. On the `last_try` such a study is quarantined with the reason, so that the rest
    of the wave goes on; but only where others got through: when nothing does, the peer is down,
    and no study is to blame. `may_go_on` is asked between studies: the shard stops when it says
    no, and ``left`` says how many studies wait for the next time.

    Raises
    ------
    TransientError
        Some studies are left for the next try.
    PermanentError
        Source or target refuse us altogether.
    """
    started = time.monotonic()
    studies = _studies_left(ledger, shard, archive.name, policy)
    chain = transfer_chain(shard)
    results: list[StudyResult] = []
    streak = Streak(policy.give_up_after_studies)
    left: dict[str, MigrationError] = {}
    next_line = started + PROGRESS_SECONDS
    with ThreadPoolExecutor(policy.upload_threads, thread_name_prefix="upload") as uploads:
        memory = policy.spool_memory_mib * MIB
        transfer = StudyTransfer(
            archive, store, ledger, chain, uploads, policy.upload_threads, memory
        )
        for settings in studies:
            if not may_go_on():
                break
            try:
                result = _with_attempts(transfer, settings, shard, policy)
            except TransientError as error:
                log.warning(
                    "Study %s is left for another try: %s", settings.study_instance_uid, error
                )
                left[settings.study_instance_uid] = error
                if streak.failed(error):
                    break
            else:
                results.append(result)
                streak.ended_as(result)
            if time.monotonic() >= next_line:
                _log_progress(shard, results, len(studies), started)
                next_line = time.monotonic() + PROGRESS_SECONDS
    _log_progress(shard, results, len(studies), started)
    if left and (streak.is_everybodys or not last_try):
        raise _unfinished(shard, left)
    for uid, trouble in left.items():
        quarantine_study(ledger, chain, uid, [_note(uid, trouble)])
    waiting = len(studies) - len(results) - len(left)
    return _summary(results, left, waiting, time.monotonic() - started)


class Streak:
    """Tells one study's trouble from everybody's: the same trouble `limit` times in a row."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._length = 0
        self._reason: ReasonCode | None = None

    @property
    def is_everybodys(self) -> bool:
        """Whether the last `limit` studies all failed."""
        return self._length >= self._limit

    def failed(self, error: MigrationError) -> bool:
        """Note a passing failure; return whether it is everybody's by now."""
        self._reason = error.reason
        self._length += 1
        return self.is_everybodys

    def ended_as(self, result: StudyResult) -> None:
        """Note a study that came to an end.

        Raises
        ------
        PermanentError
            The last studies were all refused for one reason that is rarely a study's own.
        """
        if result.reason not in MAY_CONCERN_EVERYBODY:
            self._length, self._reason = 0, None
            return
        self._length = self._length + 1 if result.reason is self._reason else 1
        self._reason = result.reason
        if self.is_everybodys:
            raise PermanentError(
                f"The source refused {self._length} studies in a row for the same reason.",
                reason=result.reason,
                next_step="Look at their exceptions and at the source's configuration; then plan "
                "the quarantined studies again.",
            )


def _with_attempts(
    transfer: StudyTransfer, settings: PassSettings, shard: Shard, policy: TransferPolicy
) -> StudyResult:
    for attempt in range(1, policy.study_attempts + 1):
        try:
            return transfer.run(settings, shard.wave_id)
        except TransientError as error:
            if attempt == policy.study_attempts:
                raise
            log.info("Trying study %s again: %s", settings.study_instance_uid, error.reason)
    raise AssertionError("unreachable")


def _studies_left(
    ledger: Ledger, shard: Shard, source: str, policy: TransferPolicy
) -> list[PassSettings]:
    table = schema.study.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(
                table.study_instance_uid,
                table.storage_class,
                table.layout,
                table.number_of_instances,
            )
            .where(
                table.wave_id == shard.wave_id,
                table.shard == shard.number,
                table.state.in_(TO_MOVE),
            )
            .order_by(table.study_instance_uid)
        ).all()
        corrections = approved_corrections(connection, shard.wave_id)
    return [
        PassSettings(
            study_instance_uid=row.study_instance_uid,
            source=source,
            storage_class=row.storage_class or "STANDARD",
            corrections=corrections.get(row.study_instance_uid, ()),
            spool_folder=Path(policy.spool_folder) if policy.spool_folder else None,
            recompression=policy.recompression,
            layout=policy.layout_of(row.layout),
            packed_memory_bytes=policy.packed_memory_mib * MIB,
            max_packed_bytes=policy.max_packed_mib * MIB,
            promised_instances=row.number_of_instances,
        )
        for row in rows
    ]


def _log_progress(shard: Shard, results: Sequence[StudyResult], total: int, started: float) -> None:
    seconds = max(time.monotonic() - started, 1e-3)
    received = sum(result.bytes_received for result in results)
    log.info(
        "Wave %s shard %d: %d of %d studies, %d instances, %s, %s/s",
        shard.wave_id,
        shard.number,
        len(results),
        total,
        sum(result.instances for result in results),
        human_bytes(received),
        human_bytes(received / seconds),
    )


def _summary(
    results: Sequence[StudyResult],
    left: dict[str, MigrationError],
    waiting: int,
    seconds: float,
) -> dict[str, int | float]:
    states = Counter(result.state.value for result in results)
    recompression: Counter[str] = Counter()
    for result in results:
        recompression.update(result.recompression)
    return {
        "studies": len(results) + len(left),
        "transferred": states["transferred"],
        "quarantined": states["quarantined"] + len(left),
        "left": waiting,
        "instances": sum(result.instances for result in results),
        "bytes_received": sum(result.bytes_received for result in results),
        "bytes_stored": sum(result.bytes_stored for result in results),
        "seconds": round(seconds, 3),
        **{f"recompression.{name}": count for name, count in sorted(recompression.items())},
    }


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


def _note(uid: str, error: MigrationError) -> ExceptionNote:
    return ExceptionNote(error.reason, PHASE, uid, "", "", error.message, error.next_step)
