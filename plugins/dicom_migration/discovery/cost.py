"""What the copy costs, in several ways of storing it; all money is :class:`~decimal.Decimal`.

The model, its formulas and what it leaves out are in ``docs/planning.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from dicom_migration.discovery.tiering import INSTANCE, RATE_YEARS, SERIES_ZIP
from dicom_migration.policies.tiers import STANDARD
from dicom_migration.units import GB

if TYPE_CHECKING:
    from dicom_migration.discovery.cost_groups import CostGroup, Objects
    from dicom_migration.policies.tiers import StorageClass, TiersPolicy

PLANNED = "planned"
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Way:
    """A way of storing the studies; `layout` "" means as the plan says."""

    name: str
    title: str
    layout: str = ""
    tiered: bool = True


#: What every plan is compared with, itself first.
WAYS = (
    Way(PLANNED, "As planned"),
    Way("standard", "Everything in S3 Standard", INSTANCE, tiered=False),
    Way("unpacked", "Tiered, one object an instance", INSTANCE),
    Way("packed", "Tiered, packed by series", SERIES_ZIP),
)


@dataclass(slots=True)
class ClassCost:
    """What a storage class takes in the first year, and what it costs then."""

    storage_class: str
    studies: int = 0
    objects: int = 0
    bytes: int = 0
    month: Decimal = _ZERO
    upload: Decimal = _ZERO
    retrieval: Decimal = _ZERO


@dataclass(slots=True)
class Cost:
    """What one way costs.

    Attributes
    ----------
    upload
        Once: the requests that create the objects.
    month
        Storage, in the first month.
    retrieval
        In the first year: requests, retrieval and transfer out at the expected access.
    transition
        Requests that move objects to colder classes, over all years.
    storage_by_year
        Storage of each year.
    total
        Over all years: upload, storage, transitions and retrievals.
    """

    way: Way
    objects: int = 0
    upload: Decimal = _ZERO
    month: Decimal = _ZERO
    retrieval: Decimal = _ZERO
    transition: Decimal = _ZERO
    total: Decimal = _ZERO
    storage_by_year: list[Decimal] = field(default_factory=list)
    classes: dict[str, ClassCost] = field(default_factory=dict)


def compare_ways(groups: Sequence[CostGroup], policy: TiersPolicy) -> list[Cost]:
    """Return what the groups cost in each of :data:`WAYS`."""
    return [cost_of(groups, policy, way) for way in WAYS]


def cost_of(groups: Sequence[CostGroup], policy: TiersPolicy, way: Way = WAYS[0]) -> Cost:
    """Return what the groups cost when they are stored in one way."""
    cost = Cost(way, storage_by_year=[_ZERO] * policy.horizon_years)
    for group in groups:
        _add(cost, group, policy)
    cost.total = cost.upload + sum(cost.storage_by_year, _ZERO) + cost.transition + cost.total
    return cost


def _add(cost: Cost, group: CostGroup, policy: TiersPolicy) -> None:
    """Add a group year by year; until the end, `total` holds the retrievals of all years."""
    objects = group.by_layout[cost.way.layout or group.layout or INSTANCE]
    name = group.forecast[0].storage_class if cost.way.tiered else STANDARD
    first = _first_year(cost, group, objects, name, policy)
    for year, forecast in enumerate(group.forecast):
        wanted = forecast.storage_class if cost.way.tiered else STANDARD
        if wanted != name and objects.movable:
            per_request = policy.storage_classes[wanted].transition_1000
            cost.transition += objects.count * per_request / 1000
            name = wanted
        cost.storage_by_year[year] += 12 * _month(objects, policy.storage_classes[name], policy)
        retrieved = _retrieval(objects, group.bytes, forecast.rate, name, policy)
        cost.total += retrieved
        if year == 0:
            first.retrieval += retrieved
            cost.retrieval += retrieved


def _first_year(
    cost: Cost, group: CostGroup, objects: Objects, name: str, policy: TiersPolicy
) -> ClassCost:
    upload = objects.count * policy.storage_classes[name].put_1000 / 1000
    month = _month(objects, policy.storage_classes[name], policy)
    found = cost.classes.setdefault(name, ClassCost(name))
    found.studies += group.studies
    found.objects += objects.count
    found.bytes += group.bytes
    found.month += month
    found.upload += upload
    cost.objects += objects.count
    cost.upload += upload
    cost.month += month
    return found


def _month(objects: Objects, prices: StorageClass, policy: TiersPolicy) -> Decimal:
    billed = objects.billed[prices.min_billable_bytes] + objects.count * prices.overhead_bytes
    index = objects.count * prices.standard_overhead_bytes
    standard = policy.storage_classes[STANDARD].gb_month
    return (billed * prices.gb_month + index * standard) / GB


def _retrieval(objects: Objects, size: int, rate: int, name: str, policy: TiersPolicy) -> Decimal:
    prices = policy.storage_classes[name]
    requests = objects.count * (prices.get_1000 + prices.restore_1000) / 1000
    volume = size * (prices.retrieval_gb + policy.transfer_out_gb) / GB
    return (requests + volume) * rate / RATE_YEARS
