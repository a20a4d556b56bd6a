"""Reads the fields of an Airflow connection strictly, and names the one that is wrong.

A connection comes from a form, a URI, a JSON file or a secrets backend: the same number is an
integer in one and text in another. A misspelt field is an error here, not a default taken in
silence. Values are never echoed: a password may stand where a port should.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from dicom_migration.errors import MigrationError, PermanentError, ReasonCode

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from dicom_migration.archive.protocol import ImageArchive

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class ConnectionFields:
    """The extra fields of one connection.

    Parameters
    ----------
    connection
        The connection, of whatever type.
    known
        Names that its extra may have.

    Raises
    ------
    PermanentError
        The extra is no JSON object, or has a field that is not known.
    """

    def __init__(self, connection: Connection, known: frozenset[str]) -> None:
        self.conn_id = connection.conn_id
        self._extra = self._parse(connection)
        unknown = sorted(set(self._extra) - known)
        if unknown:
            raise self.wrong(unknown[0], f"is not a field; there are {', '.join(sorted(known))}")

    def given(self, name: str) -> bool:
        """Tell whether the field is there and not left empty."""
        return self._extra.get(name) not in (None, "")

    def text(self, name: str) -> str:
        """Return a text field, stripped."""
        value = self._extra[name]
        if not isinstance(value, str):
            raise self.wrong(name, "must be text")
        return value.strip()

    def integer(self, name: str) -> int:
        """Return a whole number."""
        value = self._extra[name]
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self.wrong(name, "must be a whole number")

    def number(self, name: str) -> float:
        """Return a number."""
        value = self._extra[name]
        try:
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                return float(value)
        except ValueError:
            pass
        raise self.wrong(name, "must be a number")

    def boolean(self, name: str) -> bool:
        """Return a truth value."""
        value = self._extra[name]
        word = str(value).strip().lower()
        if word not in _TRUE + _FALSE:
            raise self.wrong(name, "must be true or false")
        return word in _TRUE

    def wrong(self, name: str, problem: str) -> PermanentError:
        """Return the error for a field that cannot be used."""
        return PermanentError(
            f"The field {name!r} of the Airflow connection {self.conn_id} {problem}.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step=f"Correct {name!r} in the connection.",
        )

    def _parse(self, connection: Connection) -> dict[str, Any]:
        try:
            parsed = json.loads(connection.extra or "{}")
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise self.wrong("extra", "must be a JSON object")
        # Read once more by Airflow, which masks what looks like a secret in logs.
        return dict(connection.extra_dejson)


def require_host(connection: Connection) -> str:
    """Return the host of a connection.

    Raises
    ------
    PermanentError
        It has none.
    """
    if not connection.host:
        raise PermanentError(
            f"The Airflow connection {connection.conn_id} has no host.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Fill in the host of the source.",
        )
    return str(connection.host)


class ArchiveHook(Protocol):
    """A hook whose connection is a study archive."""

    def get_conn(self) -> ImageArchive:
        """Return the archive."""


def tested(hook: ArchiveHook) -> tuple[bool, str]:
    """Check the archive of a hook for Airflow's *Test* button: success, and what to show."""
    try:
        with hook.get_conn() as archive:
            found = archive.check()
    except MigrationError as error:
        return False, str(error)
    facts = ", ".join(
        f"{name}: {value}" for name, value in {**found.facts, **found.observed}.items()
    )
    return True, f"{found.description} answered in {found.latency_s * 1000:.1f} ms. {facts}"
