from __future__ import annotations

import math
import random

import pytest

from dicom_migration.policies.slas import BusyHour, SlaPolicy, SlaRule
from dicom_migration.retrieval.busy_hour import arrivals
from dicom_migration.retrieval.results import group_samples, judge_rules, rules_frame
from dicom_migration.retrieval.sample import age_group
from dicom_migration.retrieval.samples import Sample
from dicom_migration.retrieval.statistics import estimate, nearest_rank


def sample(seconds, *, side="cloud", temperature="cold", modality="CT"):
    return Sample(side, "first_image", temperature, modality, "STANDARD", seconds)


def test_nearest_rank_is_the_definition():
    values = [15, 20, 35, 40, 50]
    known = {5: 15, 30: 20, 40: 20, 50: 35, 100: 50}
    assert {p: nearest_rank(values, p) for p in known} == known


def test_percentiles_of_one_to_a_hundred():
    values = [float(n) for n in range(1, 101)]
    random.Random(0).shuffle(values)
    assert [nearest_rank(values, p) for p in (50, 90, 95, 99)] == [50, 90, 95, 99]


def test_the_interval_holds_the_truth_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        generator = random.Random(seed)
        values = [generator.expovariate(1) for _ in range(200)]
        found = estimate(values, 50, resamples=400, seed=seed)
        hits += found.low <= math.log(2) <= found.high
    assert 180 <= hits <= 199


def test_the_same_seed_gives_the_same_interval():
    values = [random.Random(3).random() for _ in range(50)]
    assert estimate(values, 95, seed=7) == estimate(values, 95, seed=7)


def test_no_sample_is_no_answer_and_one_has_no_interval():
    assert math.isnan(nearest_rank([], 95))
    assert estimate([], 95).n == 0
    assert estimate([2.0], 95).low == estimate([2.0], 95).high == 2.0


def test_a_failed_retrieval_is_infinitely_slow():
    policy = SlaPolicy(
        rules=(SlaRule(name="r", operation="first_image", percentile=95, seconds=1),)
    )
    good = [sample(0.1)] * 18
    assert judge_rules([*good, sample(math.inf)], policy)[0].outcome == "breached"
    assert judge_rules([*good, *good, sample(math.inf)], policy)[0].outcome == "kept"


def test_a_rule_sees_only_what_it_names():
    rules = tuple(
        SlaRule(name=name, operation="first_image", percentile=50, seconds=1, **narrowed)
        for name, narrowed in {
            "all": {},
            "mr": {"modality": "MR"},
            "busy": {"temperature": "busy"},
            "source": {"side": "source"},
        }.items()
    )
    samples = [sample(0.1), sample(0.1), sample(9.0, modality="MR")]
    outcomes = {r.rule.name: r.outcome for r in judge_rules(samples, SlaPolicy(rules=rules))}
    assert outcomes == {
        "all": "kept",
        "mr": "breached",
        "busy": "not measured",
        "source": "not measured",
    }
    frame = rules_frame(judge_rules(samples, SlaPolicy(rules=rules)))
    assert sorted(frame["rule"]) == ["all", "mr"]


def test_groups_name_their_failures():
    groups = group_samples([sample(0.1), sample(math.inf)], SlaPolicy(), by_modality=True)
    assert [(g.side, g.modality, g.failed) for g in groups] == [("cloud", "CT", 1)]


def test_arrivals_come_at_the_rate_asked_for_and_are_seeded():
    policy = BusyHour(arrivals_per_minute=600, duration_seconds=100)
    times = arrivals(policy, seed=1)
    assert times == arrivals(policy, seed=1)
    assert times == sorted(times)
    assert len(times) == pytest.approx(1000, rel=0.1)


def test_age_groups():
    assert [age_group(a) for a in (None, 0.2, 1, 5, 30)] == [
        "undated",
        "under 1 year",
        "1 to 3 years",
        "3 to 7 years",
        "7 years and more",
    ]
