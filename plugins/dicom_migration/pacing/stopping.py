"""Being told to stop: a flag that a signal handler may set, and that every wait looks at."""

from __future__ import annotations

import time

from dicom_migration.errors import ReasonCode, TransientError

_SLICE_S = 0.1


class StoppedError(TransientError):
    """The task was told to stop; what it had not finished is left for the next one."""

    default_reason = ReasonCode.TASK_STOPPED


class StopFlag:
    """Set once, by whoever stops the task.

    A plain attribute: a signal handler runs in the middle of anything, and taking a lock there
    (as :class:`threading.Event` does) could wait for the very code it interrupted.
    """

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        """Ask for the stop; safe in a signal handler."""
        self.is_set = True

    def sleep(self, seconds: float) -> None:
        """Sleep for so long, or until the flag is set."""
        until = time.monotonic() + seconds
        while not self.is_set and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))

    def check(self) -> None:
        """Raise when the flag is set.

        Raises
        ------
        StoppedError
            It is.
        """
        if self.is_set:
            raise StoppedError(
                "The task was told to stop.",
                next_step="Nothing: the next run of the task goes on with what is left.",
            )
