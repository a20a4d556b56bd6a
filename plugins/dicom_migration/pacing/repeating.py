"""Doing something every few seconds beside the main work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from dicom_migration.errors import MigrationError

log = logging.getLogger(__name__)


class Repeating:
    """Calls `action` every `seconds` in a thread of its own, from entry to exit of the context.

    An action that fails is tried again at its next turn: what runs here watches the work, and
    must never stop it.

    Parameters
    ----------
    patience_s
        How long to wait at the end for an action under way; the thread is a daemon, and one that
        hangs in a dead connection does not hold the process up.
    """

    def __init__(
        self, name: str, seconds: float, action: Callable[[], object], *, patience_s: float = 5.0
    ) -> None:
        self._seconds = seconds
        self._action = action
        self._patience_s = patience_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        """Begin; the first call comes after one interval."""
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""
        self._ended.set()
        self._thread.join(self._patience_s)

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._action()
            except MigrationError as error:
                log.warning("%s: %s", self._thread.name, error)
            except Exception as error:  # noqa: BLE001 - the work beside it must go on
                # The type alone: the text of a library's error may quote a value.
                log.warning("%s failed (%s)", self._thread.name, type(error).__name__)
