"""The sink a study is received into: spools each instance, stores it while the next arrives."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from dicom_migration.archive import InstanceIdentity, InstanceRecord
from dicom_migration.errors import (
    CONCERNS_EVERYBODY,
    MigrationError,
    PermanentError,
    ReasonCode,
    TransientError,
)
from dicom_migration.manifest import ManifestRow
from dicom_migration.transfer.instance_pass import Examined, PassSettings, examine
from dicom_migration.transfer.layouts import Layout
from dicom_migration.transfer.part10 import part10_header
from dicom_migration.transfer.spool import MemoryBudget, Spool
from dicom_migration.uids import checked_uid


@dataclass(frozen=True, slots=True)
class RefusedInstance:
    """An instance that was received and must not count as stored."""

    sop_instance_uid: str
    reason: ReasonCode
    detail: str
    next_step: str


class StudySink:
    """Receives one study; :meth:`finish` waits for the uploads and tells what became of each.

    `rows` describes what is stored; `arrived` names what was received and found right, whether it
    is stored or waits for the rest of its series. Whoever makes a sink ends with :meth:`abandon`.

    At most one instance more than there are upload threads is held at a time: a slow target
    slows the source down instead of filling memory.
    """

    def __init__(
        self,
        layout: Layout,
        uploads: ThreadPoolExecutor,
        threads: int,
        settings: PassSettings,
        budget: MemoryBudget,
    ) -> None:
        self.rows: list[ManifestRow] = []
        self.arrived: set[str] = set()
        self.refused: list[RefusedInstance] = []
        self.received = 0
        self.bytes_received = 0
        self._last_size = 0  # the next instance is often as large
        self._layout = layout
        self._uploads = uploads
        self._settings = settings
        self._budget = budget
        self._slots = threading.BoundedSemaphore(threads + 1)
        self._pending: list[Future[None]] = []
        self._lock = threading.Lock()
        self._trouble: MigrationError | None = None

    def expect(self, instances: Sequence[InstanceRecord]) -> None:
        """Learn what the source lists of the study, before or after what it sent at first."""
        self._drain()
        self._layout.expect(instances)

    def open(self, identity: InstanceIdentity) -> _StudyWriter:
        """Begin one instance; raises the target's trouble as soon as it is known."""
        if self._trouble is not None:
            raise self._trouble
        checked = InstanceIdentity(
            checked_uid(identity.sop_class_uid, "SOP Class UID"),
            checked_uid(identity.sop_instance_uid, "SOP Instance UID"),
            checked_uid(identity.transfer_syntax_uid, "Transfer Syntax UID"),
        )
        return _StudyWriter(self, checked)

    def finish(self) -> None:
        """Wait until every received instance is stored or refused.

        Raises
        ------
        MigrationError
            The target's trouble: the study is to be tried again, or the target set right.
        """
        self._drain()
        if self._trouble is not None:
            raise self._trouble
        if not self.refused:  # else the study cannot be transferred as it is
            self.rows.extend(self._layout.finish())
        self._refuse_conflicts()

    def abandon(self) -> None:
        """Wait for what is under way, and forget what is not stored; safe after `finish`."""
        self._drain()
        self._layout.discard()

    def _drain(self) -> None:
        pending, self._pending = self._pending, []
        for future in pending:
            future.result()

    def new_spool(self, identity: InstanceIdentity) -> Spool:
        """Return an empty spool that begins with the Part 10 header."""
        header, folder = part10_header(identity), self._settings.spool_folder
        return Spool(header, self._budget, folder, expected=self._last_size)

    def accept(self, identity: InstanceIdentity, spool: Spool) -> None:
        """Take a complete instance; blocks while too many wait for the target.

        Raises
        ------
        TransientError
            The disk is full.
        """
        spool.seal()
        self.received += 1
        self.bytes_received += spool.dataset_bytes
        self._last_size = spool.size
        self._slots.acquire()
        self._pending.append(self._uploads.submit(self._pass, identity, spool))

    def _pass(self, identity: InstanceIdentity, spool: Spool) -> None:
        try:
            examined = self._examined(identity, spool)
            with self._lock:
                self.arrived.add(identity.sop_instance_uid)
            rows = self._layout.keep(examined)
            with self._lock:
                self.rows.extend(rows)
        except TransientError as error:
            self._trouble = error
        except PermanentError as error:
            if error.reason in CONCERNS_EVERYBODY:
                self._trouble = error
                return
            self._refuse(identity.sop_instance_uid, error.reason, error.message, error.next_step)
        except Exception as error:  # noqa: BLE001 - one hostile instance must not stop the rest
            if _is_the_workers(error):
                self._trouble = _worker_failed(error)
                return
            self._refuse(
                identity.sop_instance_uid,
                ReasonCode.HEADER_UNREADABLE,
                f"The instance could not be processed ({type(error).__name__}).",
                "Look at the instance with dcmdump at the source; repair or exclude it.",
            )
        finally:
            self._slots.release()

    def _examined(self, identity: InstanceIdentity, spool: Spool) -> Examined:
        try:
            return examine(identity, spool, self._settings, self._budget)
        except BaseException:
            spool.close()
            raise

    def _refuse(self, uid: str, reason: ReasonCode, detail: str, next_step: str) -> None:
        with self._lock:
            self.refused.append(RefusedInstance(uid, reason, detail, next_step))

    def _refuse_conflicts(self) -> None:
        """Keep one row of equal twins; name those that share a UID and differ."""
        first: dict[str, ManifestRow] = {}
        kept: list[ManifestRow] = []
        for row in sorted(self.rows, key=lambda r: (r.sop_instance_uid, r.object_key)):
            twin = first.setdefault(row.sop_instance_uid, row)
            if twin is row:
                kept.append(row)
            elif twin.dataset_sha256 != row.dataset_sha256:
                self.refused.append(
                    RefusedInstance(
                        row.sop_instance_uid,
                        ReasonCode.INSTANCE_CONFLICT,
                        "The source delivered two different datasets under one SOP Instance UID; "
                        "both are kept under distinct keys.",
                        "Compare both objects and decide which is right.",
                    )
                )
        self.rows = kept


def _is_the_workers(error: Exception) -> bool:
    """Tell a disk or a memory that fails from a decoder that says OSError of bad data."""
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno is not None
    )


def _worker_failed(error: Exception) -> TransientError:
    said = error.strerror if isinstance(error, OSError) else "no memory left"
    return TransientError(
        f"The worker could not process an instance: {said}.",
        reason=ReasonCode.WORKER_FAILED,
        next_step="Look at the worker's memory and at the disk of its temporary folder.",
    )


class _StudyWriter:
    """Writes one instance into a spool of the sink."""

    def __init__(self, sink: StudySink, identity: InstanceIdentity) -> None:
        self._sink = sink
        self._identity = identity
        self._spool = sink.new_spool(identity)

    def write(self, data: bytes | memoryview) -> None:
        self._spool.write(data)

    def commit(self) -> None:
        self._sink.accept(self._identity, self._spool)

    def abort(self, reason: str) -> None:
        self._spool.close()
