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
