"""The governor's judgement: from what a probe found to how many workers may load the source.

Additive increase, multiplicative decrease, as TCP does it: half as many when source or target
struggle, one more after a while of quiet. Pure: no clock, no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import takewhile

from dicom_migration.policies.throttle import GovernorPolicy

ANSWERED = "answered"
_BASELINE_QUANTILE = 0.25
_BASELINE_PROBES = 5


class Step(StrEnum):
    """What a probe led to."""

    DOWN = "down"
    UP = "up"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe found; times in seconds, None when that was not asked or not answered.

    Attributes
    ----------
    echo_s, find_s, target_s
        C-ECHO and C-FIND at the source, HEAD at the target.
    outcome
        ``answered``, or the reason code of what failed.
    strained
        Whether the failure may come from load: a refused association, a timeout.
    """

    probed_at: datetime
    echo_s: float | None = None
    find_s: float | None = None
    target_s: float | None = None
    outcome: str = ANSWERED
    strained: bool = False


@dataclass(frozen=True, slots=True)
class PastProbe:
    """An earlier probe, as the ledger keeps it."""

    echo_s: float | None
    find_s: float | None
    outcome: str
    level: int
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers may load the source from now on, and why."""

    level: int
    step: Step
    reason: str


QUIET = "quiet"


def decide(
    probe: Probe,
    past: Sequence[PastProbe],
    *,
    workers: int,
    most: int,
    policy: GovernorPolicy,
) -> Decision:
    """Return the new level.

    Parameters
    ----------
    past
        Earlier probes of the same source, newest first; the newest holds the present level.
    workers
        How many load the source at present.
    most
        The bound of the throttle policy, and the level before the first probe.
    """
    level = min(past[0].level, most) if past else most
    trouble = _trouble(probe, past, policy)
    if trouble is None and probe.outcome != ANSWERED:
        return Decision(level, Step.HOLD, f"the probe failed for another reason: {probe.outcome}")
    if trouble is not None:
        return _down(level, workers, trouble)
    if level >= most:
        return Decision(level, Step.HOLD, QUIET)
    quiet = 1 + sum(1 for _ in takewhile(_is_quiet, past))
    if quiet < policy.quiet_probes:
        return Decision(level, Step.HOLD, QUIET)
    return Decision(level + 1, Step.UP, f"quiet for {quiet} probes")


def baseline(latencies: Sequence[float | None]) -> float | None:
    """Return what is usual: the lower quartile, None while too few are known.

    Most probes are made under our own load; the lower quartile is close to the source at rest,
    and one lucky answer does not set it.
    """
    known = sorted(value for value in latencies if value is not None)
    if len(known) < _BASELINE_PROBES:
        return None
    return known[int(len(known) * _BASELINE_QUANTILE)]


def _down(level: int, workers: int, trouble: str) -> Decision:
    if workers > level:
        return Decision(level, Step.HOLD, f"{trouble}; {workers} workers have yet to let go")
    lower = max(1, min(level, max(workers, 1)) // 2)
    if lower < level:
        return Decision(lower, Step.DOWN, trouble)
    return Decision(level, Step.HOLD, f"{trouble}; one worker is the least")


def _trouble(probe: Probe, past: Sequence[PastProbe], policy: GovernorPolicy) -> str | None:
    """Return what is wrong, None when all is quiet."""
    if probe.strained:
        return f"no answer: {probe.outcome}"
    for name, latency, usual in (
        ("C-ECHO", probe.echo_s, baseline([p.echo_s for p in past])),
        ("C-FIND", probe.find_s, baseline([p.find_s for p in past])),
    ):
        limit = policy.max_latency_s
        if usual is not None:
            limit = min(limit, max(usual * policy.slow_factor, policy.ignore_below_s))
        if latency is not None and latency > limit:
            return f"{name} took {latency:.3f} s, more than {limit:.3f} s"
    if probe.target_s is not None and probe.target_s > policy.max_target_latency_s:
        return f"HEAD took {probe.target_s:.3f} s, more than {policy.max_target_latency_s:.3f} s"
    return None


def _is_quiet(past: PastProbe) -> bool:
    return past.decision == Step.HOLD and past.reason == QUIET
