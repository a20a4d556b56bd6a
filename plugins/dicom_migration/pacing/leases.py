"""Leases: who may use what at the moment, agreed on in the ledger by all workers.

A lease is a row ``(kind, name)`` with its holder and an end. Whoever holds it moves the end on
while it works; the lease of a holder that was killed runs out and is free again. Taking one is a
single conditional statement, so that of many who try at once exactly one succeeds, on SQLite as
on PostgreSQL. The clocks of the workers must agree within a fraction of a lease's length.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from dicom_migration.errors import MigrationError
from dicom_migration.ledger import Ledger, schema, utc_now

log = logging.getLogger(__name__)

_table = schema.lease.c
Key = tuple[str, str]


def new_holder() -> str:
    """Return a name for this process that no other and no later process has."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}:{secrets.token_hex(4)}"


class Leases:
    """The leases of one holder; safe for use from several threads.

    Parameters
    ----------
    holder
        Who holds them; unique, see :func:`new_holder`.
    seconds
        Length of a lease. :meth:`renew` must be called several times within it.
    clock
        Returns the present time in UTC.
    """

    def __init__(
        self,
        ledger: Ledger,
        holder: str,
        *,
        seconds: float = 60.0,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.holder = holder
        self.seconds = seconds
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[Key, datetime] = {}

    def acquire(
        self, kind: str, names: Sequence[str], *, detail: str = "", release: Sequence[str] = ()
    ) -> str | None:
        """Take the first of `names` that is free, and return it; None when all are taken.

        One that this holder has already is free for it. `release` names leases of the same kind
        that are given back in the same transaction.
        """
        with self._lock:  # first: a renewal meanwhile must not take them for lost
            for name in release:
                self._held.pop((kind, name), None)
        with self._ledger.write() as connection:
            now = self._clock()
            for name in release:
                self._delete(connection, (kind, name))
            taken = set(
                connection.scalars(
                    select(_table.name).where(
                        _table.kind == kind,
                        _table.name.in_(names),
                        _table.expires_at > now,
                        _table.holder != self.holder,
                    )
                )
            )
            free = (name for name in names if name not in taken)
            got = next((name for name in free if self._take(connection, kind, name, detail)), None)
        if got is not None:
            with self._lock:
                self._held[(kind, got)] = now + timedelta(seconds=self.seconds)
        return got

    def holds(self, kind: str, name: str) -> bool:
        """Tell, without asking the ledger, whether the lease is certainly still ours."""
        with self._lock:
            end = self._held.get((kind, name))
        return end is not None and self._clock() < end

    def renew(self) -> list[Key]:
        """Move the end of all leases on; return those that were lost to others meanwhile."""
        with self._lock:
            mine = list(self._held)
        if not mine:
            return []
        with self._ledger.write() as connection:
            end = self._clock() + timedelta(seconds=self.seconds)
            kept = {key for key in mine if self._prolong(connection, key, end)}
        with self._lock:
            still_ours = [key for key in mine if key in self._held]  # not given back meanwhile
            lost = [key for key in still_ours if key not in kept]
            self._held.update((key, end) for key in still_ours if key in kept)
            for key in lost:
                del self._held[key]
        for kind, name in lost:
            log.warning("The lease of %s %s ran out and was taken by another worker", kind, name)
        return lost

    def release(self, kind: str, name: str) -> None:
        """Give a lease back; when the ledger is away it runs out by itself."""
        self._give_back([(kind, name)])

    def release_all(self) -> None:
        """Give everything back."""
        with self._lock:
            mine = list(self._held)
        self._give_back(mine)

    def active(self, kind: str, prefix: str = "") -> int:
        """Return how many leases of a kind with names that begin so are held, by anybody."""
        with self._ledger.read() as connection:
            found = connection.scalar(
                select(func.count()).where(
                    _table.kind == kind,
                    _table.name.startswith(prefix, autoescape=True),
                    _table.expires_at > self._clock(),
                )
            )
        return int(found or 0)

    def _give_back(self, keys: Sequence[Key]) -> None:
        with self._lock:
            for key in keys:
                self._held.pop(key, None)
        if not keys:
            return
        try:
            with self._ledger.write() as connection:
                for key in keys:
                    self._delete(connection, key)
        except MigrationError as error:
            log.warning("Leases could not be given back and will run out: %s", error)

    def _take(self, connection: Connection, kind: str, name: str, detail: str) -> bool:
        """Take over a row that ran out or is ours, else make one; False when another was faster."""
        now = self._clock()
        values = {
            "holder": self.holder,
            "acquired_at": now,
            "expires_at": now + timedelta(seconds=self.seconds),
            "detail": detail,
        }
        taken_over = connection.execute(
            update(schema.lease)
            .where(
                _table.kind == kind,
                _table.name == name,
                or_(_table.expires_at <= now, _table.holder == self.holder),
            )
            .values(values)
        )
        if taken_over.rowcount:
            return True
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        # RETURNING, not rowcount: an INSERT's is no promise, and -1 would pass for a success.
        made = connection.scalar(
            dialect.insert(schema.lease)
            .values(kind=kind, name=name, **values)
            .on_conflict_do_nothing()
            .returning(_table.name)
        )
        return made is not None

    def _prolong(self, connection: Connection, key: Key, end: datetime) -> bool:
        found = connection.execute(
            update(schema.lease)
            .where(_table.kind == key[0], _table.name == key[1], _table.holder == self.holder)
            .values(expires_at=end)
        )
        return bool(found.rowcount)

    def _delete(self, connection: Connection, key: Key) -> None:
        connection.execute(
            delete(schema.lease).where(
                _table.kind == key[0], _table.name == key[1], _table.holder == self.holder
            )
        )
