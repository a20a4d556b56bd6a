"""The busy hour: requests that arrive by themselves, timed from when they should have begun.

A loop that waits for each answer before it asks again slows down together with the system it
measures and hides the wait (coordinated omission). Here arrivals are fixed beforehand, a seeded
Poisson process, and a request that found no free thread has already been waiting.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from dicom_migration.policies.slas import BusyHour, SourceLoad
from dicom_migration.retrieval.measuring import Measurement, Stopwatch
from dicom_migration.retrieval.targets import Target

#: Measures one target, begun at that moment (``time.perf_counter()``).
Ask = Callable[[Target, float], Measurement]


def arrivals(policy: BusyHour | SourceLoad, seed: int) -> list[float]:
    """Return when requests arrive, in seconds from the start."""
    generator = random.Random(seed)
    rate = policy.arrivals_per_minute / 60
    times: list[float] = []
    now = generator.expovariate(rate)
    while now < policy.duration_seconds:
        times.append(now)
        now += generator.expovariate(rate)
    return times if isinstance(policy, BusyHour) else times[: policy.max_requests]


def chosen_targets(targets: Sequence[Target], requests: int, seed: int) -> list[Target]:
    """Return what is asked for, request by request."""
    generator = random.Random(seed + 1)
    return [generator.choice(targets) for _ in range(requests)]


def run_busy_hour(
    stopwatch: Stopwatch, targets: Sequence[Target], policy: BusyHour, seed: int
) -> list[Measurement]:
    """Put the busy hour's load on the cloud and return one measurement an arrival."""
    if not targets or not policy.enabled:
        return []

    def ask(target: Target, begin: float) -> Measurement:
        return stopwatch.measure(target, "cloud", policy.operation, "busy", begin=begin)

    times = arrivals(policy, seed)
    return _load(times, chosen_targets(targets, len(times), seed), ask, policy.threads)


def run_source_busy_hour(
    stopwatches: Sequence[Stopwatch], targets: Sequence[Target], policy: BusyHour, seed: int
) -> list[Measurement]:
    """Put a bounded load on the source: each stopwatch has an association of its own."""
    if not targets or not stopwatches or not policy.source.enabled:
        return []
    free: SimpleQueue[Stopwatch] = SimpleQueue()
    for stopwatch in stopwatches:
        free.put(stopwatch)

    def ask(target: Target, begin: float) -> Measurement:
        stopwatch = free.get()
        try:
            return stopwatch.measure(target, "source", policy.operation, "busy", begin=begin)
        finally:
            free.put(stopwatch)

    times = arrivals(policy.source, seed)
    return _load(times, chosen_targets(targets, len(times), seed), ask, len(stopwatches))


def _load(
    times: Sequence[float], targets: Sequence[Target], ask: Ask, threads: int
) -> list[Measurement]:
    pending: list[Future[Measurement]] = []
    with ThreadPoolExecutor(threads, thread_name_prefix="clinician") as clinicians:
        start = time.perf_counter()
        for at, target in zip(times, targets, strict=True):
            time.sleep(max(0.0, start + at - time.perf_counter()))
            pending.append(clinicians.submit(ask, target, start + at))
    return [future.result() for future in pending]
