"""The busy hour: requests that arrive by themselves, timed from when they should have begun.

A loop that waits for each answer before it asks again slows down together with the system it
measures and hides the wait (coordinated omission). Here arrivals are fixed beforehand, a seeded
Poisson process, and a request that found no free thread has already been waiting.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from dicom_migration.policies.slas import BusyHour
from dicom_migration.retrieval.measuring import Measurement, Stopwatch, Target


def arrivals(policy: BusyHour, seed: int) -> list[float]:
    """Return when requests arrive, in seconds from the start."""
    generator = random.Random(seed)
    rate = policy.arrivals_per_minute / 60
    times: list[float] = []
    now = generator.expovariate(rate)
    while now < policy.duration_seconds:
        times.append(now)
        now += generator.expovariate(rate)
    return times


def run_busy_hour(
    stopwatch: Stopwatch, targets: Sequence[Target], policy: BusyHour, seed: int
) -> list[Measurement]:
    """Put the busy hour's load on the cloud and return one measurement an arrival.

    The source is never loaded: it serves patients while this runs.
    """
    if not targets or not policy.enabled:
        return []
    generator = random.Random(seed + 1)
    times = arrivals(policy, seed)
    chosen = [generator.choice(targets) for _ in times]
    pending: list[Future[Measurement]] = []
    with ThreadPoolExecutor(policy.threads, thread_name_prefix="clinician") as clinicians:
        start = time.perf_counter()
        for at, target in zip(times, chosen, strict=True):
            time.sleep(max(0.0, start + at - time.perf_counter()))
            pending.append(
                clinicians.submit(
                    stopwatch.measure, target, "cloud", policy.operation, "busy", begin=start + at
                )
            )
    return [future.result() for future in pending]
