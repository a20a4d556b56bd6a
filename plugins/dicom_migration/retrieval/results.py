"""The samples of a benchmark summed up: percentiles a group, and what became of each promise."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, note_exceptions, schema
from dicom_migration.policies.slas import SlaPolicy, SlaRule
from dicom_migration.retrieval.statistics import PERCENTILES, Estimate, estimate

if TYPE_CHECKING:
    from pandas import DataFrame

PHASE = "retrieval"
#: Columns of the frame that the expectation suite judges; seconds are finite.
ROW_COLUMNS = ["rule", "side", "operation", "percentile", "seconds", "limit_seconds", "n"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One kept measurement; `seconds` is infinite when the retrieval failed."""

    side: str
    operation: str
    temperature: str
    modality: str
    storage_class: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Group:
    """Samples of one side, operation and temperature (and modality, "" for all of them)."""

    side: str
    operation: str
    temperature: str
    modality: str
    failed: int
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class RuleResult:
    """A promise, and what was measured of it; `n` is 0 when no sample fits."""

    rule: SlaRule
    estimate: Estimate

    @property
    def outcome(self) -> str:
        """``kept``, ``breached`` or ``not measured``."""
        if self.estimate.n == 0:
            return "not measured"
        return "kept" if self.estimate.seconds <= self.rule.seconds else "breached"

    def as_row(self) -> dict[str, object]:
        """Return the row that the expectation suite judges; seconds are finite."""
        return {
            "rule": self.rule.name,
            "side": self.rule.side,
            "operation": self.rule.operation,
            "percentile": self.rule.percentile,
            "seconds": min(self.estimate.seconds, 1e9),
            "limit_seconds": self.rule.seconds,
            "n": self.estimate.n,
        }

    def told(self) -> str:
        """Return the result as one line without PHI."""
        rule, measured = self.rule, self.estimate
        return (
            f"{rule.name}: p{rule.percentile:g} of {rule.operation} on {rule.side} "
            f"{seconds_text(measured.seconds)} (95% CI {seconds_text(measured.low)} to "
            f"{seconds_text(measured.high)}, n={measured.n}), promised {rule.seconds:g} s: "
            f"{self.outcome}"
        )


def load_samples(connection: Connection, benchmark_id: str) -> list[Sample]:
    """Return the samples of a benchmark in the order they were taken."""
    table = schema.retrieval_sample.c
    rows = connection.execute(
        select(
            table.side,
            table.operation,
            table.temperature,
            table.modality,
            table.storage_class,
            table.seconds,
        )
        .where(table.benchmark_id == benchmark_id)
        .order_by(table.sample_id)
    )
    return [Sample(*row[:5], math.inf if row[5] is None else float(row[5])) for row in rows]


def group_samples(
    samples: Sequence[Sample], policy: SlaPolicy, *, by_modality: bool
) -> list[Group]:
    """Return the groups that occur, sorted, each with :data:`PERCENTILES`."""
    groups: dict[tuple[str, str, str, str], list[float]] = {}
    for sample in samples:
        modality = sample.modality if by_modality else ""
        key = (sample.operation, sample.temperature, modality, sample.side)
        groups.setdefault(key, []).append(sample.seconds)
    return [
        Group(
            side,
            operation,
            temperature,
            modality,
            sum(math.isinf(value) for value in values),
            tuple(_estimate(values, percentile, policy) for percentile in PERCENTILES),
        )
        for (operation, temperature, modality, side), values in sorted(groups.items())
    ]


def judge_rules(samples: Sequence[Sample], policy: SlaPolicy) -> list[RuleResult]:
    """Return what became of every promise of the policy."""
    results = []
    for rule in policy.rules:
        values = [sample.seconds for sample in samples if _fits(sample, rule)]
        results.append(RuleResult(rule, _estimate(values, rule.percentile, policy)))
    return results


def rules_frame(results: Sequence[RuleResult]) -> DataFrame:
    """Return the rules that were measured as rows for the expectation suite."""
    from pandas import DataFrame

    measured = [result.as_row() for result in results if result.estimate.n]
    return DataFrame(measured, columns=ROW_COLUMNS)


def outcome_counts(results: Sequence[RuleResult]) -> dict[str, int]:
    """Return how many promises were kept, breached and not measured."""
    counts = Counter(result.outcome for result in results)
    return {name: counts[name] for name in ("kept", "breached", "not measured")}


def record_breaches(ledger: Ledger, results: Sequence[RuleResult], benchmark_id: str) -> int:
    """Note an ``sla_breach`` exception for every broken promise; returns how many."""
    broken = [result for result in results if result.outcome == "breached"]
    with ledger.write() as connection:
        note_exceptions(
            connection,
            [
                ExceptionNote(
                    reason=ReasonCode.SLA_BREACH,
                    phase=PHASE,
                    detail=result.told(),
                    suggested_fix="Compare with the source in the report; look at the network, "
                    "the storage tier and the busy-hour load.",
                    subject=result.rule.name,
                )
                for result in broken
            ],
            EventChain(f"benchmark:{benchmark_id}"),
        )
    return len(broken)


def seconds_text(seconds: float) -> str:
    """Return a waiting time as people read it: milliseconds below a second."""
    if math.isnan(seconds):
        return "–"
    if math.isinf(seconds):
        return "failed"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _estimate(values: Sequence[float], percentile: float, policy: SlaPolicy) -> Estimate:
    return estimate(
        values, percentile, resamples=policy.bootstrap_resamples, seed=policy.sample.seed
    )


def _fits(sample: Sample, rule: SlaRule) -> bool:
    wanted = (
        (rule.modality, sample.modality),
        (rule.storage_class, sample.storage_class),
        (rule.temperature, sample.temperature),
    )
    return (
        sample.side == rule.side
        and sample.operation == rule.operation
        and all(not asked or asked == found for asked, found in wanted)
    )
