"""How many workers load the source at once: numbered slots, leased, as many as are allowed."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable

from dicom_migration.errors import TransientError
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.stopping import StopFlag

log = logging.getLogger(__name__)

KIND = "association"
POLL_S = 1.0
_LONGEST_SCOPE = 100


def slot_name(scope: str, number: int) -> str:
    """Return the name of a slot (from 1) of a source; long names of sources are cut and hashed."""
    if len(scope) > _LONGEST_SCOPE:
        scope = f"{scope[:80]}~{hashlib.sha256(scope.encode()).hexdigest()[:16]}"
    return f"{scope}#{number:03d}"


def slot_prefix(scope: str) -> str:
    """Return what the names of all slots of a source begin with."""
    return slot_name(scope, 0)[:-3]


class AssociationTurns:
    """One worker's turn at the source.

    Only between studies does a worker let go: a study under way is never cut off for it.

    Parameters
    ----------
    scope
        The source.
    allowed
        Returns how many workers may load the source now, at least 1.
    """

    def __init__(
        self, leases: Leases, scope: str, allowed: Callable[[], int], stop: StopFlag
    ) -> None:
        self.waited_s = 0.0
        self._leases = leases
        self._scope = scope
        self._allowed = allowed
        self._stop = stop
        self._slot: str | None = None
        self._is_away = False

    def wait(self, may_go_on: Callable[[], bool]) -> bool:
        """Return True once it is our turn, False when we may not go on any more.

        A ledger that is away is waited for.

        Raises
        ------
        PermanentError
            The ledger refuses us for good.
        """
        if self._is_ours():
            return may_go_on() and not self._stop.is_set
        began = time.monotonic()
        told = False
        while may_go_on() and not self._stop.is_set:
            if self._acquire():
                self.waited_s += time.monotonic() - began
                return True
            if not told:
                log.info("Waiting for a turn: %d workers may load the source", self._allowed())
                told = True
            self._stop.sleep(POLL_S)
        self.waited_s += time.monotonic() - began
        return False

    def let_go(self) -> None:
        """Leave the turn to another worker."""
        if self._slot is not None:
            self._leases.release(KIND, self._slot)
            self._slot = None

    def _is_ours(self) -> bool:
        """Tell whether we hold a slot that is still allowed; let go of one that is not."""
        if self._slot is None or not self._leases.holds(KIND, self._slot):
            return False
        if self._slot in self._slots():
            return True
        self.let_go()
        return False

    def _acquire(self) -> bool:
        try:
            self._slot = self._leases.acquire(KIND, self._slots())
        except TransientError as error:
            if not self._is_away:  # once, not every second of an outage
                log.warning("No turn can be had while the ledger is away: %s", error)
            self._slot, self._is_away = None, True
        else:
            self._is_away = False
        return self._slot is not None

    def _slots(self) -> list[str]:
        return [slot_name(self._scope, number) for number in range(1, self._allowed() + 1)]
