"""Figures reach whatever Airflow's metrics settings name."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk._shared.observability.metrics import stats

from dicom_migration.operators.stats import AirflowMetrics


class Backend:
    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def incr(self, stat: str, count: int = 1, **more: Any) -> None:
        self.sent.append(("incr", stat, count, more["tags"]))

    def gauge(self, stat: str, value: float, **more: Any) -> None:
        self.sent.append(("gauge", stat, value, more["tags"]))

    def timing(self, stat: str, dt: float, **more: Any) -> None:
        self.sent.append(("timing", stat, dt, more["tags"]))


def test_counts_gauges_and_durations_arrive_with_their_tags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = Backend()
    monkeypatch.setattr(stats, "_backend", backend)
    metrics = AirflowMetrics()
    metrics.count("dicom_migration.transfer.instances", 7, state="transferred")
    metrics.gauge("dicom_migration.governor.level", 4, source="PACS")
    metrics.seconds("dicom_migration.transfer.seconds", 1.5, phase="retrieve")
    assert backend.sent == [
        ("incr", "dicom_migration.transfer.instances", 7, {"state": "transferred"}),
        ("gauge", "dicom_migration.governor.level", 4, {"source": "PACS"}),
        ("timing", "dicom_migration.transfer.seconds", 1500, {"phase": "retrieve"}),
    ]
