"""The cost model against sums done by hand."""

from dataclasses import replace
from decimal import Decimal

import pytest

from dicom_migration.discovery.cost import WAYS, Cost, compare_ways, cost_of
from dicom_migration.discovery.cost_groups import (
    CostGroup,
    Objects,
    YearForecast,
    plan_groups,
)
from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.discovery.planning import draft_of
from dicom_migration.ledger import Ledger
from dicom_migration.policies.tiers import TierRule, TiersPolicy
from tests.unit.discovery.conftest import known, planned, study

KIB, GB = 1024, 10**9


def group(
    path: str,
    *,
    instances: int,
    series: int,
    size: int,
    layout: str = "instance",
    rate: int = 700,
) -> CostGroup:
    """Return equal studies with `size` bytes in all; `path` are the classes year by year."""

    def objects(count: int) -> Objects:
        least = max(size, count * 128 * KIB)
        return Objects(count, {0: size, 128 * KIB: least}, size >= count * 128 * KIB)

    return CostGroup(
        forecast=tuple(YearForecast(name, rate) for name in path.split(">")),
        layout=layout,
        studies=series,
        bytes=size,
        by_layout={"instance": objects(instances), "series-zip": objects(series)},
    )


def ways(tiers: TiersPolicy, *groups: CostGroup) -> dict[str, Cost]:
    return {cost.way.name: cost for cost in compare_ways(groups, tiers)}


def horizon(tiers: TiersPolicy, years: int, **changes: object) -> TiersPolicy:
    return tiers.model_copy(update={"horizon_years": years, **changes})


def test_a_real_programme_pays_for_requests_unless_it_packs(tiers: TiersPolicy) -> None:
    # One million studies, 476 million files, 48 TB: PUTs into Deep Archive.
    archive = group("DEEP_ARCHIVE", instances=476_000_000, series=1_000_000, size=48_000 * GB)
    costs = ways(horizon(tiers, 1), archive)
    assert costs["unpacked"].upload == Decimal(23_800)
    assert costs["packed"].upload == Decimal(50)


def test_standard_is_volume_times_price(tiers: TiersPolicy) -> None:
    cost = ways(
        horizon(tiers, 5),
        group("GLACIER_IR>" * 4 + "GLACIER_IR", instances=2000, series=10, size=1000 * GB),
    )["standard"]
    assert cost.month == Decimal("23.000")
    assert cost.upload == Decimal("0.01")
    # 7 of a hundred: 70 GB out at 0.09, 140 GET requests.
    assert cost.retrieval == Decimal("6.3") + Decimal("0.000056")
    assert cost.total == 60 * cost.month + cost.upload + 5 * cost.retrieval


def test_small_objects_are_charged_for_their_minimum_size(tiers: TiersPolicy) -> None:
    small = group("GLACIER_IR", instances=1_000_000, series=1000, size=10 * GB)
    costs = ways(horizon(tiers, 1), small)
    assert costs["unpacked"].month == Decimal(131_072 * 1_000_000) * Decimal("0.004") / GB
    assert costs["packed"].month == Decimal(10) * Decimal("0.004")


def test_an_archive_class_charges_forty_kilobytes_for_every_object(tiers: TiersPolicy) -> None:
    cost = ways(
        horizon(tiers, 1), group("DEEP_ARCHIVE", instances=1_000_000, series=1, size=500 * GB)
    )["unpacked"]
    at_its_own = (500 * GB + 1_000_000 * 32 * KIB) * Decimal("0.00099") / GB
    at_standard = 1_000_000 * 8 * KIB * Decimal("0.023") / GB
    assert cost.month == at_its_own + at_standard


def test_reading_an_archived_study_pays_restore_retrieval_and_transfer(tiers: TiersPolicy) -> None:
    cost = ways(
        horizon(tiers, 1),
        group("DEEP_ARCHIVE", instances=1000, series=1, size=100 * GB, rate=10_000),
    )["unpacked"]
    assert cost.retrieval == Decimal("0.1004") + 100 * (Decimal("0.02") + Decimal("0.09"))


