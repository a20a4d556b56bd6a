"""Figures of a running transfer, through Airflow's own stats (StatsD or OpenTelemetry)."""

from __future__ import annotations

from airflow.sdk.observability import stats


class AirflowMetrics:
    """A :class:`dicom_migration.pacing.Metrics` that Airflow's metrics settings lead on."""

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        """Add to a counter."""
        stats.incr(name, amount, tags=tags)

    def gauge(self, name: str, value: float, **tags: str) -> None:
        """Set a gauge."""
        stats.gauge(name, value, tags=tags)

    def seconds(self, name: str, duration: float, **tags: str) -> None:
        """Record a duration; Airflow's timings are milliseconds."""
        stats.timing(name, duration * 1000, tags=tags)
