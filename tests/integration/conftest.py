"""A ledger in each database it may live in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_migration.ledger import Ledger, schema
from include.peers.postgres import Postgres
from tests.conftest import require


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a database that tests share: each leaves its tables empty."""
    require(Postgres.available(), "postgresql")
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgres"])
def any_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Return an empty ledger, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
    else:
        url = request.getfixturevalue("postgres")
    with Ledger(url) as opened:
        opened.upgrade()
        yield opened
        if request.param == "postgres":
            with opened.write() as connection:
                for table in reversed(schema.metadata.sorted_tables):
                    connection.execute(table.delete())
