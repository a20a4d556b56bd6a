"""One task's part in the control that all workers share: its turn, its share, its leases."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.ledger import Ledger
from dicom_migration.pacing.associations import KIND as ASSOCIATION
from dicom_migration.pacing.associations import AssociationTurns
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.metrics import NO_METRICS, PREFIX, Metrics
from dicom_migration.pacing.probing import present_level
from dicom_migration.pacing.repeating import Repeating
from dicom_migration.pacing.stopping import StopFlag
from dicom_migration.pacing.throttle import TokenBucket
from dicom_migration.policies.throttle import ThrottlePolicy

log = logging.getLogger(__name__)

BEAT_S = 3.0
STUDY = "study"


class Pace(Protocol):
    """What a receiver tells the bytes it got to; the call returns when the next may come."""

    def took(self, n_bytes: int) -> None:
        """Account for bytes received."""


class Unpaced:
    """No control: one worker alone, as in a test or a benchmark."""

    leases: Leases | None = None
    metrics: Metrics = NO_METRICS
    stop = StopFlag()
    waited_s = 0.0
    level = 0

    @property
    def limits_bytes(self) -> bool:
        """Whether :meth:`took` has to be called for each piece."""
        return False

    def took(self, n_bytes: int) -> None:
        """Let all bytes pass."""

    def wait_for_turn(self, may_go_on: Callable[[], bool]) -> bool:
        """Go on when the caller may."""
        return may_go_on()

    def let_go(self) -> None:
        """Nothing is held."""

    def check(self, study_instance_uid: str) -> None:
        """Everything may go on."""


class TaskPacing(Unpaced):
    """Takes part in the shared control from entry to exit of the context.

    Parameters
    ----------
    scope
        The source, by its archive's name.
    leases
        All that this task holds; renewed here every few seconds, given back at the exit.
    stop
        Set when the task is to stop.
    """

    def __init__(
        self,
        ledger: Ledger,
        policy: ThrottlePolicy,
        scope: str,
        leases: Leases,
        stop: StopFlag,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self.leases: Leases = leases
        self.metrics = metrics
        self.stop = stop
        self.level = policy.max_associations
        self._ledger = ledger
        self._policy = policy
        self._scope = scope
        self._bucket = TokenBucket(policy.bytes_per_second, sleep=stop.sleep)
        self._turns = AssociationTurns(leases, scope, lambda: self.level, stop)
        self._beat = Repeating("pacing", min(BEAT_S, leases.seconds / 4), self.beat)

    def __enter__(self) -> Self:
        """Begin to renew and to look."""
        self._look()
        self._beat.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give everything back."""
        self._beat.__exit__(exc_type, exc, traceback)
        self.leases.release_all()

    @property
    def limits_bytes(self) -> bool:
        """Whether a limit of bytes a second is set."""
        return self._policy.bytes_per_second is not None

    @property
    def waited_s(self) -> float:  # type: ignore[override]
        """Seconds spent waiting for bytes and for a turn."""
        return self._bucket.waited_s + self._turns.waited_s

    def took(self, n_bytes: int) -> None:
        """Account for received bytes; waits until our share allows the next."""
        self._bucket.took(n_bytes)

    def wait_for_turn(self, may_go_on: Callable[[], bool]) -> bool:
        """Wait until one more worker may load the source; False when the caller must end.

        Raises
        ------
        StoppedError
            The task was told to stop.
        """
        turn = self._turns.wait(may_go_on)
        self.stop.check()
        if turn:
            with contextlib.suppress(TransientError):  # the beat looks again
                self._look()
        return turn

    def let_go(self) -> None:
        """Leave the turn to another worker while we have nothing to ask the source for."""
        self._turns.let_go()

    def check(self, study_instance_uid: str) -> None:
        """Raise when the study may not go on: called before each instance.

        Raises
        ------
        StoppedError
            The task was told to stop.
        TransientError
            With reason ``ledger_conflict``: the study's lease could not be renewed in time, so
            that another worker may have it.
        """
        self.stop.check()
        if not self.leases.holds(STUDY, study_instance_uid):
            raise TransientError(
                f"The lease of study {study_instance_uid} ran out while it was moved.",
                reason=ReasonCode.LEDGER_CONFLICT,
                next_step="Nothing: it is tried again. When it happens often, look at the ledger's "
                "availability and at the workers' clocks.",
                study_instance_uid=study_instance_uid,
            )

    def beat(self) -> None:
        """Renew what is held and look what the others do."""
        self.leases.renew()
        self._look()

    def _look(self) -> None:
        most = self._policy.max_associations
        governed = self._policy.governor.enabled
        self.level = present_level(self._ledger, self._scope, most) if governed else most
        workers = self.leases.active(ASSOCIATION)
        if self._policy.bytes_per_second is not None:
            self._bucket.rate = self._policy.bytes_per_second / max(1, workers)
        self.metrics.gauge(f"{PREFIX}.transfer.workers", workers)
