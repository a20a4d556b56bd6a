"""The ledger, opened from an Airflow connection of type ``sqlite`` or ``postgres``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from dicom_migration.ledger import Ledger

DEFAULT_CONN_ID = "migration_ledger"
#: PostgreSQL, "Parameter Key Words" of libpq, as far as a ledger needs them.
_LIBPQ_OPTIONS = frozenset(
    {
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslcrl",
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "target_session_attrs",
        "application_name",
        "channel_binding",
        "options",
    }
)


def ledger_url(conn_id: str = DEFAULT_CONN_ID) -> str:
    """Return the SQLAlchemy URL that the connection `conn_id` stands for.

    Raises
    ------
    PermanentError
        When the connection is of another type, or a SQLite path is missing.
    """
    from sqlalchemy import URL

    connection = _connection(conn_id)
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
            query=_libpq_options(conn_id, connection.extra_dejson),
        ).render_as_string(hide_password=False)
    raise _wrong(conn_id, f"is of type {connection.conn_type!r}")


def _connection(conn_id: str) -> Connection:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise _wrong(conn_id, "does not exist") from None


def _libpq_options(conn_id: str, extra: dict[str, Any]) -> dict[str, str]:
    """Return the extras as libpq options; none is passed over, least of all an ``sslmode``."""
    unknown = sorted(set(extra) - _LIBPQ_OPTIONS)
    if unknown:
        raise _wrong(conn_id, f"has unknown extra fields: {', '.join(unknown)}")
    return {name: str(value) for name, value in extra.items()}


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
