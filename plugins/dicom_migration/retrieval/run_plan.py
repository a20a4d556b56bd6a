"""What a run will ask of both ends and what that costs: told before it starts, and bounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.policies.slas import Budget, SlaPolicy
from dicom_migration.policies.tiers import STANDARD, TiersPolicy
from dicom_migration.retrieval.busy_hour import arrivals
from dicom_migration.retrieval.sample import (
    SampledStudy,
    SamplePlan,
    plan_archived,
    plan_sample,
    restored_studies,
)
from dicom_migration.units import human_bytes, money

GIB = 1024**3
GB = 10**9


@dataclass(frozen=True, slots=True)
class Load:
    """Requests and bytes, at most: packed series need fewer requests."""

    requests: int = 0
    bytes: int = 0

    def __add__(self, other: Load) -> Load:
        """Return both together."""
        return Load(self.requests + other.requests, self.bytes + other.bytes)

    def times(self, count: int) -> Load:
        """Return it so many times."""
        return Load(self.requests * count, self.bytes * count)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run before it starts.

    Attributes
    ----------
    sample, archived
        The studies that are read as they are, and those that are restored first.
    cloud, source, restores
        What is asked of whom; `restores` counts objects.
    cost
        At the list prices of ``tiers.yaml``, in `currency`.
    """

    sample: SamplePlan
    archived: tuple[SampledStudy, ...]
    cloud: Load
    source: Load
    restores: Load
    cost: Decimal
    currency: str

    def told(self) -> str:
        """Return the plan as one line for the log."""
        return (
            f"{self.sample.told()}; {len(self.archived)} to be restored "
            f"({self.restores.requests} objects, {human_bytes(self.restores.bytes)}). At most "
            f"{self.cloud.requests} requests and {human_bytes(self.cloud.bytes)} from the store, "
            f"{self.source.requests} retrievals and {human_bytes(self.source.bytes)} from the "
            f"source; {money(float(self.cost))} {self.currency} at list prices."
        )


def plan_run(
    connection: Connection,
    policy: SlaPolicy,
    tiers: TiersPolicy,
    today: date,
    waves: Sequence[str] = (),
    benchmark_id: str = "",
) -> RunPlan:
    """Choose the studies and reckon what measuring them takes.

    Archived studies for which `benchmark_id` has asked stay its choice: days may have passed.

    Raises
    ------
    PermanentError
        Reason ``budget_exceeded``: more than the policy's budget.
    """
    sample = plan_sample(connection, policy.sample, today, waves)
    archived = restored_studies(connection, benchmark_id, today)
    archived = archived or _archived(connection, policy, today, waves)
    passes = 1 + policy.sample.warm_repeats
    everything = [*sample.studies, *sample.priors.values(), *archived]
    cloud = _sum(_manifest_and_first(study, passes) for study in [*sample.studies, *archived])
    cloud += _sum(_whole(study).times(passes) for study in everything)
    cloud += _busy(sample.studies, policy)
    source = _sum(_first(study).times(passes) for study in sample.studies)
    wholes = [*sample.studies, *sample.priors.values()]
    source += _sum(Load(1, study.stored_bytes).times(passes) for study in wholes)
    source += _busy_source(sample.studies, policy)
    restores = _sum(_whole(study) for study in archived)
    cost = _cost(everything, cloud, archived, tiers)
    plan = RunPlan(sample, tuple(archived), cloud, source, restores, cost, tiers.currency)
    refuse_beyond(plan, policy.budget)
    return plan


def refuse_beyond(plan: RunPlan, budget: Budget) -> None:
    """Refuse a plan that costs more than the budget allows, naming every figure that does.

    Raises
    ------
    PermanentError
        Reason ``budget_exceeded``.
    """
    figures = (
        ("max_requests", plan.cloud.requests + plan.restores.requests, budget.max_requests),
        ("max_gib", plan.cloud.bytes / GIB, budget.max_gib),
        ("max_source_retrievals", plan.source.requests, budget.max_source_retrievals),
        ("max_source_gib", plan.source.bytes / GIB, budget.max_source_gib),
        ("max_cost", float(plan.cost), budget.max_cost),
    )
    beyond = [f"{name}: {need:,.6g} of {most:,.6g}" for name, need, most in figures if need > most]
    if beyond:
        raise PermanentError(
            f"The benchmark would exceed its budget ({'; '.join(beyond)}): {plan.told()}",
            reason=ReasonCode.BUDGET_EXCEEDED,
            next_step="Lower sample, busy_hour or archived in slas.yaml, or raise its budget.",
        )


def _archived(
    connection: Connection, policy: SlaPolicy, today: date, waves: Sequence[str]
) -> list[SampledStudy]:
    wanted = policy.archived
    if not wanted.studies:
        return []
    size = policy.sample.model_copy(update={"studies": wanted.studies, "max_mib": wanted.max_mib})
    chosen, objects = [], 0
    for study in plan_archived(connection, size, today, waves):
        if objects + study.instances <= wanted.max_objects:
            chosen.append(study)
            objects += study.instances
    return chosen


def _first(study: SampledStudy) -> Load:
    return Load(1, study.stored_bytes // max(1, study.instances))


def _whole(study: SampledStudy) -> Load:
    return Load(study.instances, study.stored_bytes)


def _manifest_and_first(study: SampledStudy, passes: int) -> Load:
    return Load(1, 0) + _first(study).times(passes)


def _busy(studies: Sequence[SampledStudy], policy: SlaPolicy) -> Load:
    if not studies or not policy.busy_hour.enabled:
        return Load()
    one = _first if policy.busy_hour.operation == "first_image" else _whole
    return _mean(map(one, studies), len(studies), len(arrivals(policy.busy_hour, 0)))


def _busy_source(studies: Sequence[SampledStudy], policy: SlaPolicy) -> Load:
    if not studies or not policy.busy_hour.source.enabled:
        return Load()
    whole = policy.busy_hour.operation == "whole_study"
    loads = (Load(1, s.stored_bytes) if whole else _first(s) for s in studies)
    return _mean(loads, len(studies), len(arrivals(policy.busy_hour.source, 0)))


def _mean(loads: Iterable[Load], count: int, requests: int) -> Load:
    whole = _sum(loads).times(requests)
    return Load(-(-whole.requests // count), -(-whole.bytes // count))


def _sum(loads: Iterable[Load]) -> Load:
    return sum(loads, Load())


def _cost(
    studies: Sequence[SampledStudy],
    cloud: Load,
    archived: Sequence[SampledStudy],
    tiers: TiersPolicy,
) -> Decimal:
    """Reckon requests and bytes at the dearest class among the studies, restores at their own."""
    prices = tiers.storage_classes
    standard = prices[STANDARD]
    used = [prices.get(study.storage_class, standard) for study in studies] or [standard]
    requests = Decimal(cloud.requests) / 1000 * max(price.get_1000 for price in used)
    of_bytes = max(price.retrieval_gb for price in used) + tiers.transfer_out_gb
    cost = requests + Decimal(cloud.bytes) / GB * of_bytes
    for study in archived:
        price = prices.get(study.storage_class, standard)
        cost += Decimal(study.instances) / 1000 * price.restore_1000
        cost += Decimal(study.stored_bytes) / GB * price.retrieval_gb
    return cost
