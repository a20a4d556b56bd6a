"""Where figures go while a transfer runs; the names are those of ``docs/observability.md``."""

from __future__ import annotations

from typing import Protocol

PREFIX = "dicom_migration"


class Metrics(Protocol):
    """Takes figures for a monitoring system; tags are few, and never patient data."""

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        """Add `amount` to a counter."""

    def gauge(self, name: str, value: float, **tags: str) -> None:
        """Set a value that goes up and down."""

    def seconds(self, name: str, duration: float, **tags: str) -> None:
        """Add one duration, in seconds."""


class _NoMetrics:
    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        pass

    def gauge(self, name: str, value: float, **tags: str) -> None:
        pass

    def seconds(self, name: str, duration: float, **tags: str) -> None:
        pass


#: Forgets everything.
NO_METRICS: Metrics = _NoMetrics()
