"""When waves end: windows, speeds, and the range between the best and the worst."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.discovery.throughput import Speed, SpeedRange, speed_range
from dicom_migration.discovery.timeline import open_spans, timeline
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.strategy import StrategyPolicy, Throughput, WaveLimits
from dicom_migration.policies.windows import MigrationWindow, WindowPolicy
from tests.unit.discovery.conftest import SIZE, TODAY, known, planned, study

MONDAY = date(2025, 11, 3)
NIGHTS = WindowPolicy(
    timezone="Europe/Berlin",
    windows=(MigrationWindow(days=("mon", "tue", "wed"), opens="22:00", closes="02:00"),),
)
BERLIN = ZoneInfo("Europe/Berlin")


def flat(bytes_per_second: float) -> SpeedRange:
    def speed(factor: float) -> Speed:
        return Speed(bytes_per_second * factor, 1e9)

    return SpeedRange(speed(2), speed(1), speed(0.5), 0)


def waves_of(ledger: Ledger, policies: PlanPolicies, speeds: SpeedRange, windows: WindowPolicy):
    known(ledger, *(study(n, f"20200{n}01") for n in range(1, 4)))  # 10 MB each
    one_each = StrategyPolicy(waves=WaveLimits(max_studies=1))
    plan = planned(ledger, PlanPolicies(one_each, policies.tiers, policies.retention, TODAY))
    with ledger.read() as connection:
        return timeline(connection, plan.plan_id, speeds, windows, 24, MONDAY)


def test_waves_wait_for_the_window_and_go_on_in_the_next(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    three_hours = 10 * SIZE / (3 * 3600)  # a wave
    first, second, third = waves_of(ledger, policies, flat(three_hours), NIGHTS)
    assert first.begins == datetime(2025, 11, 3, 22, tzinfo=BERLIN)
    assert first.expected == datetime(2025, 11, 4, 1, tzinfo=BERLIN)
    assert second.expected == datetime(2025, 11, 5, 0, tzinfo=BERLIN)
    assert third.expected == datetime(2025, 11, 5, 23, tzinfo=BERLIN)
    assert third.optimistic == datetime(2025, 11, 4, 22, 30, tzinfo=BERLIN)
    assert third.pessimistic == datetime(2025, 11, 12, 0, tzinfo=BERLIN)


def test_without_windows_it_runs_so_many_hours_a_day() -> None:
    spans = list(islice(open_spans(WindowPolicy(), 6, MONDAY), 2))
    assert spans[0] == (datetime(2025, 11, 3, tzinfo=UTC), datetime(2025, 11, 3, 6, tzinfo=UTC))
    assert spans[1][0] - spans[0][0] == timedelta(days=1)


def test_overlapping_windows_are_not_counted_twice() -> None:
    policy = WindowPolicy(
        windows=(
            MigrationWindow(opens="20:00", closes="06:00"),
            MigrationWindow(opens="22:00", closes="08:00"),
            MigrationWindow(days=("sun",), opens="00:00", closes="00:00"),
        )
    )
    spans = list(islice(open_spans(policy, 24, MONDAY), 60))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    week = [
        (min(closes, datetime(2025, 11, 10, tzinfo=UTC)) - opens).total_seconds()
        for opens, closes in spans
        if opens < datetime(2025, 11, 10, tzinfo=UTC)
    ]
    assert sum(week) == 3600 * (6 * (8 + 4) + 24)


def test_the_hour_that_the_clock_repeats_is_worked_once() -> None:
    policy = WindowPolicy(
        timezone="Europe/Berlin", windows=(MigrationWindow(opens="01:00", closes="04:00"),)
    )
    day = date(2025, 10, 26)  # summer time ends: the night has an hour more
    opens, closes = next(open_spans(policy, 24, day))
    assert closes - opens == timedelta(hours=4)


def test_a_speed_that_gets_nowhere_has_no_date(ledger: Ledger, policies: PlanPolicies) -> None:
    waves = waves_of(ledger, policies, flat(0.001), NIGHTS)
    assert [wave.expected for wave in waves] == [None, None, None]


def transfers(ledger: Ledger, megabytes: list[int]) -> None:
    """Record one transfer at the end of each hour."""
    start = datetime(2025, 11, 1, 20, 30, tzinfo=UTC)
    rows = [
        {
            "study_instance_uid": f"1.2.{hour}",
            "phase": "transfer",
            "number": 1,
            "started_at": start,
            "ended_at": start + timedelta(hours=hour),
            "outcome": "transferred",
            "instances": 3600,
            "bytes": size * 3600 * 1_000_000,
        }
        for hour, size in enumerate(megabytes)
    ]
    with ledger.write() as connection:
        connection.execute(insert(schema.attempt), rows)


def test_measured_hours_replace_the_assumption(ledger: Ledger) -> None:
    policy = Throughput(megabytes_per_second=40, measured_hours=5)
    with ledger.read() as connection:
        assert speed_range(connection, policy).expected.bytes_per_second == 40e6
    transfers(ledger, [1, 10, 20, 30, 40, 50, 1])  # begun and left in mid-hour at both ends
    with ledger.read() as connection:
        speeds = speed_range(connection, policy)
    assert speeds.measured_hours == 5
    assert [
        speed.bytes_per_second / 1e6
        for speed in (speeds.pessimistic, speeds.expected, speeds.optimistic)
    ] == [20, 30, 40]
    assert speeds.expected.instances_per_second == 1


@pytest.mark.parametrize("hours", [0, 3, 6])
def test_too_few_hours_measure_nothing(ledger: Ledger, hours: int) -> None:
    transfers(ledger, [5] * hours) if hours else None
    with ledger.read() as connection:
        assert speed_range(connection, Throughput(measured_hours=5)).measured_hours == 0


def test_many_small_instances_are_slower_than_their_bytes() -> None:
    assert Speed(1e6, 10).seconds(size=1_000_000, instances=1000) == 100
