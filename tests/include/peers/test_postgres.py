"""The database server keeps its data over a restart and removes them in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from include.peers.postgres import Postgres
from include.peers.process import is_listening
from tests.conftest import require


def test_rows_survive_a_restart_and_the_data_do_not_survive_the_context(tmp_path: Path) -> None:
    require(Postgres.available(), "postgresql")
    with Postgres(tmp_path) as peer:
        engine = create_engine(peer.url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE study (uid text)"))
            connection.execute(text("INSERT INTO study VALUES ('1.2.3')"))
        peer.stop()
        assert not is_listening(peer.port)
        peer.start()
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT uid FROM study")) == "1.2.3"
        data = peer.data_directory
        assert data is not None
        assert data.exists()
    assert not data.exists()
    assert not is_listening(peer.port)


def test_the_password_is_asked_for(tmp_path: Path) -> None:
    require(Postgres.available(), "postgresql")
    with Postgres(tmp_path) as peer:
        wrong = peer.url.replace(peer.password, "guess")
        engine = create_engine(wrong, poolclass=NullPool)
        with pytest.raises(OperationalError, match="password authentication failed"):
            engine.connect()
