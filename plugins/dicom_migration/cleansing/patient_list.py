"""The master patient list in the ledger: read when it changed, its chains of merges followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, or_, select, update

from dicom_migration.cleansing.patient_fhir import read_fhir
from dicom_migration.cleansing.patient_hl7 import read_hl7
from dicom_migration.cleansing.patient_statements import Statement, read_csv
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from dicom_migration.policies.identity import PatientList

TWO_SURVIVORS, CYCLE = "two-survivors", "cycle"
#: Each round doubles the length of the chains that are followed: 2 ** 20 merges are enough.
ROUNDS = 20
_READERS: dict[str, Callable[[PatientList], Iterator[Statement]]] = {
    "csv": read_csv,
    "fhir": read_fhir,
    "hl7": read_hl7,
}
_BATCH = 5000
_LINK = schema.patient_link.c
_NEXT = schema.patient_link.alias("next_link")


def load_patients(connection: Connection, listed: PatientList) -> int:
    """Replace what the ledger keeps of the list; returns how many statements it makes.

    Raises
    ------
    PermanentError
        ``policy_invalid``: the list is malformed; the ledger keeps what it had.
    """
    connection.execute(delete(schema.patient_link))
    count, batch = 0, []
    for said in _READERS[listed.format](listed):
        count += 1
        batch.append(_row(count, said))
        if len(batch) == _BATCH:
            connection.execute(insert(schema.patient_link), batch)
            batch = []
    if batch:
        connection.execute(insert(schema.patient_link), batch)
    _follow_chains(connection)
    return count


def verdict_counts(connection: Connection) -> dict[str, int]:
    """Return how many statements cannot be used, by verdict."""
    rows = connection.execute(
        select(_LINK.verdict, func.count()).where(_LINK.verdict != "").group_by(_LINK.verdict)
    )
    return {str(verdict): int(count) for verdict, count in rows}


def _row(number: int, said: Statement) -> dict[str, object]:
    return {
        "entry": number,
        "old_id": said.old.value,
        "old_issuer": said.old.issuer,
        "new_id": said.new.value,
        "new_issuer": said.new.issuer,
        "final_id": said.new.value,
        "final_issuer": said.new.issuer,
        "patient_name": said.person.name,
        "birth_date": said.person.birth_date,
        "sex": said.person.sex,
        "verdict": "",
    }


def _follow_chains(connection: Connection) -> None:
    """Let each identifier lead to where its merges end, in the database."""
    two = (
        select(_NEXT.c.old_id)
        .where(_NEXT.c.old_id == _LINK.old_id, _NEXT.c.old_issuer == _LINK.old_issuer)
        .where(or_(_NEXT.c.new_id != _LINK.new_id, _NEXT.c.new_issuer != _LINK.new_issuer))
    )
    _condemn(connection, two.exists(), TWO_SURVIVORS)
    further = select(_NEXT.c.old_id).where(_leads_on(), _NEXT.c.verdict == "")
    for _ in range(ROUNDS):
        end = further.order_by(_NEXT.c.entry).limit(1)
        moved = connection.execute(
            update(schema.patient_link)
            .where(_LINK.verdict == "", _is_merge(_LINK), further.exists())
            .values(
                final_id=end.with_only_columns(_NEXT.c.final_id).scalar_subquery(),
                final_issuer=end.with_only_columns(_NEXT.c.final_issuer).scalar_subquery(),
            )
        ).rowcount
        if not moved:
            break
    # What is itself a merge can end nowhere but in a doubt or a circle.
    into_doubt = select(_NEXT.c.old_id).where(_leads_on(), _NEXT.c.verdict == TWO_SURVIVORS)
    _condemn(connection, into_doubt.exists(), TWO_SURVIVORS)
    _condemn(connection, select(_NEXT.c.old_id).where(_leads_on()).exists(), CYCLE)


def _leads_on() -> ColumnElement[bool]:
    return and_(
        _NEXT.c.old_id == _LINK.final_id,
        _NEXT.c.old_issuer == _LINK.final_issuer,
        _is_merge(_NEXT.c),
    )


def _is_merge(link: Any) -> ColumnElement[bool]:
    """Tell whether a statement merges; one of a person that stays only tells who that is."""
    return or_(link.old_id != link.new_id, link.old_issuer != link.new_issuer)


def _condemn(connection: Connection, found: ColumnElement[bool], verdict: str) -> None:
    connection.execute(
        update(schema.patient_link).where(_LINK.verdict == "", found).values(verdict=verdict)
    )
