"""How fast the migration goes: measured where transfers are in the ledger, assumed where not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.strategy import Throughput

_ATTEMPT = schema.attempt.c
#: The newest transfers that are looked at: days of work, and little to read.
_NEWEST = 50_000


@dataclass(frozen=True, slots=True)
class Speed:
    """Sustained from source to target; the slower of the two decides."""

    bytes_per_second: float
    instances_per_second: float

    def seconds(self, size: int, instances: int) -> float:
        """Return how long so many bytes in so many instances take."""
        return max(size / self.bytes_per_second, instances / self.instances_per_second)


@dataclass(frozen=True, slots=True)
class SpeedRange:
    """The best, the expected and the worst speed, and where they are from.

    `measured_hours` is 0 when they are assumed.
    """

    optimistic: Speed
    expected: Speed
    pessimistic: Speed
    measured_hours: int


def speed_range(connection: Connection, policy: Throughput) -> SpeedRange:
    """Return the speeds of the ledger's newest transfers, or what the policy assumes."""
    hours = _whole_hours(
        connection.execute(
            select(_ATTEMPT.ended_at, _ATTEMPT.bytes, _ATTEMPT.instances)
            .where(
                _ATTEMPT.phase == "transfer",
                _ATTEMPT.outcome == "transferred",
                _ATTEMPT.ended_at.is_not(None),
            )
            .order_by(_ATTEMPT.attempt_id.desc())
            .limit(_NEWEST)
        )
    )
    if len(hours) < policy.measured_hours:
        return _assumed(policy)
    return SpeedRange(
        optimistic=_quantile(hours, 0.75),
        expected=_quantile(hours, 0.5),
        pessimistic=_quantile(hours, 0.25),
        measured_hours=len(hours),
    )


def _assumed(policy: Throughput) -> SpeedRange:
    def times(factor: float) -> Speed:
        return Speed(
            policy.megabytes_per_second * 1e6 * factor, policy.instances_per_second * factor
        )

    return SpeedRange(times(policy.optimistic), times(1), times(policy.pessimistic), 0)


def _whole_hours(rows: Iterable[tuple[datetime, int, int]]) -> list[tuple[float, float]]:
    """Return bytes and instances a second of each hour in which transfers ended.

    Without the first and the last hour of a stretch: they were not worked to the full.
    """
    hours: dict[int, list[int]] = {}
    for ended, size, instances in rows:
        hour = hours.setdefault(int(ended.timestamp()) // 3600, [0, 0])
        hour[0] += size
        hour[1] += instances
    return [
        (size / 3600, instances / 3600)
        for hour, (size, instances) in sorted(hours.items())
        if hour - 1 in hours and hour + 1 in hours and size and instances
    ]


def _quantile(hours: list[tuple[float, float]], part: float) -> Speed:
    at = round(part * (len(hours) - 1))
    sizes, instances = (sorted(hour[which] for hour in hours) for which in (0, 1))
    return Speed(sizes[at], instances[at])
