import pytest

from dicom_migration.pacing.throttle import BURST_S, TokenBucket


class Seconds:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Seconds:
    return Seconds()


def bucket(time: Seconds, rate: float | None) -> TokenBucket:
    return TokenBucket(rate, clock=time, sleep=time.sleep)


def test_bytes_arrive_at_the_rate(time: Seconds) -> None:
    throttle = bucket(time, 1000)
    for _ in range(100):
        throttle.took(100)
    assert time.now == pytest.approx(10)
    assert throttle.waited_s == pytest.approx(10)


def test_one_large_piece_is_paid_for_in_full(time: Seconds) -> None:
    throttle = bucket(time, 1000)
    throttle.took(60_000)
    assert time.now == pytest.approx(60)


def test_a_source_that_is_slower_never_waits(time: Seconds) -> None:
    throttle = bucket(time, 1000)
    for _ in range(100):
        time.now += 1
        throttle.took(900)
    assert throttle.waited_s == 0


def test_a_pause_earns_no_more_than_a_short_burst(time: Seconds) -> None:
    throttle = bucket(time, 1000)
    time.now += 3600
    before = time.now
    for _ in range(100):
        throttle.took(100)
    assert time.now - before == pytest.approx(10 - BURST_S)


def test_a_new_rate_holds_from_the_next_piece_on(time: Seconds) -> None:
    throttle = bucket(time, 1000)
    throttle.took(1000)
    throttle.rate = 500
    throttle.took(1000)
    assert time.now == pytest.approx(3)
    throttle.rate = None
    throttle.took(10**9)
    assert time.now == pytest.approx(3)


def test_without_a_limit_nothing_waits(time: Seconds) -> None:
    bucket(time, None).took(10**12)
    assert time.now == 0


def test_who_is_woken_early_pays_later(time: Seconds) -> None:
    throttle = TokenBucket(1000, clock=time, sleep=lambda _seconds: time.sleep(0.1))
    throttle.took(1000)
    throttle.rate = 1000
    before = time.now
    throttle._sleep = time.sleep
    throttle.took(0)
    assert before == pytest.approx(0.1)
    assert time.now == pytest.approx(1)
