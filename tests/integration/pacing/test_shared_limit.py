"""A limit of bytes a second, shared by worker processes."""

from __future__ import annotations

from dicom_migration.ledger import Ledger
from tests.integration.pacing.conftest import Start

LIMIT = 2_000_000
SETTLING_S = 1.5
"""Three beats of a lease of two seconds: by then each worker has seen the other."""
TOLERANCE = 0.15

Samples = list[tuple[float, int]]


def received(samples: Samples, start: float, end: float) -> int:
    inside = [taken for at, taken in samples if start <= at <= end]
    return inside[-1] - inside[0] if inside else 0


def test_together_they_stay_within_it_and_each_has_a_fair_share(
    ledger: Ledger, start: Start
) -> None:
    workers = [
        start("receive", url=ledger.url, bytes_per_second=LIMIT, seconds=7, study=f"1.2.{number}")
        for number in (1, 2)
    ]
    samples: list[Samples] = [worker.result() for worker in workers]
    begin = max(s[0][0] for s in samples) + SETTLING_S
    end = min(s[-1][0] for s in samples)
    assert end - begin > 2, "they ran beside one another long enough to be measured"
    rates = [received(s, begin, end) / (end - begin) for s in samples]
    assert sum(rates) < LIMIT * (1 + TOLERANCE)
    assert sum(rates) > LIMIT * 0.6, "and what is allowed is used"
    assert min(rates) > 0.35 * sum(rates)


def test_one_alone_has_all_of_it(ledger: Ledger, start: Start) -> None:
    samples: Samples = start(
        "receive", url=ledger.url, bytes_per_second=LIMIT, seconds=3, study="1.2.1"
    ).result()
    begin, end = samples[0][0] + 0.5, samples[-1][0]
    rate = received(samples, begin, end) / (end - begin)
    assert LIMIT * 0.7 < rate < LIMIT * (1 + TOLERANCE)
