from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_migration.policies.layouts import ObjectPrices, cheaper_layout, packing_pays_below

STANDARD = ObjectPrices(0.023, 0.005)
INSTANT = ObjectPrices(0.004, 0.02, min_billable_bytes=131_072)
DEEP = ObjectPrices(0.00099, 0.05, overhead_bytes=40_960)


@pytest.mark.parametrize(
    ("prices", "instances", "size", "layout"),
    [
        (STANDARD, 1000, 500_000, "instance"),  # requests are 4% of a year's storage
        (STANDARD, 10_000, 50_000, "series-zip"),
        (INSTANT, 1000, 500_000, "series-zip"),
        (DEEP, 1000, 500_000, "series-zip"),
        (DEEP, 20, 200_000_000, "instance"),
    ],
)
def test_many_small_objects_are_packed_and_few_large_ones_are_not(
    prices: ObjectPrices, instances: int, size: int, layout: str
) -> None:
    chosen = cheaper_layout(prices, instances=instances, series=2, total_bytes=instances * size)
    assert chosen == layout


@pytest.mark.parametrize("prices", [STANDARD, INSTANT, DEEP])
def test_a_study_with_nothing_to_pack_together_stays_as_it_is(prices: ObjectPrices) -> None:
    assert cheaper_layout(prices, instances=3, series=3, total_bytes=300) == "instance"
    assert cheaper_layout(prices, instances=3, series=9, total_bytes=300) == "instance"
    assert cheaper_layout(prices, instances=0, series=0, total_bytes=0) == "instance"


def test_what_a_published_programme_paid_for_small_objects_is_what_packing_saves() -> None:
    """476 million files of 1 million studies into Deep Archive: 23,800 for the requests."""
    apart = DEEP.cost(476_000_000, 48 * 10**12, 0)
    assert apart == pytest.approx(23_800)
    assert DEEP.cost(1_000_000, 48 * 10**12, 0) == pytest.approx(50)


@given(
    st.sampled_from([STANDARD, INSTANT, DEEP]),
    st.sampled_from([0.05, 0.1, 0.3]),
    st.floats(0.01, 100).filter(lambda factor: abs(factor - 1) > 0.05),
)
def test_the_threshold_says_what_the_reckoning_says(
    prices: ObjectPrices, worth: float, factor: float
) -> None:
    size = int(packing_pays_below(prices, worth=worth) * factor)
    many = 1_000_000
    chosen = cheaper_layout(prices, instances=many, series=1, total_bytes=many * size, worth=worth)
    assert (chosen == "series-zip") is (factor < 1)