def test_studies_that_grow_old_are_moved_once_and_cost_less(tiers: TiersPolicy) -> None:
    aging = group("STANDARD>STANDARD>GLACIER_IR", instances=2000, series=10, size=1000 * GB)
    cost = ways(horizon(tiers, 3), aging)["unpacked"]
    assert cost.storage_by_year == [Decimal(276), Decimal(276), Decimal(48)]
    assert cost.transition == 2 * Decimal("0.02")


def test_what_is_too_small_for_a_lifecycle_rule_stays_where_it_is(tiers: TiersPolicy) -> None:
    aging = group("STANDARD>GLACIER_IR", instances=1_000_000, series=1000, size=100 * GB)
    costs = ways(horizon(tiers, 2), aging)
    assert costs["unpacked"].transition == 0
    assert costs["unpacked"].storage_by_year[0] == costs["unpacked"].storage_by_year[1]
    assert costs["packed"].transition == Decimal("0.02")
    assert costs["packed"].storage_by_year[1] < costs["packed"].storage_by_year[0]


def test_the_plan_s_own_way_uses_the_layout_of_each_study(tiers: TiersPolicy) -> None:
    mixed = (
        group("GLACIER_IR", instances=1000, series=10, size=GB, layout="series-zip"),
        group("GLACIER_IR", instances=50, series=5, size=GB),
        group("GLACIER_IR", instances=20, series=2, size=GB, layout=""),  # left to transfer.yaml
    )
    costs = ways(horizon(tiers, 1), *mixed)
    assert costs["planned"].objects == 80
    assert costs["unpacked"].objects == 1070
    assert costs["packed"].objects == 17


def test_every_sum_is_exact_decimal(tiers: TiersPolicy) -> None:
    odd = [group("STANDARD>GLACIER_IR", instances=7, series=3, size=3 * GB + n) for n in range(50)]
    for cost in compare_ways(odd, horizon(tiers, 2)):
        for amount in (cost.upload, cost.month, cost.retrieval, cost.transition, cost.total):
            assert isinstance(amount, Decimal)
    assert sum(c.month for c in cost.classes.values()) == cost.month


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_the_ledger_s_groups_cost_what_the_studies_cost_one_by_one(
    ledger: Ledger, policies: PlanPolicies, way: object
) -> None:
    known(
        ledger,
        study(1, "20250101"),
        study(2, "20100101", number_of_instances=500, number_of_series=4),
        study(3, ""),
        study(4, "20240601", number_of_instances=3, number_of_series=9),
    )
    rules = (
        TierRule(name="old", storage_class="DEEP_ARCHIVE", min_age_months=120),
        *policies.tiers.rules,
    )
    tiers = policies.tiers.model_copy(update={"rules": rules})
    plan = planned(ledger, replace(policies, tiers=tiers))
    with ledger.read() as connection:
        groups = plan_groups(connection, draft_of(connection, plan.plan_id), tiers)
    size = 1_000_000
    glacier, standard = ">".join(["GLACIER_IR"] * 5), ">".join(["STANDARD"] * 5)
    by_hand = [
        group(
            "STANDARD>STANDARD>" + ">".join(["GLACIER_IR"] * 3),
            instances=10,
            series=1,
            size=10 * size,
        ),
        group(  # as shipped, an archive tier is packed where that is cheaper
            ">".join(["DEEP_ARCHIVE"] * 5),
            instances=500,
            series=4,
            size=500 * size,
            layout="series-zip",
        ),
        group(standard, instances=10, series=1, size=10 * size),
        # more series than instances: not believed
        group("STANDARD>" + glacier[11:], instances=3, series=3, size=3 * size),
    ]
    assert cost_of(groups, tiers, way).total == cost_of(by_hand, tiers, way).total  # type: ignore[arg-type]
