from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dicom_migration.pacing.governor import Decision, PastProbe, Probe, Step, baseline, decide
from dicom_migration.policies.throttle import GovernorPolicy

NOW = datetime(2026, 3, 2, 20, tzinfo=UTC)
POLICY = GovernorPolicy(
    max_latency_s=3, slow_factor=5, ignore_below_s=0.25, max_target_latency_s=5, quiet_probes=4
)
QUIET = Probe(NOW, echo_s=0.01, find_s=0.1, target_s=0.05)
SLOW = replace(QUIET, find_s=3.5)
REFUSED = Probe(NOW, outcome="source_busy", strained=True)


class Site:
    """Probes one after the other, each decision kept as the ledger does."""

    def __init__(self, most: int = 8, workers: int | None = None) -> None:
        self.most = most
        self.workers = workers
        self.past: list[PastProbe] = []

    @property
    def level(self) -> int:
        return self.past[0].level if self.past else self.most

    def probe(self, *probes: Probe) -> Decision:
        for probe in probes:
            workers = self.level if self.workers is None else self.workers
            decision = decide(probe, self.past, workers=workers, most=self.most, policy=POLICY)
            kept = PastProbe(
                probe.echo_s,
                probe.find_s,
                probe.outcome,
                decision.level,
                decision.step.value,
                decision.reason,
            )
            self.past.insert(0, kept)
        return decision


def test_quiet_at_the_bound_it_stays_there() -> None:
    assert Site().probe(*[QUIET] * 20) == Decision(8, Step.HOLD, "quiet")


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (SLOW, r"C-FIND took 3.500 s, more than 3.000 s"),
        (replace(QUIET, echo_s=4), "C-ECHO took"),
        (replace(QUIET, target_s=6), "HEAD took"),
        (REFUSED, "no answer: source_busy"),
        (Probe(NOW, echo_s=0.01, outcome="source_unreachable", strained=True), "no answer"),
        (replace(QUIET, target_s=None, outcome="target_busy", strained=True), "target_busy"),
    ],
)
def test_trouble_halves_the_workers_and_is_told(trouble: Probe, told: str) -> None:
    decision = Site().probe(trouble)
    assert (decision.level, decision.step) == (4, Step.DOWN)
    assert told in decision.reason


def test_it_goes_down_to_one_worker_and_no_further() -> None:
    site = Site()
    levels = [site.probe(REFUSED).level for _ in range(5)]
    assert levels == [4, 2, 1, 1, 1]
    assert "one worker is the least" in site.past[0].reason


def test_what_is_halved_is_what_is_there_not_what_would_be_allowed() -> None:
    assert Site(most=100, workers=6).probe(SLOW).level == 3


def test_workers_that_finish_their_study_first_are_waited_for() -> None:
    site = Site()
    assert site.probe(SLOW).level == 4
    site.workers = 8
    assert site.probe(SLOW) == Decision(
        4, Step.HOLD, "C-FIND took 3.500 s, more than 3.000 s; 8 workers have yet to let go"
    )
    site.workers = 4
    assert site.probe(SLOW).level == 2


def test_after_some_quiet_one_more_each_time_up_to_the_bound() -> None:
    site = Site(most=4)
    site.probe(SLOW)
    levels = [site.probe(QUIET).level for _ in range(12)]
    assert levels == [2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4]


def test_trouble_in_between_starts_the_quiet_anew() -> None:
    site = Site()
    site.probe(SLOW, QUIET, QUIET, QUIET)
    assert site.probe(SLOW).level == 2
    assert site.probe(QUIET, QUIET, QUIET).level == 2
    assert site.probe(QUIET).level == 3


def test_slow_is_also_what_is_many_times_slower_than_usual_here() -> None:
    site = Site()
    site.probe(*[QUIET] * 10)
    decision = site.probe(replace(QUIET, find_s=0.6))  # usual: 0.1 s, factor 5
    assert decision.step is Step.DOWN
    assert "more than 0.500 s" in decision.reason


def test_a_fast_source_may_double_a_few_milliseconds() -> None:
    site = Site()
    fast = replace(QUIET, echo_s=0.0003, find_s=0.002)
    site.probe(*[fast] * 10)
    assert site.probe(replace(fast, echo_s=0.04, find_s=0.2)).step is Step.HOLD


def test_what_is_usual_is_not_set_by_one_lucky_answer_nor_by_our_own_load() -> None:
    assert baseline([0.001, *[0.1] * 10, *[2.0] * 20]) == 0.1
    assert baseline([0.1] * 4) is None, "too few to know"
    assert baseline([None] * 10) is None


def test_a_probe_that_fails_for_want_of_a_right_is_no_sign_of_load() -> None:
    site = Site()
    decision = site.probe(Probe(NOW, outcome="source_refused_operation"))
    assert decision.step is Step.HOLD
    assert "source_refused_operation" in decision.reason


def test_a_lower_bound_in_the_policy_holds_at_once() -> None:
    site = Site(most=8)
    site.probe(QUIET)
    site.most = 3
    assert site.probe(QUIET).level == 3
