"""Waits until objects of an archive tier can be read; hours in which no worker is held."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from dicom_migration.errors import MigrationError, PermanentError, TransientError
from dicom_migration.hooks.cloud import open_store

log = logging.getLogger(__name__)


class RestoresTrigger(BaseTrigger):
    """Fires when at least one more of `keys` can be read or is lost, or when time is up.

    :param target_conn_id: connection of the bucket
    :param keys: objects that are awaited, relative to the connection's prefix
    :param until: when to give up, ISO 8601 in UTC
    :param poll_seconds: pause between two looks (HeadObject for each key)

    The event is ``{"seen_at", "ready": {key: expiry or ""}, "lost": {key: [reason, message]},
    "late": bool}``, times in ISO 8601.
    """

    def __init__(
        self, *, target_conn_id: str, keys: Sequence[str], until: str, poll_seconds: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.target_conn_id = target_conn_id
        self.keys = list(keys)
        self.until = until
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "target_conn_id": self.target_conn_id,
                "keys": self.keys,
                "until": self.until,
                "poll_seconds": self.poll_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, and look again; a store that is away for a while is waited for."""
        until = datetime.fromisoformat(self.until)
        while True:
            event = await sync_to_async(self.look)()
            left = (until - datetime.now(UTC)).total_seconds()
            if event["ready"] or event["lost"] or left <= 0:
                yield TriggerEvent({**event, "late": left <= 0})  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(min(self.poll_seconds, left))

    def look(self) -> dict[str, Any]:
        """Ask once for every key."""
        from dicom_migration.cloud.s3_restore import restore_state

        now = datetime.now(UTC)
        ready: dict[str, str] = {}
        lost: dict[str, list[str]] = {}
        try:
            with open_store(self.target_conn_id) as store:
                for key in self.keys:
                    try:
                        state = restore_state(store.access, key, now)
                    except PermanentError as error:
                        lost[key] = [error.reason.value, error.message]
                        continue
                    if state.can_be_read:
                        ready[key] = state.expires_at.isoformat() if state.expires_at else ""
        except TransientError as error:
            log.warning("The store does not answer, looking again later: %s", error)
        except MigrationError as error:  # a connection that cannot be opened helps no key
            lost = {key: [error.reason.value, error.message] for key in self.keys}
        seen_at = datetime.now(UTC).isoformat()  # not before the answers: a look takes its time
        return {"seen_at": seen_at, "ready": ready, "lost": lost}
