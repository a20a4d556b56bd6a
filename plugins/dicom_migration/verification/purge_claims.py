"""What the ledger alone says of studies that retention lets go: judged in SQL, for all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, case, func, literal, or_, select

from dicom_migration.ledger import StudyState, schema
from dicom_migration.verification.audit_proofs import AuditProof, audit_proofs
from dicom_migration.verification.claims import CLAIM_COLUMNS, StudyClaim
from dicom_migration.verification.findings import Outcome
from dicom_migration.verification.verdicts import AUDIT_METHOD, last_verdicts

#: Studies of one question to the ledger: below what SQLite and PostgreSQL take as parameters.
PAGE = 500
NOT_EXPIRED = "retention keeps it"
HELD = "a legal hold names it"
NOT_VERIFIED = "not verified"
EXCEPTION_OPEN = "an exception is open"
SOURCE_CHANGED = "the source changed"
NOT_READ_BACK = "not every object was read back"
_STUDY, _VERDICT = schema.study.c, schema.verification.c


@dataclass(frozen=True, slots=True)
class Retention:
    """Today's retention policy as SQL over a study.

    Attributes
    ----------
    rule
        Name of the rule that lets the study go, "" for none.
    held
        Whether a legal hold names the study.
    """

    rule: ColumnElement[str]
    held: ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class PurgeClaim:
    """A study, what the ledger objects to ("" for nothing), and the proofs that it holds."""

    study: StudyClaim
    rule: str
    objection: str
    read_back_at: datetime | None
    certificate_id: str
    audit: AuditProof | None


def count_objections(connection: Connection, retention: Retention) -> Counter[str]:
    """Return how many studies that a rule lets go meet which objection, "" for none."""
    judged = _judged(retention).where(retention.rule != "").subquery()
    rows = connection.execute(select(judged.c.objection, func.count()).group_by(judged.c.objection))
    return Counter({str(objection): int(count) for objection, count in rows})


def unobjected(connection: Connection, retention: Retention, after: str) -> list[PurgeClaim]:
    """Return the next page of studies that the ledger has nothing against, by UID."""
    judged = _judged(retention).subquery()
    uid = judged.c.study_instance_uid
    page = select(judged).where(judged.c.objection == "", uid > after).order_by(uid).limit(PAGE)
    return _claims(connection, page)


def claims_for_purge(
    connection: Connection, retention: Retention, uids: Sequence[str]
) -> dict[str, PurgeClaim]:
    """Return what the ledger says now of the named studies."""
    claims: dict[str, PurgeClaim] = {}
    for start in range(0, len(uids), PAGE):
        named = _STUDY.study_instance_uid.in_(uids[start : start + PAGE])
        for claim in _claims(connection, _judged(retention).where(named)):
            claims[claim.study.study_instance_uid] = claim
    return claims


def _claims(connection: Connection, chosen: Select[tuple[object, ...]]) -> list[PurgeClaim]:
    rows = [row._asdict() for row in connection.execute(chosen)]
    audits = audit_proofs(
        connection,
        sorted({row["wave_id"] for row in rows}),
        [row["study_instance_uid"] for row in rows],
    )
    return [
        PurgeClaim(
            StudyClaim(**{name: row[name] for name in CLAIM_COLUMNS}),
            rule=row["rule"],
            objection=row["objection"],
            read_back_at=row["verified_at"],
            certificate_id=row["certificate_id"] or "",
            audit=audits.get(row["study_instance_uid"]),
        )
        for row in rows
    ]


def _judged(retention: Retention) -> Select[tuple[object, ...]]:
    latest = last_verdicts()
    certificate = schema.certificate.c
    certificate_id = (
        select(certificate.certificate_id)
        .where(certificate.wave_id == _STUDY.wave_id)
        .order_by(certificate.created_at.desc(), certificate.certificate_id)
        .limit(1)
        .correlate(schema.study)
        .scalar_subquery()
    )
    return (
        select(
            *(_STUDY[name] for name in CLAIM_COLUMNS),
            retention.rule.label("rule"),
            _objection(retention).label("objection"),
            _VERDICT.verified_at,
            certificate_id.label("certificate_id"),
        )
        .outerjoin(latest, latest.c.study_instance_uid == _STUDY.study_instance_uid)
        .outerjoin(schema.verification, _VERDICT.verification_id == latest.c.verification_id)
    )


def _objection(retention: Retention) -> ColumnElement[str]:
    exception = schema.exception.c
    has_exception = (
        select(exception.exception_id)
        .where(
            exception.study_instance_uid == _STUDY.study_instance_uid, exception.status == "open"
        )
        .correlate(schema.study)
        .exists()
    )
    stored = case((_STUDY.stored_instances < 1, 1), else_=_STUDY.stored_instances)
    not_read_back = or_(
        func.coalesce(_VERDICT.outcome, "") != Outcome.VERIFIED.value,
        _VERDICT.method == AUDIT_METHOD,
        func.coalesce(_VERDICT.objects_read, 0) < stored,
    )
    objections = (
        (retention.rule == "", NOT_EXPIRED),
        (retention.held, HELD),
        (_STUDY.state != StudyState.VERIFIED.value, NOT_VERIFIED),
        (has_exception, EXCEPTION_OPEN),
        (_STUDY.vanished_at.is_not(None), SOURCE_CHANGED),
        (not_read_back, NOT_READ_BACK),
    )
    whens = [(condition, literal(why)) for condition, why in objections]
    return case(*whens, else_=literal(""))
