"""Slower than before, or only noisy: a run compared with the runs before it.

Retrievals of a CT and of an X-ray differ more than good days from bad ones, and the sample need
not be the same each time. So samples are compared within their stratum (modality, storage class,
access path) and on a logarithmic scale: the statistic is the mean ratio. A permutation test asks
how often a ratio as large comes up when the labels "now" and "before" are dealt at random within
each stratum, and its p-value is held against `alpha` divided by the number of comparisons
(Bonferroni). Samples of one run share that run's weather, which the test does not know: therefore
the run's mean must also lie outside what the spread of the earlier runs' means predicts for one
more of their kind (Student's t, the same `alpha`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_migration.policies.slas import Trend
from dicom_migration.retrieval.samples import EarlierRun, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

Key = tuple[str, str, str]
Stratum = tuple[str, str, str]
#: The least p-value that so many permutations can show is one in 5,000.
PERMUTATIONS = 4999


@dataclass(frozen=True, slots=True)
class Comparison:
    """One side, operation and temperature, now and before.

    Attributes
    ----------
    ratio
        How many times as long as before, like with like (geometric mean).
    p_value
        Probability of so large a ratio if nothing had changed.
    is_beyond_runs
        Whether the run lies outside what the spread of the earlier ones predicts.
    """

    side: str
    operation: str
    temperature: str
    ratio: float
    p_value: float
    is_beyond_runs: bool
    n_now: int
    n_before: int
    verdict: str

    def told(self) -> str:
        """Return it as one line without PHI."""
        return (
            f"{self.operation} on {self.side}, {self.temperature}: {self.ratio:.2f} times as long "
            f"as in earlier runs (p={self.p_value:.4f}, n={self.n_now} and {self.n_before}): "
            f"{self.verdict}"
        )


def compare_runs(
    now: Sequence[Sample], earlier: Sequence[EarlierRun], policy: Trend, seed: int
) -> list[Comparison]:
    """Compare every group that has enough samples; fewer runs than ``min_runs`` prove nothing.

    ``verdict`` is ``slower``, ``faster`` or ``within noise``. Failed retrievals are not compared.
    """
    if len(earlier) < policy.min_runs:
        return []
    current = _grouped(now)
    past = [_grouped(run.samples) for run in earlier]
    pairs = {
        key: _Pair.of(values, [run[key] for run in past if key in run])
        for key, values in sorted(current.items())
    }
    enough = {key: pair for key, pair in pairs.items() if pair.has_enough(policy)}
    return [
        _comparison(key, pair, policy, policy.alpha / len(enough), seed)
        for key, pair in enough.items()
    ]


Logs = dict[Stratum, list[float]]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Logarithms of seconds by stratum, of this run and of each earlier one."""

    now: Logs
    runs: tuple[Logs, ...]

    @classmethod
    def of(cls, now: Logs, runs: Sequence[Logs]) -> _Pair:
        """Keep the strata that occur on both sides."""
        before = {stratum for run in runs for stratum in run}
        shared = set(now) & before
        kept = [{s: v for s, v in run.items() if s in shared} for run in runs]
        return cls({s: now[s] for s in sorted(shared)}, tuple(run for run in kept if run))

    def before(self, stratum: Stratum) -> list[float]:
        return [value for run in self.runs for value in run.get(stratum, [])]

    def has_enough(self, policy: Trend) -> bool:
        n_before = sum(len(self.before(stratum)) for stratum in self.now)
        least = policy.min_samples
        return len(self.runs) >= policy.min_runs and min(_count(self.now), n_before) >= least


def _comparison(key: Key, pair: _Pair, policy: Trend, alpha: float, seed: int) -> Comparison:
    effect, permuted = _permute(pair, seed)
    p_slower = (1 + int((permuted >= effect - 1e-12).sum())) / (PERMUTATIONS + 1)
    p_faster = (1 + int((permuted <= effect + 1e-12).sum())) / (PERMUTATIONS + 1)
    baseline = {s: _mean(pair.before(s)) for s in pair.now}
    others = [_above(run, baseline) for run in pair.runs]
    is_beyond = abs(_above(pair.now, baseline) - _mean(others)) > _spread(others, policy.alpha)
    ratio = math.exp(effect)
    verdict = "within noise"
    if p_slower <= alpha and ratio >= policy.min_slowdown and is_beyond:
        verdict = "slower"
    elif p_faster <= alpha and ratio <= 1 / policy.min_slowdown and is_beyond:
        verdict = "faster"
    p_value = min(1.0, p_slower if effect >= 0 else p_faster)
    n_before = sum(len(pair.before(s)) for s in pair.now)
    return Comparison(*key, ratio, p_value, is_beyond, _count(pair.now), n_before, verdict)


def _permute(pair: _Pair, seed: int) -> tuple[float, Values]:
    """Return the mean log ratio, and what it is under random labels."""
    import numpy as np

    generator = np.random.default_rng(seed)
    effect, permuted = 0.0, np.zeros(PERMUTATIONS)
    whole = _count(pair.now)
    for stratum, values in pair.now.items():
        before = pair.before(stratum)
        pooled = np.asarray([*values, *before])
        here, weight = len(values), len(values) / whole
        effect += weight * (_mean(values) - _mean(before))
        dealt = generator.permuted(np.tile(pooled, (PERMUTATIONS, 1)), axis=1)
        permuted += weight * (dealt[:, :here].mean(axis=1) - dealt[:, here:].mean(axis=1))
    return effect, permuted


def _grouped(samples: Sequence[Sample]) -> dict[Key, Logs]:
    groups: dict[Key, Logs] = {}
    for sample in samples:
        if not math.isfinite(sample.seconds) or sample.operation == "restore":
            continue
        key = (sample.side, sample.operation, sample.temperature)
        stratum = (sample.modality, sample.storage_class, sample.access)
        logs = groups.setdefault(key, {}).setdefault(stratum, [])
        logs.append(math.log(max(sample.seconds, 1e-6)))
    return groups


def _above(logs: Logs, baseline: dict[Stratum, float]) -> float:
    """Return how far a run lies above the mean of the earlier ones, like with like."""
    return sum(value - baseline[s] for s, values in logs.items() for value in values) / _count(logs)


def _spread(runs: Sequence[float], alpha: float) -> float:
    """Return how far one more run of that kind may lie from the mean of `runs` (two or more)."""
    import numpy as np

    mean = _mean(runs)
    variance = sum((value - mean) ** 2 for value in runs) / (len(runs) - 1)
    drawn = np.random.default_rng(0).standard_t(len(runs) - 1, 100_000)
    factor = float(np.quantile(drawn, 1 - alpha))
    return factor * math.sqrt(variance * (1 + 1 / len(runs)))


def _count(logs: Logs) -> int:
    return sum(len(values) for values in logs.values())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
