"""Estimating every study again once a sample is there: a few statements for the whole ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)

from dicom_migration.discovery.sizes import ASSUMED, SAMPLED, TOLD, SizeModel
from dicom_migration.ledger import StudyState, schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger

#: What was copied is measured against the estimate it was planned with.
_COPIED = [
    state.value
    for state in (
        StudyState.TRANSFERRING,
        StudyState.TRANSFERRED,
        StudyState.VERIFIED,
        StudyState.MISMATCHED,
    )
]
_STUDY, _SERIES = schema.study.c, schema.series.c


def apply_sizes(ledger: Ledger, source: str, model: SizeModel) -> int:
    """Estimate the studies that are not copied yet and whose size the source does not tell.

    By the modality of their series where those are listed, else by the modalities of the study.
    Returns how many studies were estimated.
    """
    mine = and_(
        _STUDY.source == source,
        _STUDY.bytes_basis != TOLD,
        _STUDY.state.not_in(_COPIED),
        _STUDY.number_of_instances.is_not(None),
    )
    with ledger.write() as connection:
        return _by_series(connection, mine, model) + _by_study(connection, mine, model)


def _by_series(connection: Connection, mine: ColumnElement[bool], model: SizeModel) -> int:
    names = connection.scalars(select(_SERIES.modality).distinct()).all()
    if not names:
        return 0
    sizes = {name: model.instance(name) for name in names}
    mean = case({n: s.mean for n, s in sizes.items()}, value=_SERIES.modality, else_=0.0)
    error = case({n: s.error or 0.0 for n, s in sizes.items()}, value=_SERIES.modality, else_=0.0)
    guess = case({n: int(s.error is None) for n, s in sizes.items()}, value=_SERIES.modality)
    count = _SERIES.number_of_instances
    by_study = (
        select(
            _SERIES.study_instance_uid,
            func.sum(count * mean).label("total"),
            func.sum(count * error).label("error"),
            func.sum(guess).label("guesses"),
        )
        .group_by(_SERIES.study_instance_uid)
        .having(func.count() == func.count(count))
        .subquery()
    )
    result = connection.execute(
        update(schema.study)
        .where(mine, _STUDY.study_instance_uid == by_study.c.study_instance_uid)
        .values(
            bytes_estimated=cast(func.round(by_study.c.total), BigInteger),
            bytes_basis=case((by_study.c.guesses == 0, SAMPLED), else_=ASSUMED),
            bytes_error=case(
                (by_study.c.guesses == 0, cast(func.round(by_study.c.error), BigInteger)),
                else_=None,
            ),
        )
    )
    return result.rowcount


def _by_study(connection: Connection, mine: ColumnElement[bool], model: SizeModel) -> int:
    own = exists().where(_SERIES.study_instance_uid == _STUDY.study_instance_uid)
    uncounted = own.where(_SERIES.number_of_instances.is_(None))
    unlisted = and_(mine, or_(~own, uncounted))
    names = connection.scalars(select(_STUDY.modalities).where(unlisted).distinct()).all()
    changed = 0
    for text in names:
        one = model.reckon([name for name in text.split("\\") if name], 1_000_000)
        each, error = (one.total or 0) / 1e6, None if one.error is None else one.error / 1e6
        count = _STUDY.number_of_instances
        result = connection.execute(
            update(schema.study)
            .where(unlisted, _STUDY.modalities == text)
            .values(
                bytes_estimated=cast(func.round(count * each), BigInteger),
                bytes_basis=one.basis,
                bytes_error=None if error is None else cast(func.round(count * error), BigInteger),
            )
        )
        changed += result.rowcount
    return changed
