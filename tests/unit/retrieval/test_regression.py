from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

from dicom_migration.policies.slas import Trend
from dicom_migration.retrieval.regression import compare_runs
from dicom_migration.retrieval.samples import EarlierRun, Sample

POLICY = Trend()
_BASE = {"CT": 1.0, "CR": 0.1}


def run_samples(generator, slower=1.0, studies=12, day_to_day=0.0):
    """Return the samples of one run: lognormal, with a mood of the day that all samples share."""
    mood = math.exp(generator.gauss(0, day_to_day))
    return [
        Sample(
            side,
            "first_image",
            "cold",
            modality,
            "STANDARD",
            _BASE[modality]
            * mood
            * math.exp(generator.gauss(0, 0.3))
            * (slower if side == "cloud" else 1.0),
        )
        for number in range(studies)
        for modality in ("CT", "CR")[number % 2 :][:1]
        for side in ("cloud", "source")
    ]


def history(generator, runs=6, **how):
    began = datetime(2025, 1, 1, tzinfo=UTC)
    return [
        EarlierRun(f"B{n}", began + timedelta(days=n), tuple(run_samples(generator, **how)))
        for n in range(runs)
    ]


def verdicts(now, earlier, policy=POLICY):
    return {c.side: c.verdict for c in compare_runs(now, earlier, policy, seed=1)}


def test_half_as_slow_again_is_told():
    generator = random.Random(1)
    now = run_samples(generator, slower=1.8)
    assert verdicts(now, history(generator)) == {"cloud": "slower", "source": "within noise"}


def test_noise_alone_is_hardly_ever_called_a_regression():
    alarms = 0
    for seed in range(40):
        generator = random.Random(seed)
        earlier = history(generator, day_to_day=0.15)
        now = run_samples(generator, day_to_day=0.15)
        alarms += "slower" in verdicts(now, earlier).values()
    assert alarms <= 2


def test_a_real_slowdown_is_told_through_the_noise_of_days():
    found = 0
    for seed in range(20):
        generator = random.Random(seed)
        earlier = history(generator, day_to_day=0.1)
        now = run_samples(generator, slower=2.5, day_to_day=0.1)
        found += verdicts(now, earlier)["cloud"] == "slower"
    assert found >= 18


def test_a_sample_of_larger_studies_is_no_regression():
    generator = random.Random(2)
    earlier = history(generator)
    now = [s for s in run_samples(generator, studies=40) if s.modality == "CT"]
    assert verdicts(now, earlier)["cloud"] == "within noise"


def test_too_little_proves_nothing():
    generator = random.Random(3)
    slow = run_samples(generator, slower=9.0)
    assert verdicts(slow, history(generator, runs=2)) == {}
    assert verdicts(slow[:6], history(generator)) == {}


def test_an_improvement_is_told_and_failures_are_left_out():
    generator = random.Random(4)
    earlier = history(generator)
    failed = Sample("cloud", "first_image", "cold", "CT", "STANDARD", math.inf)
    now = [*run_samples(generator, slower=0.3), failed]
    assert verdicts(now, earlier)["cloud"] == "faster"


def test_the_same_seed_gives_the_same_verdict():
    generator = random.Random(5)
    now, earlier = run_samples(generator), history(generator)
    assert compare_runs(now, earlier, POLICY, 7) == compare_runs(now, earlier, POLICY, 7)
