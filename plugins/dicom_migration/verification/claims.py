"""What the ledger claims of a transferred study, and in which shard it is verified."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Row, func, select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import StudyState, schema
from dicom_migration.ledger.events import canonical_json
from dicom_migration.policies.verification import VerificationPolicy


@dataclass(frozen=True, slots=True)
class StudyClaim:
    """One study as the transfer left it in the ledger; `storage_class` "" is the default.

    `received_uids_sha256` is told by the event of the transfer alone, see
    :func:`~dicom_migration.verification.ledger_claims.checked_claims`; "" before that, and for
    studies that were transferred before events told it.
    """

    study_instance_uid: str
    wave_id: str
    number_of_instances: int | None
    received_instances: int
    stored_instances: int
    manifest_key: str
    manifest_sha256: str
    storage_class: str = ""
    received_uids_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """Studies ``number * size`` to ``(number + 1) * size`` of a wave, in order of their UID.

    The place of a study in its wave does not move while shards run, so that tasks may do so in
    any order and again.
    """

    wave_id: str
    number: int
    size: int

    @property
    def chain(self) -> str:
        """Name the event chain this shard writes."""
        return f"wave:{self.wave_id}/verify-{self.number}"

    def as_dict(self) -> dict[str, str | int]:
        """Return the shard as it travels between tasks."""
        return asdict(self)


_OF_THE_EVENT = "received_uids_sha256"
#: Names of the fields of a claim that are columns of the ledger's studies.
CLAIM_COLUMNS = tuple(name for name in StudyClaim.__dataclass_fields__ if name != _OF_THE_EVENT)
_CLAIM = tuple(schema.study.c[name] for name in CLAIM_COLUMNS)


def claims_of(connection: Connection, shard: Shard) -> list[StudyClaim]:
    """Return the studies of `shard` that await verification."""
    members = (
        select(schema.study.c.study_instance_uid)
        .where(schema.study.c.wave_id == shard.wave_id)
        .order_by(schema.study.c.study_instance_uid)
        .offset(shard.number * shard.size)
        .limit(shard.size)
    ).subquery()
    rows = connection.execute(
        select(*_CLAIM)
        .join(members, members.c.study_instance_uid == schema.study.c.study_instance_uid)
        .where(schema.study.c.state == StudyState.TRANSFERRED.value)
        .order_by(schema.study.c.study_instance_uid)
    )
    return [_claim(row) for row in rows]


def verified_claims(connection: Connection, wave_id: str) -> list[StudyClaim]:
    """Return the verified studies of a wave in order of their UID."""
    rows = connection.execute(
        select(*_CLAIM)
        .where(
            schema.study.c.wave_id == wave_id,
            schema.study.c.state == StudyState.VERIFIED.value,
        )
        .order_by(schema.study.c.study_instance_uid)
    )
    return [_claim(row) for row in rows]


def studies_hash(claims: Sequence[StudyClaim]) -> str:
    """Return the SHA-256 over the UIDs and manifest hashes of studies."""
    pairs = [[claim.study_instance_uid, claim.manifest_sha256] for claim in claims]
    return hashlib.sha256(canonical_json(pairs).encode()).hexdigest()


def waves_to_verify(connection: Connection, asked: Sequence[str]) -> list[str]:
    """Return the waves asked for, or else all that hold studies to verify or settle, sorted.

    To settle are mismatched studies, those among them that the inventory found changed at the
    source after they had been verified.

    Raises
    ------
    PermanentError
        A wave was asked for that the ledger does not know.
    """
    if not asked:
        column = schema.study.c.wave_id
        return list(
            connection.scalars(
                select(column)
                .where(
                    schema.study.c.state.in_(
                        (StudyState.TRANSFERRED.value, StudyState.MISMATCHED.value)
                    )
                )
                .distinct()
                .order_by(column)
            )
        )
    known = set(
        connection.scalars(select(schema.wave.c.wave_id).where(schema.wave.c.wave_id.in_(asked)))
    )
    unknown = sorted(set(asked) - known)
    if unknown:
        raise PermanentError(
            f"The ledger knows no wave {', '.join(unknown)}.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Take the wave id from the plan report, or leave the field empty.",
        )
    return sorted(set(asked))


def plan_shards(
    connection: Connection, waves: Sequence[str], policy: VerificationPolicy
) -> list[Shard]:
    """Return the shards that hold studies awaiting verification, at least one a wave.

    A wave whose studies were all excluded or quarantined keeps one empty shard: it is verified
    vacuously and gets its certificate.
    """
    table = schema.study.c
    total = (
        connection.scalar(
            select(func.count()).select_from(schema.study).where(table.wave_id.in_(waves))
        )
        or 0
    )
    room = max(1, policy.max_shards - len(waves))
    size = max(policy.studies_per_shard, math.ceil(total / room))
    shards = []
    for wave_id in waves:
        place = func.row_number().over(order_by=table.study_instance_uid) - 1
        ranked = (
            select(place.label("place"), table.state).where(table.wave_id == wave_id).subquery()
        )
        places = connection.scalars(
            select(ranked.c.place).where(ranked.c.state == StudyState.TRANSFERRED.value)
        )
        numbers = sorted({int(value) // size for value in places}) or [0]
        shards += [Shard(wave_id, number, size) for number in numbers]
    return shards


def _claim(row: Row[tuple[object, ...]]) -> StudyClaim:
    return StudyClaim(**row._asdict())
