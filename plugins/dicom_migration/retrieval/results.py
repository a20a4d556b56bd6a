"""The samples of a benchmark summed up: percentiles a group, and what became of each promise."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, note_exceptions
from dicom_migration.policies.slas import SlaPolicy, SlaRule
from dicom_migration.retrieval.causes import Cause, likely_cause
from dicom_migration.retrieval.regression import Comparison
from dicom_migration.retrieval.samples import Sample
from dicom_migration.retrieval.statistics import PERCENTILES, Estimate, estimate
from dicom_migration.units import human_seconds

if TYPE_CHECKING:
    from pandas import DataFrame

PHASE = "retrieval"
#: Columns of the frame that the expectation suite judges; seconds are finite.
ROW_COLUMNS = ["rule", "side", "operation", "percentile", "seconds", "limit_seconds", "n"]


@dataclass(frozen=True, slots=True)
class Group:
    """Samples of one side, operation and temperature: of one access path or one modality.

    The other of the two is "": all of them.
    """

    side: str
    operation: str
    temperature: str
    modality: str
    failed: int
    estimates: tuple[Estimate, ...]
    access: str = ""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """A promise, and what was measured of it; `n` is 0 when no sample fits.

    `cause` is what the slow samples spent their time in.
    """

    rule: SlaRule
    estimate: Estimate
    cause: Cause

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
        if not measured.n:
            return f"{rule.name}: not measured, no sample fits"
        cause = f", likely cause: {self.cause.told()}" if self.outcome == "breached" else ""
        return (
            f"{rule.name}: p{rule.percentile:g} of {rule.operation} on {rule.side} "
            f"{seconds_text(measured.seconds)} (95% CI {seconds_text(measured.low)} to "
            f"{seconds_text(measured.high)}, n={measured.n}), promised {rule.seconds:g} s: "
            f"{self.outcome}{cause}"
        )


def group_samples(
    samples: Sequence[Sample], policy: SlaPolicy, *, by_modality: bool
) -> list[Group]:
    """Return the groups that occur, sorted, by modality or else by access path."""
    groups: dict[tuple[str, str, str, str, str], list[float]] = {}
    for sample in samples:
        parts = (sample.modality, "") if by_modality else ("", sample.access)
        key = (sample.operation, sample.temperature, parts[0], sample.side, parts[1])
        groups.setdefault(key, []).append(sample.seconds)
    return [
        Group(
            side,
            operation,
            temperature,
            modality,
            sum(math.isinf(value) for value in values),
            tuple(_estimate(values, percentile, policy) for percentile in PERCENTILES),
            access,
        )
        for (operation, temperature, modality, side, access), values in sorted(groups.items())
    ]


def judge_rules(samples: Sequence[Sample], policy: SlaPolicy) -> list[RuleResult]:
    """Return what became of every promise of the policy."""
    results = []
    for rule in policy.rules:
        fitting = [sample for sample in samples if _fits(sample, rule)]
        values = [sample.seconds for sample in fitting]
        measured = _estimate(values, rule.percentile, policy)
        results.append(RuleResult(rule, measured, likely_cause(fitting, rule.seconds)))
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
                    suggested_fix=f"Likely cause: {result.cause.told()}. Compare stages and "
                    "source in the retrieval report.",
                    subject=result.rule.name,
                )
                for result in broken
            ],
            EventChain(f"benchmark:{benchmark_id}"),
        )
    return len(broken)


def record_slower(ledger: Ledger, found: Sequence[Comparison], benchmark_id: str) -> int:
    """Note a ``retrieval_slower`` exception for everything that became slower; returns how many."""
    slower = [item for item in found if item.verdict == "slower"]
    with ledger.write() as connection:
        note_exceptions(
            connection,
            [
                ExceptionNote(
                    reason=ReasonCode.RETRIEVAL_SLOWER,
                    phase=PHASE,
                    detail=item.told(),
                    suggested_fix="Compare the stages in this report and an earlier one; look for "
                    "what changed in between.",
                    subject=f"{item.side}-{item.operation}-{item.temperature}",
                )
                for item in slower
            ],
            EventChain(f"benchmark:{benchmark_id}"),
        )
    return len(slower)


def seconds_text(seconds: float) -> str:
    """Return a waiting time as people read it: milliseconds below a second."""
    if math.isnan(seconds):
        return "–"
    if math.isinf(seconds):
        return "failed"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 600 else human_seconds(seconds)


def _estimate(values: Sequence[float], percentile: float, policy: SlaPolicy) -> Estimate:
    return estimate(
        values, percentile, resamples=policy.bootstrap_resamples, seed=policy.sample.seed
    )


def _fits(sample: Sample, rule: SlaRule) -> bool:
    wanted = (
        (rule.modality, sample.modality),
        (rule.storage_class, sample.storage_class),
        (rule.temperature, sample.temperature),
        (rule.access, sample.access),
    )
    return (
        sample.side == rule.side
        and sample.operation == rule.operation
        and all(not asked or asked == found for asked, found in wanted)
        and _is_of_age(sample.age_years, rule)
    )


def _is_of_age(years: float | None, rule: SlaRule) -> bool:
    if rule.min_age_years is None and rule.max_age_years is None:
        return True
    if years is None:
        return False
    youngest = 0.0 if rule.min_age_years is None else rule.min_age_years
    return years >= youngest and (rule.max_age_years is None or years < rule.max_age_years)
