import pytest

from dicom_migration.units import human_bytes, human_seconds, money


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (48e12, "48.0 TB"), (5e15, "5000.0 TB")],
)
def test_bytes_are_told_in_decimal_units(count: float, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.25, "1.2 s"), (65, "1 min 5 s"), (12_000, "3 h 20 min"), (360_000, "4 d 4 h")],
)
def test_durations_are_told_in_the_unit_that_matters(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_small_amounts_keep_their_digits() -> None:
    assert [money(0), money(0.0042), money(1234.5)] == ["0.00", "0.0042", "1,234.50"]
