"""How large an audit must be, and what a sample proves about all the others.

Exact throughout: binomial for an endless population, hypergeometric for a finite one, and for a
stratified sample the worst distribution of the defects over the strata.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: What floating point may be off by where a probability is exactly the one asked for.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Drawn:
    """One stratum: how many there are, and how many of them were examined."""

    size: int
    examined: int


def sample_size(
    defect_rate: float, confidence: float, population: int | None = None, failures: int = 0
) -> int:
    """Return how many to examine so that at most `failures` defects bound the rate.

    The smallest n for which ``defect_rate`` or more defects would have shown more than `failures`
    with `confidence`; of a finite `population` at most all.
    """
    miss = 1 - confidence + _ROUNDING
    if population is None:
        low, high = failures, 64
        while _binomial_cdf(failures, high, defect_rate) > miss:
            low, high = high, high * 2
        return _bisect(low, high, lambda n: _binomial_cdf(failures, n, defect_rate) <= miss)
    defects = min(population, math.ceil(defect_rate * population - 1e-9))
    if defects <= failures:
        return population
    return _bisect(
        0, population, lambda n: _hypergeometric_cdf(failures, population, defects, n) <= miss
    )


def upper_bound(strata: Sequence[Drawn], failures: int, confidence: float) -> float:
    """Return the share of defects that the sample does not exclude with `confidence`, 0 to 1.

    Without failures it is exact for the worst way in which defects can lie in the strata. With
    failures it is Clopper and Pearson's, which Hoeffding (1956) shows to hold for independent
    draws of unequal chance, scaled to the stratum that was sampled most thinly.
    """
    population = sum(stratum.size for stratum in strata)
    examined = sum(stratum.examined for stratum in strata)
    if not population:
        return 0.0
    if examined >= population:
        return failures / population
    if not failures:
        return _left_possible(strata, confidence) / population
    thinnest = min(stratum.examined / stratum.size for stratum in strata if stratum.size)
    if not thinnest:
        return 1.0
    return min(
        1.0, _clopper_pearson(failures, examined, confidence) * examined / (thinnest * population)
    )


def _left_possible(strata: Sequence[Drawn], confidence: float) -> int:
    """Return the most defects that a clean sample misses with more than ``1 - confidence``.

    In a stratum of N, one defect more is missed with ``1 - n / (N - defects)``, a falling factor:
    taking the largest factor among the strata each time is therefore the worst distribution.
    """
    budget = -math.log(1 - confidence) if confidence < 1 else math.inf
    heap = [(_cost(stratum, 0), number, 0) for number, stratum in enumerate(strata)]
    heapq.heapify(heap)
    defects, spent = 0, 0.0
    while heap:
        cost, number, held = heapq.heappop(heap)
        if math.isinf(cost) or spent + cost >= budget - _ROUNDING:
            break
        spent += cost
        defects += 1
        heapq.heappush(heap, (_cost(strata[number], held + 1), number, held + 1))
    return defects


def _cost(stratum: Drawn, held: int) -> float:
    left = stratum.size - held
    if left <= stratum.examined:
        return math.inf
    return -math.log1p(-stratum.examined / left)


def _clopper_pearson(failures: int, examined: int, confidence: float) -> float:
    if failures >= examined:
        return 1.0
    low, high = failures / examined, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _binomial_cdf(failures, examined, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _binomial_cdf(most: int, draws: int, rate: float) -> float:
    if rate >= 1:
        return 1.0 if most >= draws else 0.0
    terms = (
        math.exp(_log_choose(draws, k) + k * math.log(rate) + (draws - k) * math.log1p(-rate))
        for k in range(min(most, draws) + 1)
    )
    return math.fsum(terms)


def _hypergeometric_cdf(most: int, population: int, defects: int, draws: int) -> float:
    whole = _log_choose(population, draws)
    terms = (
        math.exp(_log_choose(defects, k) + _log_choose(population - defects, draws - k) - whole)
        for k in range(max(0, draws - population + defects), min(most, draws, defects) + 1)
    )
    return math.fsum(terms)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _bisect(low: int, high: int, enough: Callable[[int], bool]) -> int:
    """Return the smallest number above `low`, at most `high`, that is enough."""
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high
