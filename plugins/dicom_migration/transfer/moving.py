"""One study received while the one before it is completed, and how long each phase takes.

A study's end is waiting: for the target to answer, for the manifest to be stored, for the ledger.
Most studies are small, so that without this a worker would wait as long as it receives.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from dicom_migration.pacing.metrics import PREFIX
from dicom_migration.pacing.paced_archive import PacedArchive
from dicom_migration.pacing.task_pacing import Unpaced
from dicom_migration.transfer.shard_queue import Work
from dicom_migration.transfer.study_transfer import ReceivedStudy, StudyResult, StudyTransfer


@dataclass(slots=True)
class Moving:
    """A study that is moved, and how often that was begun."""

    work: Work
    measure: Measure
    attempts: int = 0


class Mover:
    """Receives studies in the caller's thread, and completes one at a time in another.

    Attributes
    ----------
    former
        The study that is being completed, and its result to come.
    """

    def __init__(self, transfer: StudyTransfer, completing: ThreadPoolExecutor) -> None:
        self.former: tuple[Moving, Future[StudyResult]] | None = None
        self._transfer = transfer
        self._completing = completing

    def receive(self, work: Work) -> ReceivedStudy | StudyResult:
        """See :meth:`StudyTransfer.receive`."""
        return self._transfer.receive(work.settings, work.wave_id, work.chain)

    def receive_and_complete(self, work: Work) -> StudyResult:
        """Do both here and now."""
        received = self.receive(work)
        if isinstance(received, StudyResult):
            return received
        return self._transfer.complete(received)

    def give_up(self, received: ReceivedStudy | StudyResult) -> None:
        """Leave a received study to another run."""
        if isinstance(received, ReceivedStudy):
            self._transfer.give_up(received)

    def begin_to_complete(self, study: Moving, received: ReceivedStudy) -> None:
        """Let a study be completed; the one before has ended."""

        def complete() -> StudyResult:
            with study.measure.finishing():
                return self._transfer.complete(received)

        self.former = study, self._completing.submit(complete)


class Measure:
    """Times one study's phases; receiving by what the archive's clocks show before and after."""

    def __init__(self, archive: PacedArchive, pacing: Unpaced) -> None:
        self._archive = archive
        self._pacing = pacing
        self._phases: dict[str, float] = {}
        self._finish_s = 0.0
        self._before = self._clocks()

    def received(self) -> None:
        """Say that the source is done with."""
        query, retrieve, waited = (
            after - before for after, before in zip(self._clocks(), self._before, strict=True)
        )
        self._phases = {"query": query, "retrieve": retrieve, "wait": waited}

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Time what comes after."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._finish_s = time.perf_counter() - began

    def report(self, result: StudyResult) -> None:
        """Send the study's figures."""
        metrics = self._pacing.metrics
        for phase, seconds in {**self._phases, "finish": self._finish_s}.items():
            metrics.seconds(f"{PREFIX}.transfer.seconds", max(seconds, 0.0), phase=phase)
        metrics.count(f"{PREFIX}.transfer.studies", state=result.state.value)
        metrics.count(f"{PREFIX}.transfer.instances", result.instances)
        metrics.count(f"{PREFIX}.transfer.bytes_received", result.bytes_received)
        metrics.count(f"{PREFIX}.transfer.bytes_stored", result.bytes_stored)

    def _clocks(self) -> tuple[float, float, float]:
        return self._archive.query_s, self._archive.retrieve_s, self._pacing.waited_s
