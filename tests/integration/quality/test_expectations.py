"""PostgreSQL answers the expectations of DICOM as memory and SQLite do."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_migration.ledger import Ledger
from dicom_migration.quality.expectations.pixels import COLUMNS
from include.peers.postgres import Postgres
from tests.conftest import require
from tests.unit.quality.test_expectations import (
    ONE_COLUMN,
    PIXELS,
    TWO_COLUMNS,
    failing,
    framed,
    judged_in_database,
    suite_of_one,
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    require(Postgres.available(), "postgresql")
    with Postgres(tmp_path_factory.mktemp("postgres")) as server, Ledger(server.url) as opened:
        yield opened


@pytest.fixture
def unmet(ledger: Ledger, tmp_path: Path) -> Iterator[Callable[..., set[int]]]:
    with suite_of_one(tmp_path) as write:

        def call(kind: str, kwargs: dict[str, Any], rows: list[dict[str, Any]]) -> set[int]:
            write(kind, kwargs)
            return failing(judged_in_database(ledger, framed(rows).convert_dtypes()))

        yield call


@pytest.mark.peers
@pytest.mark.parametrize(("kind", "kwargs", "good", "bad"), ONE_COLUMN)
def test_values_of_one_column(
    unmet: Callable[..., set[int]],
    kind: str,
    kwargs: dict[str, Any],
    good: list[Any],
    bad: list[Any],
) -> None:
    rows = [{"value": value} for value in (*good, *bad, None)]
    found = unmet(kind, {"column": "value", **kwargs}, rows)
    assert found == set(range(len(good), len(good) + len(bad)))


@pytest.mark.peers
@pytest.mark.parametrize(("kind", "kwargs", "good", "bad"), TWO_COLUMNS)
def test_values_of_two_columns(
    unmet: Callable[..., set[int]],
    kind: str,
    kwargs: dict[str, Any],
    good: list[Any],
    bad: list[Any],
) -> None:
    rows = [{"a": a, "b": b} for a, b in (*good, *bad)]
    found = unmet(kind, {"column_A": "a", "column_B": "b", **kwargs}, rows)
    assert found == set(range(len(good), len(good) + len(bad)))


@pytest.mark.peers
def test_pixel_lengths(unmet: Callable[..., set[int]]) -> None:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in PIXELS]
    kwargs = {"column_list": list(COLUMNS)}
    assert unmet("expect_pixel_length_to_be_consistent", kwargs, rows) == {7, 8}
