"""What the tables have in common: types, and columns that are never null."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

UID = String(64)
ROW_ID = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time that comes back aware, in UTC, from every database.

    SQLite keeps no time zone: what is written is UTC, so what is read is as well.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Write UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read UTC."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


UTC_TIME = UtcDateTime()


def uid(name: str, **kwargs: object) -> Column[str]:
    """Return the column of a UID."""
    return Column(name, UID, nullable=False, **kwargs)  # type: ignore[arg-type]


def text(name: str) -> Column[str]:
    """Return a column of text, "" unless given."""
    return Column(name, Text, nullable=False, server_default="")


def count(name: str) -> Column[int]:
    """Return a column of a number, 0 unless given."""
    return Column(name, BigInteger, nullable=False, server_default="0")
