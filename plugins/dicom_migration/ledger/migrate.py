"""Bringing the ledger's tables to this version with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

if TYPE_CHECKING:
    from dicom_migration.ledger.database import Ledger

_SCRIPTS = Path(__file__).with_name("migrations")
_LOCK_KEY = 7_310_582_904  # any fixed number; PostgreSQL advisory lock


def alembic_config(connection: Connection) -> Config:
    """Return an Alembic configuration bound to an open connection."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config


def upgrade(ledger: Ledger) -> None:
    """Migrate to the newest version; two callers at once wait for one another."""
    with ledger.write() as connection:
        if not ledger.is_sqlite:  # SQLite's IMMEDIATE transaction already excludes others
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
        command.upgrade(alembic_config(connection), "head")
