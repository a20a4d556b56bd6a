"""Opening the ledger's database: SQLite (WAL) or PostgreSQL, one way to read and to write."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
)

from dicom_migration.errors import PermanentError, ReasonCode, TransientError

SQLITE_BUSY_TIMEOUT_MS = 60_000
#: A server that restarts is back within seconds; nobody's work has to begin again for that.
CONNECT_PATIENCE_S = 5.0
_CONNECT_PAUSE_S = 0.1


class Ledger:
    """The ledger's database; open one per task and close it.

    Parameters
    ----------
    url
        ``sqlite:///path/to/file.db`` or ``postgresql+psycopg://user:password@host/database``.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise PermanentError(
                "The ledger's address is not a database URL.",
                reason=ReasonCode.CONFIGURATION_INVALID,
                next_step="Correct the connection migration_ledger (types: sqlite, postgres).",
            ) from error
        self.url = url
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {}
        if self.is_sqlite:
            if parsed.database:
                _make_folder(Path(parsed.database).parent)
            options["connect_args"] = {"timeout": SQLITE_BUSY_TIMEOUT_MS / 1000}
        else:
            options["pool_pre_ping"] = True
        self.engine: Engine = create_engine(parsed, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading only."""
        with _typed_errors(), self._connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a transaction that commits at the end, or leaves nothing."""
        with (
            _typed_errors(),
            self._connect().execution_options(ledger_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def _connect(self) -> Connection:
        """Return a connection; one to a server that does not answer is asked for again."""
        give_up = time.monotonic() + CONNECT_PATIENCE_S
        while True:
            try:
                return self.engine.connect()
            except OperationalError as error:
                if self.is_sqlite or _refusal(error) or time.monotonic() > give_up:
                    raise
            time.sleep(_CONNECT_PAUSE_S)

    def upgrade(self) -> None:
        """Create or migrate the tables to this version (Alembic); safe to call every time."""
        from dicom_migration.ledger.migrate import upgrade

        with _typed_errors():
            upgrade(self)

    def close(self) -> None:
        """Return all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermanentError(
            f"The ledger's folder {folder} cannot be made ({error.strerror}).",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Correct the path in the connection migration_ledger (field Host).",
        ) from None


@contextlib.contextmanager
def _typed_errors() -> Iterator[None]:
    """Turn database trouble into errors that a retry policy understands."""
    try:
        yield
    except IntegrityError as error:
        raise TransientError(
            f"Another writer was faster in the ledger ({type(error.orig).__name__}).",
            reason=ReasonCode.LEDGER_CONFLICT,
            next_step="Nothing: the task tries again.",
        ) from None  # the original message holds the values, which may be PHI
    except DBAPIError as error:
        refused = _refusal(error)
        if refused:
            raise PermanentError(
                f"The ledger refused us: {refused}.",
                reason=ReasonCode.LEDGER_UNAVAILABLE,
                next_step="Check the connection migration_ledger, then run the discovery DAG, "
                "whose first task creates the tables.",
            ) from None
        raise TransientError(
            f"The ledger did not answer ({type(error.orig).__name__}).",
            reason=ReasonCode.LEDGER_UNAVAILABLE,
            next_step="Check that the ledger's database runs and is reachable from the workers.",
        ) from None


#: What a database says when trying again cannot help; the text after it may quote values.
_REFUSALS = (
    "password authentication failed",
    "no such table",
    "does not exist",
    "permission denied",
    "no pg_hba.conf entry",
    "unable to open database file",
    "file is not a database",
    "attempt to write a readonly database",
)


def _refusal(error: DBAPIError) -> str:
    """Return why the database will never do this, "" when it may later."""
    text = str(error.orig).lower() if error.orig else ""
    known = next((phrase for phrase in _REFUSALS if phrase in text), "")
    if not known and isinstance(error, (ProgrammingError, DataError)):
        return type(error.orig).__name__  # our statement or value: the text may hold PHI
    return known


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # transactions begin in _begin_sqlite
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_TIMEOUT_MS}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: two readers that both turn writers would deadlock.
    write = connection.get_execution_options().get("ledger_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
