"""Cutting a wave into shards: the units of one mapped task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, Ledger, StudyState, schema, utc_now
from dicom_migration.policies.transfer import TransferPolicy

#: Studies in these states still have to be moved.
TO_MOVE = (StudyState.CLEANSED.value, StudyState.TRANSFERRING.value)


@dataclass(frozen=True, slots=True)
class Shard:
    """One mapped task's work: the studies of `wave_id` that carry this `number`."""

    wave_id: str
    number: int


def cut_shards(ledger: Ledger, wave_id: str, policy: TransferPolicy) -> list[Shard]:
    """Number the studies of a wave that are to be moved; same wave, same shards.

    Studies are dealt out in UID order, so that a rerun finds each study in the shard it was in
    as long as the policy and the set of studies stay.
    """
    table = schema.study.c
    with ledger.write() as connection:
        uids = connection.scalars(
            select(table.study_instance_uid)
            .where(table.wave_id == wave_id, table.state.in_(TO_MOVE))
            .order_by(table.study_instance_uid)
        ).all()
        size = max(policy.studies_per_shard, -(-len(uids) // policy.max_shards))
        shards = []
        for number, start in enumerate(range(0, len(uids), size)):
            connection.execute(
                update(schema.study)
                .where(table.study_instance_uid.in_(uids[start : start + size]))
                .values(shard=number)
            )
            shards.append(Shard(wave_id, number))
    return shards


def some_study(ledger: Ledger, shard: Shard) -> str | None:
    """Return a study of the shard that the source can be asked for, None when it has none."""
    table = schema.study.c
    with ledger.read() as connection:
        return connection.scalar(
            select(table.study_instance_uid)
            .where(table.wave_id == shard.wave_id, table.shard == shard.number)
            .order_by(table.study_instance_uid)
            .limit(1)
        )


def waves_to_move(ledger: Ledger, asked_for: Sequence[str]) -> list[str]:
    """Return the waves asked for that exist, or all that have studies left to move.

    A wave asked for is returned even when nothing is left of it, so that a run that was killed
    after its last study still closes the wave.

    Raises
    ------
    PermanentError
        A wave asked for does not exist, or has not been cleansed.
    """
    table = schema.study.c
    with ledger.read() as connection:
        if asked_for:
            return _known_waves(connection, asked_for)
        return list(
            connection.scalars(
                select(table.wave_id)
                .where(table.state.in_(TO_MOVE), table.wave_id != "")
                .distinct()
                .order_by(table.wave_id)
            )
        )


def _known_waves(connection: Connection, asked_for: Sequence[str]) -> list[str]:
    table = schema.wave.c
    states = {
        str(row.wave_id): str(row.state)
        for row in connection.execute(
            select(table.wave_id, table.state).where(table.wave_id.in_(asked_for))
        )
    }
    for wave in asked_for:
        if states.get(wave, "planned") == "planned":
            raise PermanentError(
                f"Wave {wave} {'has not been cleansed' if wave in states else 'does not exist'}.",
                reason=ReasonCode.STATE_FORBIDDEN,
                next_step="Check the wave's id in the plan report; cleanse the wave first.",
            )
    return sorted(states)


def close_wave(ledger: Ledger, wave_id: str) -> dict[str, int]:
    """Mark the wave transferred when nothing is left to move; return its studies by state."""
    table = schema.study.c
    with ledger.write() as connection:
        rows = connection.execute(
            select(table.state, func.count())
            .where(table.wave_id == wave_id)
            .group_by(table.state)
            .order_by(table.state)
        )
        counts = {state: int(count) for state, count in rows}
        if not any(counts.get(state) for state in (*TO_MOVE, StudyState.PLANNED.value)):
            connection.execute(
                update(schema.wave)
                .where(schema.wave.c.wave_id == wave_id)
                .values(state="transferred", updated_at=utc_now())
            )
            EventChain(f"wave:{wave_id}/transfer").append(
                connection, [("wave.transferred", "", {"states": counts})]
            )
    return counts
