from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dicom_migration.errors import PermanentError
from dicom_migration.policies.windows import MigrationWindow, WindowPolicy, load_window_policy

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS = WindowPolicy(
    timezone="Europe/Berlin",
    windows=(
        MigrationWindow(days=("mon", "tue", "wed", "thu", "fri"), opens=time(19), closes=time(6)),
    ),
)


def berlin(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=BERLIN)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        (berlin(2026, 3, 2, 18, 59, 59), False),  # a Monday
        (berlin(2026, 3, 2, 19, 0, 0), True),  # opens inclusively
        (berlin(2026, 3, 3, 0, 0, 0), True),  # goes on past midnight
        (berlin(2026, 3, 3, 5, 59, 59), True),
        (berlin(2026, 3, 3, 6, 0, 0), False),  # closes exclusively
        (berlin(2026, 3, 7, 3, 0, 0), True),  # Friday's window reaches into Saturday
        (berlin(2026, 3, 7, 20, 0, 0), False),  # none opens on Saturday
        (berlin(2026, 3, 9, 3, 0, 0), False),  # none opened on Sunday
    ],
)
def test_a_window_that_spans_midnight(at: datetime, is_open: bool) -> None:
    assert NIGHTS.is_open(at) is is_open


def test_the_next_opening_skips_the_weekend() -> None:
    saturday = berlin(2026, 3, 7, 12, 0)
    assert NIGHTS.next_opening(saturday) == berlin(2026, 3, 9, 19, 0)


def test_when_open_the_next_opening_is_now() -> None:
    now = berlin(2026, 3, 2, 23, 0)
    assert NIGHTS.next_opening(now) == now


def test_a_night_with_a_clock_change_is_an_hour_shorter() -> None:
    sunday = MigrationWindow(days=("sat",), opens=time(19), closes=time(6))
    span = sunday.span_on(datetime(2026, 3, 28).date(), BERLIN)  # noqa: DTZ001 - a date only
    assert span is not None
    assert span[1] - span[0] == timedelta(hours=10)


def test_no_windows_means_any_time() -> None:
    assert WindowPolicy().is_open(datetime(2026, 3, 2, tzinfo=UTC))


def test_equal_times_mean_the_whole_day() -> None:
    weekend = WindowPolicy(
        windows=(MigrationWindow(days=("sat", "sun"), opens=time(0), closes=time(0)),)
    )
    assert weekend.is_open(datetime(2026, 3, 7, 0, 0, tzinfo=UTC))
    assert weekend.is_open(datetime(2026, 3, 8, 23, 59, 59, tzinfo=UTC))
    assert not weekend.is_open(datetime(2026, 3, 9, 0, 0, tzinfo=UTC))


def test_an_unknown_timezone_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "windows.yaml"
    file.write_text("windows: []\ntimezone: Mars/Olympus\n")
    with pytest.raises(PermanentError, match=r"windows\.yaml, line 2, field timezone.*Mars"):
        load_window_policy(file)


def test_the_policy_that_ships_is_valid() -> None:
    assert load_window_policy().is_open(datetime(2026, 3, 2, tzinfo=UTC))


@pytest.mark.parametrize("opens", ["18:00", "1080", '"25:00"', '"7:00"', "late"])
def test_a_time_that_is_not_quoted_hours_and_minutes_is_refused(tmp_path: Path, opens: str) -> None:
    file = tmp_path / "windows.yaml"
    file.write_text(f'windows:\n  - opens: {opens}\n    closes: "22:30"\n')
    with pytest.raises(PermanentError, match=r"line 2, field windows\.0\.opens"):
        load_window_policy(file)


NIGHTS_AND_WEEKENDS = WindowPolicy(
    timezone="Europe/Berlin",
    windows=(
        MigrationWindow(days=("mon", "tue", "wed", "thu", "fri"), opens=time(19), closes=time(6)),
        MigrationWindow(days=("sat", "sun"), opens=time(0), closes=time(0)),
    ),
)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        (berlin(2026, 3, 6, 12, 0), False),  # Friday noon
        (berlin(2026, 3, 6, 23, 59, 59), True),
        (berlin(2026, 3, 7, 0, 0), True),  # one window hands over to the next
        (berlin(2026, 3, 7, 12, 0), True),
        (berlin(2026, 3, 8, 23, 59, 59), True),
        (berlin(2026, 3, 9, 0, 0), False),  # Sunday's 24 hours are over, Monday's night is far
        (berlin(2026, 3, 9, 19, 0), True),
    ],
)
def test_weekdays_and_weekends_have_windows_of_their_own(at: datetime, is_open: bool) -> None:
    assert NIGHTS_AND_WEEKENDS.is_open(at) is is_open


def test_the_sites_time_zone_counts_and_not_the_workers() -> None:
    nine = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)  # 18:30 in Tokyo
    evening = (MigrationWindow(opens=time(18), closes=time(22)),)
    assert WindowPolicy(timezone="Asia/Tokyo", windows=evening).is_open(nine)
    assert not WindowPolicy(timezone="Europe/Berlin", windows=evening).is_open(nine)


@pytest.mark.parametrize(
    ("saturday", "hours"),
    [
        (datetime(2026, 3, 28), 10),  # noqa: DTZ001 - a date: the night to summer time
        (datetime(2026, 10, 24), 12),  # noqa: DTZ001 - the night back
        (datetime(2026, 10, 17), 11),  # noqa: DTZ001 - a night as others
    ],
)
def test_a_night_lasts_as_long_as_the_clocks_make_it(saturday: datetime, hours: int) -> None:
    night = MigrationWindow(days=("sat",), opens=time(19), closes=time(6))
    policy = WindowPolicy(timezone="Europe/Berlin", windows=(night,))
    begin = berlin(saturday.year, saturday.month, saturday.day, 19).astimezone(UTC)
    assert not policy.is_open(begin - timedelta(seconds=1))
    assert policy.is_open(begin)
    assert policy.is_open(begin + timedelta(hours=hours, seconds=-1))
    assert not policy.is_open(begin + timedelta(hours=hours))


def test_an_hour_that_the_clocks_skip_or_repeat_opens_once() -> None:
    at_half_past_two = MigrationWindow(opens=time(2, 30), closes=time(4))
    policy = WindowPolicy(timezone="Europe/Berlin", windows=(at_half_past_two,))
    # 2026-03-29: 02:00 becomes 03:00; 02:30 is read with the offset before, 01:30 UTC.
    assert policy.next_opening(datetime(2026, 3, 29, tzinfo=UTC)) == datetime(
        2026, 3, 29, 1, 30, tzinfo=UTC
    )
    # 2026-10-25: 02:30 comes twice; the first counts, and the window is an hour longer.
    assert policy.next_opening(datetime(2026, 10, 25, tzinfo=UTC)) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )
    assert policy.is_open(datetime(2026, 10, 25, 2, 59, 59, tzinfo=UTC))
    assert not policy.is_open(datetime(2026, 10, 25, 3, 0, tzinfo=UTC))
