"""Bytes a second: a token bucket that makes the receiver wait, and so the source."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BURST_S = 0.25
"""What may be taken at once after a pause, in seconds of the rate; one piece at least."""


class TokenBucket:
    """Lets bytes through at a rate; whoever took more than there was waits until it is made good.

    Waiting in the receiver fills the connection's buffers, and TCP slows the sender down.

    Parameters
    ----------
    rate
        Bytes a second, None without a limit; may be set anew at any time.
    clock
        Seconds, monotonic.
    sleep
        Waits for so many seconds; may return early.
    """

    def __init__(
        self,
        rate: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.waited_s = 0.0
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = 0.0
        self._filled_at = clock()

    @property
    def rate(self) -> float | None:
        """Bytes a second, None without a limit."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        with self._lock:
            self._fill(0)
            self._rate = rate

    def took(self, n_bytes: int) -> None:
        """Account for bytes that were received; returns when the next may come."""
        if self._rate is None:
            return
        with self._lock:
            self._fill(n_bytes)
            self._tokens -= n_bytes
            wait = -self._tokens / self._rate if self._rate else 0.0
        if wait > 0:
            began = self._clock()
            self._sleep(wait)
            self.waited_s += self._clock() - began

    def _fill(self, piece: int) -> None:
        now = self._clock()
        if self._rate is not None:
            earned = (now - self._filled_at) * self._rate
            self._tokens = min(self._tokens + earned, max(BURST_S * self._rate, piece))
        self._filled_at = now
