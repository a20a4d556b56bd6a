"""The ledger, opened from an Airflow connection of type ``sqlite`` or ``postgres``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger

DEFAULT_CONN_ID = "migration_ledger"


def ledger_url(conn_id: str = DEFAULT_CONN_ID) -> str:
    """Return the SQLAlchemy URL that the connection `conn_id` stands for.

    Raises
    ------
    PermanentError
        When the connection is of another type, or a SQLite path is missing.
    """
    from sqlalchemy import URL

    connection = BaseHook.get_connection(conn_id)
    if connection.conn_type == "sqlite":
        path = connection.host or connection.schema
        if not path:
            raise _wrong(conn_id, "names no file (field Host)")
        return f"sqlite:///{path}"
    if connection.conn_type in ("postgres", "postgresql"):
        return URL.create(
            "postgresql+psycopg",
            username=connection.login,
            password=connection.password,
            host=connection.host,
            port=connection.port,
            database=connection.schema,
        ).render_as_string(hide_password=False)
    raise _wrong(conn_id, f"is of type {connection.conn_type!r}")


def open_ledger(conn_id: str = DEFAULT_CONN_ID) -> Ledger:
    """Return the ledger of connection `conn_id`; the caller closes it."""
    from dicom_migration.ledger import Ledger

    return Ledger(ledger_url(conn_id))


def _wrong(conn_id: str, problem: str) -> PermanentError:
    return PermanentError(
        f"The ledger connection {conn_id} {problem}.",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step="Give it type sqlite (Host: path of the file) or postgres (host, login, schema).",
    )
