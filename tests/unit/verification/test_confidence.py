"""The calculator of the audit, against textbook values and against counting."""

from __future__ import annotations

import itertools
import random
from math import comb

import pytest

from dicom_migration.policies.verification import PixelAudit
from dicom_migration.verification.audit.confidence import Drawn, sample_size, upper_bound
from dicom_migration.verification.audit.drawing import Stratum, allocate


def stratum(name: str) -> Stratum:
    return Stratum(name, "2 to 5 years", "STANDARD", "1.2.840.10008.1.2.1", pixels=True)


@pytest.mark.parametrize(
    ("rate", "confidence", "failures", "size"),
    [(0.05, 0.95, 0, 59), (0.05, 0.95, 1, 93), (0.05, 0.95, 2, 124), (0.01, 0.95, 1, 473)],
)
def test_defects_raise_the_sample_as_the_tables_of_acceptance_sampling_say(
    rate, confidence, failures, size
):
    assert sample_size(rate, confidence, None, failures) == size


@pytest.mark.parametrize("population", [20, 60, 400])
def test_a_finite_population_needs_what_counting_all_draws_says(population):
    defects = -(-population // 10)
    size = sample_size(0.1, 0.95, population)

    def missed(n):
        return comb(population - defects, n) / comb(population, n)

    assert missed(size) <= 0.05 < missed(size - 1)


def test_a_probability_that_is_exactly_met_needs_no_instance_more():
    assert sample_size(0.01, 0.95, 100) == 95
    assert upper_bound([Drawn(100, 95)], 0, 0.95) == 0


def test_clopper_and_pearsons_bound_is_the_textbook_one():
    # One-sided 95 %: 0 of 59 bounds 4.95 %, 3 of 100 bounds 7.57 %.
    assert upper_bound([Drawn(10**6, 59)], 0, 0.95) == pytest.approx(0.0495, abs=2e-4)
    assert upper_bound([Drawn(10**6, 100)], 3, 0.95) == pytest.approx(0.0757, abs=2e-4)


def test_a_census_leaves_nothing_to_chance():
    assert upper_bound([Drawn(5, 5), Drawn(2, 2)], 0, 0.95) == 0
    assert upper_bound([Drawn(5, 5), Drawn(5, 5)], 2, 0.95) == 0.2


def test_nothing_is_claimed_of_a_stratum_that_was_not_looked_at():
    assert upper_bound([Drawn(90, 90), Drawn(10, 0)], 0, 0.95) == 0.1
    assert upper_bound([Drawn(90, 60), Drawn(10, 0)], 1, 0.95) == 1.0


def test_the_bound_holds_wherever_the_defects_lie():
    strata = [Drawn(8, 4), Drawn(5, 3), Drawn(3, 2)]
    worst = 0
    for held in itertools.product(range(9), range(6), range(4)):
        missed = 1.0
        for drawn, bad in zip(strata, held, strict=True):
            missed *= comb(drawn.size - bad, drawn.examined) / comb(drawn.size, drawn.examined)
        if missed > 0.05:
            worst = max(worst, sum(held))
    assert upper_bound(strata, 0, 0.95) == worst / 16


def test_of_each_stratum_its_share_is_drawn_and_never_none():
    sizes = {stratum("CT"): 9_000, stratum("MG"): 990, stratum("US"): 3}
    drawn = allocate(sizes, PixelAudit())
    assert all(drawn.values())
    assert drawn[stratum("CT")] > 8 * drawn[stratum("MG")]
    assert sum(drawn.values()) < 70
    assert upper_bound([Drawn(n, drawn[s]) for s, n in sizes.items()], 0, 0.95) < 0.05


def test_defects_enlarge_the_draw_up_to_the_policys_limit():
    sizes = {stratum("CT"): 100_000}
    policy = PixelAudit(max_instances=100)
    assert allocate(sizes, policy, 1)[stratum("CT")] > allocate(sizes, policy)[stratum("CT")]
    assert allocate(sizes, policy, 5)[stratum("CT")] == 100


def test_simulated_audits_keep_their_promise():
    generator = random.Random(1)
    bad = set(generator.sample(range(500), 25))  # exactly the rate that shall not pass
    policy = PixelAudit()
    sizes = {stratum("CT"): 300, stratum("MR"): 200}
    drawn = list(allocate(sizes, policy).values())
    missed = 0
    for _ in range(2000):
        sample = generator.sample(range(300), drawn[0]) + generator.sample(
            range(300, 500), drawn[1]
        )
        missed += bad.isdisjoint(sample)
    assert missed / 2000 < 0.06
