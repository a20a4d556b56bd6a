"""Which study a shard's worker moves next, and that no other worker moves it, too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row, exists, select

from dicom_migration.ledger import EventChain, Ledger, schema, utc_now
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.task_pacing import STUDY
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.approved_corrections import approved_corrections
from dicom_migration.transfer.correcting import Correction
from dicom_migration.transfer.instance_pass import PassSettings
from dicom_migration.transfer.shards import TO_MOVE, Shard
from dicom_migration.units import MIB

_REQUESTED_AT_ONCE = 20


def transfer_chain(shard: Shard) -> EventChain:
    """Return the event chain that a shard's transfer writes."""
    return EventChain(f"wave:{shard.wave_id}/shard-{shard.number}")


def requested_chain(wave_id: str, study_instance_uid: str) -> EventChain:
    """Return the chain of a study that another shard's worker moves: it has one writer, too."""
    return EventChain(f"wave:{wave_id}/requested/{study_instance_uid}")


@dataclass(frozen=True, slots=True)
class Work:
    """One study to move now; a guest is one of another shard that somebody asked for."""

    settings: PassSettings
    wave_id: str
    chain: EventChain
    is_guest: bool

    @property
    def uid(self) -> str:
        """Study Instance UID."""
        return self.settings.study_instance_uid


class ShardQueue:
    """The studies of a shard, and before each of them those that somebody asked for.

    With `leases`, a study is handed out only while this worker holds its lease. Without, the
    caller says that no other worker is at work.

    Attributes
    ----------
    total, promised
        Studies of the shard that were left at the beginning, and their instances by the source's
        own count; None where it did not tell.
    elsewhere
        Studies of the shard that other workers brought to an end meanwhile.
    """

    def __init__(
        self,
        ledger: Ledger,
        shard: Shard,
        source: str,
        policy: TransferPolicy,
        leases: Leases | None,
    ) -> None:
        self.elsewhere = 0
        self._ledger = ledger
        self._shard = shard
        self._source = source
        self._policy = policy
        self._leases = leases
        self._claimed: list[str] = []
        self._done: list[str] = []
        self._corrections: dict[str, dict[str, tuple[Correction, ...]]] = {}
        self._handed_out: set[str] = set()
        rows = self._studies_left()
        self._own = dict.fromkeys(str(row.study_instance_uid) for row in rows)
        self._ours = frozenset(self._own)
        self.total = len(rows)
        promised = [row.number_of_instances for row in rows]
        self.promised = None if None in promised else sum(promised)

    @property
    def waiting(self) -> int:
        """Studies of the shard that were not handed out yet."""
        return len(self._own)

    def take(self, *, own_first: bool = False) -> Work | None:
        """Return the next study; None when other workers are at all that are left.

        With `own_first`, requested studies come after the shard's own.
        """
        requested, own = self._requested(), list(self._own)
        for uid in [*own, *requested] if own_first else [*requested, *own]:
            work = self.claim(uid)
            if work is not None:
                self._own.pop(uid, None)
                self._handed_out.add(uid)
                return work
        return None

    def claim(self, uid: str) -> Work | None:
        """Claim one study, giving those that are done back; None when it is not to be had."""
        if self._leases is not None:
            where = f"{self._shard.wave_id}/{self._shard.number}"
            done, self._done = self._done, []
            if self._leases.acquire(STUDY, [uid], detail=where, release=done) is None:
                return None
            self._claimed.append(uid)
        # Read after the claim: whoever had it before may have brought the study to its end.
        row = self._row(uid)
        if row is None:
            if uid in self._own:
                del self._own[uid]
                self.elsewhere += 1
            self._unclaim(uid)
            return None
        return self._work(row)

    def done(self, work: Work) -> None:
        """Say that nothing more is done to a study: its claim is given back with the next one."""
        self._unclaim(work.uid)

    def _unclaim(self, uid: str) -> None:
        if uid in self._claimed:
            self._claimed.remove(uid)
            self._done.append(uid)

    def put_back(self, work: Work) -> None:
        """Take a study back whose lease was lost while it was moved."""
        self._handed_out.discard(work.uid)
        if not work.is_guest:
            self._own[work.uid] = None

    def close(self) -> None:
        """Give the last claims back."""
        if self._leases is not None:
            for uid in (*self._claimed, *self._done):
                self._leases.release(STUDY, uid)
        self._claimed, self._done = [], []

    def _studies_left(self) -> list[Row[Any]]:
        table = schema.study.c
        with self._ledger.read() as connection:
            return list(
                connection.execute(
                    select(table.study_instance_uid, table.number_of_instances)
                    .where(
                        table.wave_id == self._shard.wave_id,
                        table.shard == self._shard.number,
                        table.state.in_(TO_MOVE),
                    )
                    .order_by(table.priority.desc(), table.study_instance_uid)
                )
            )

    def _requested(self) -> list[str]:
        """Return studies that somebody asked for and nobody is at: this wave's first."""
        if self._leases is None:
            return []
        table, lease = schema.study.c, schema.lease.c
        at_work = exists().where(
            lease.kind == STUDY,
            lease.name == table.study_instance_uid,
            lease.expires_at > utc_now(),
            lease.holder != self._leases.holder,
        )
        with self._ledger.read() as connection:
            found = connection.scalars(
                select(table.study_instance_uid)
                .where(table.priority > 0, table.state.in_(TO_MOVE), ~at_work)
                .order_by(
                    (table.wave_id == self._shard.wave_id).desc(),
                    table.priority.desc(),
                    table.requested_at,
                    table.study_instance_uid,
                )
                .limit(_REQUESTED_AT_ONCE + len(self._handed_out))
            )
            return [uid for uid in found if uid not in self._handed_out]

    def _row(self, uid: str) -> Any:
        table = schema.study.c
        with self._ledger.read() as connection:
            return connection.execute(
                select(
                    table.study_instance_uid,
                    table.wave_id,
                    table.storage_class,
                    table.layout,
                    table.number_of_instances,
                ).where(table.study_instance_uid == uid, table.state.in_(TO_MOVE))
            ).first()

    def _work(self, row: Row[Any]) -> Work:
        uid, wave_id = str(row.study_instance_uid), str(row.wave_id)
        is_guest = uid not in self._ours
        settings = PassSettings(
            study_instance_uid=uid,
            source=self._source,
            storage_class=row.storage_class or "STANDARD",
            corrections=self._corrections_of(wave_id).get(uid, ()),
            spool_folder=Path(self._policy.spool_folder) if self._policy.spool_folder else None,
            recompression=self._policy.recompression,
            layout=self._policy.layout_of(row.layout),
            max_packed_bytes=self._policy.max_packed_mib * MIB,
            promised_instances=row.number_of_instances,
        )
        chain = requested_chain(wave_id, uid) if is_guest else transfer_chain(self._shard)
        return Work(settings, wave_id, chain, is_guest)

    def _corrections_of(self, wave_id: str) -> dict[str, tuple[Correction, ...]]:
        if wave_id not in self._corrections:
            with self._ledger.read() as connection:
                self._corrections[wave_id] = approved_corrections(connection, wave_id)
        return self._corrections[wave_id]
