"""Percentiles of waiting times, with the confidence that the number of samples allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PERCENTILES = (50.0, 90.0, 95.0, 99.0)
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A percentile of `n` samples in seconds, and its 95% confidence interval."""

    percentile: float
    seconds: float
    low: float
    high: float
    n: int


def nearest_rank(values: Sequence[float], percentile: float) -> float:
    """Return the smallest value that at least `percentile` percent of the values do not exceed.

    The nearest-rank definition: always a value that was measured, and sound with infinities,
    which stand for retrievals that failed. NaN when there are no values.
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    rank = max(1, math.ceil(percentile / 100 * len(ordered) - 1e-9))
    return ordered[rank - 1]


def estimate(
    values: Sequence[float], percentile: float, *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Return a percentile with its bootstrap interval (percentile method), seeded.

    With few samples the interval of a high percentile is honest only downwards: nothing above
    the slowest sample can be known.
    """
    import numpy as np

    n = len(values)
    point = nearest_rank(values, percentile)
    if n < 2:
        return Estimate(percentile, point, point, point, n)
    generator = np.random.default_rng(seed)
    drawn = np.sort(np.asarray(values)[generator.integers(0, n, (resamples, n))], axis=1)
    rank = max(1, math.ceil(percentile / 100 * n - 1e-9))
    points = np.sort(drawn[:, rank - 1])
    tail = (1 - CONFIDENCE) / 2
    low = points[math.floor(tail * (resamples - 1))]
    high = points[math.ceil((1 - tail) * (resamples - 1))]
    return Estimate(percentile, point, float(low), float(high), n)
