from __future__ import annotations

import math

import pytest

from dicom_migration.policies.slas import SlaPolicy, SlaRule
from dicom_migration.retrieval.causes import likely_cause
from dicom_migration.retrieval.results import judge_rules
from dicom_migration.retrieval.samples import Sample
from dicom_migration.retrieval.stages import Stages

QUICK = Stages(0.0, 0.01, 0.02, 0.02, 0.01)


def sample(stages=QUICK, *, side="cloud", operation="first_image", failed="", age=None):
    seconds = math.inf if failed else stages.total_s
    return Sample(
        side, operation, "cold", "CT", "STANDARD", seconds, "s3-object", age, failed, stages
    )


@pytest.mark.parametrize(
    ("slow", "name"),
    [
        (Stages(3.0, 0.01, 0.02, 0.02, 0.01), "queueing"),
        (Stages(0.0, 0.01, 3.0, 0.02, 0.01), "S3 first byte"),
        (Stages(0.0, 0.01, 0.02, 3.0, 0.01), "network"),
        (Stages(0.0, 1.5, 0.60, 0.02, 0.01), "network"),  # a round trip takes half a second
        (Stages(0.0, 0.01, 0.02, 0.02, 3.0), "decode"),
    ],
)
def test_the_stage_that_took_the_time_is_the_cause(slow, name):
    cause = likely_cause([sample()] * 19 + [sample(slow)], limit_seconds=1)
    assert (cause.name, cause.samples) == (name, 1)
    assert 0.5 < cause.share <= 1


def test_a_round_trip_in_the_first_byte_is_the_networks():
    far = [sample(Stages(0.0, 0.6, 0.25, 0.0, 0.0))] * 10  # TCP and TLS: three times 0.2 s
    assert likely_cause(far, limit_seconds=0.5).name == "network"


def test_the_first_byte_of_the_source_is_the_sources():
    slow = sample(Stages(None, None, 3.0, 0.1), side="source")
    assert likely_cause([slow], limit_seconds=1).name == "source first byte"


def test_failures_are_a_cause_of_their_own():
    cause = likely_cause([sample()] * 5 + [sample(failed="object_missing")], limit_seconds=1)
    assert cause.told() == "failures: object_missing (100% of the 1 slowest)"


def test_one_failure_among_many_slow_ones_is_not_the_cause():
    slow = [sample(Stages(0.0, 0.01, 3.0, 0.02, 0.01))] * 5
    assert likely_cause([*slow, sample(failed="target_busy")], 1).name == "S3 first byte"


def test_no_sample_has_no_cause():
    assert likely_cause([], 1).told() == "cause unknown"


def test_a_broken_promise_tells_its_numbers_and_its_cause():
    rule = SlaRule(name="quick", operation="first_image", percentile=95, seconds=1)
    slow = [sample(Stages(0.0, 0.01, 3.0, 0.02, 0.01))] * 3
    (result,) = judge_rules(slow, SlaPolicy(rules=(rule,)))
    assert result.told() == (
        "quick: p95 of first_image on cloud 3.04 s (95% CI 3.04 s to 3.04 s, n=3), promised 1 s: "
        "breached, likely cause: S3 first byte (99% of the 3 slowest)"
    )


def test_a_rule_may_name_the_age_of_the_study():
    def rule(name, **ages):
        return SlaRule(name=name, operation="first_image", percentile=50, seconds=1, **ages)

    policy = SlaPolicy(
        rules=(
            rule("young", max_age_years=2),
            rule("old", min_age_years=2),
            rule("between", min_age_years=1, max_age_years=3),
        )
    )
    samples = [sample(age=0.5), sample(age=2.0), sample(age=9.0), sample(age=None)]
    assert [r.estimate.n for r in judge_rules(samples, policy)] == [1, 2, 1]
