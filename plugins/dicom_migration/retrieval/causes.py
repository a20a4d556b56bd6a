"""Why a promise was broken: which stage the slow retrievals spent their time in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from dicom_migration.retrieval.samples import Sample

#: The causes, in the order of the stages.
QUEUE = "queueing"
NETWORK = "network"
DECODE = "decode"
FIRST_BYTE = {"cloud": "S3 first byte", "source": "source first byte"}
#: The slowest tenth stands for a high percentile.
_TAIL = 0.1


@dataclass(frozen=True, slots=True)
class Cause:
    """What took the time, and how large a part of it, of so many slow samples."""

    name: str
    share: float
    samples: int

    def told(self) -> str:
        """Return it as a clause without PHI."""
        if not self.samples:
            return "cause unknown"
        return f"{self.name} ({self.share:.0%} of the {self.samples} slowest)"


def likely_cause(samples: Sequence[Sample], limit_seconds: float) -> Cause:
    """Return what took most of the time of the samples beyond the limit.

    When none is, of the slowest tenth. Failures are a cause of their own when they are more than
    the slow ones. The round trip that a new connection shows is the network's, also where the
    first byte contains one.
    """
    if not samples:
        return Cause("", 0, 0)
    failed = [sample for sample in samples if math.isinf(sample.seconds)]
    tail = _slowest([s for s in samples if math.isfinite(s.seconds)], limit_seconds)
    slow = [sample for sample in tail if sample.seconds > limit_seconds]
    if failed and len(failed) >= len(slow):
        reason, count = Counter(sample.error_reason for sample in failed).most_common(1)[0]
        return Cause(f"failures: {reason or 'unknown'}", count / len(failed), len(failed))
    if tail[0].operation == "restore":
        return Cause("archive tier", 1.0, len(tail))
    spent = time_by_cause(tail, round_trip(samples))
    total = sum(spent.values())
    if not total:
        return Cause("", 0, 0)
    name = max(spent, key=lambda cause: spent[cause])
    return Cause(name, spent[name] / total, len(tail))


def time_by_cause(samples: Sequence[Sample], round_trip_s: float = 0.0) -> dict[str, float]:
    """Return the seconds that each cause took in all samples together."""
    spent: dict[str, float] = {}
    for sample in samples:
        stages = sample.stages
        first_byte = stages.first_byte_s or 0.0
        way = min(first_byte, round_trip_s) if sample.side == "cloud" else 0.0
        network = way + (stages.connect_s or 0.0) + (stages.transfer_s or 0.0)
        for cause, seconds in (
            (QUEUE, stages.queue_s or 0.0),
            (NETWORK, network),
            (FIRST_BYTE.get(sample.side, "first byte"), first_byte - way),
            (DECODE, stages.decode_s or 0.0),
        ):
            spent[cause] = spent.get(cause, 0.0) + seconds
    return spent


def round_trip(samples: Sequence[Sample]) -> float:
    """Return what a round trip takes at most (seconds), 0 when no new connection was opened.

    A third of a new connection: TCP takes one round trip, TLS up to two more.
    """
    connects = [
        sample.stages.connect_s
        for sample in samples
        if sample.operation == "first_image" and sample.stages.connect_s
    ]
    return median(connects) / 3 if connects else 0.0


def _slowest(samples: Sequence[Sample], limit_seconds: float) -> list[Sample]:
    ordered = sorted(samples, key=lambda sample: sample.seconds, reverse=True)
    beyond = [sample for sample in ordered if sample.seconds > limit_seconds]
    return beyond or ordered[: max(1, round(len(ordered) * _TAIL))]
