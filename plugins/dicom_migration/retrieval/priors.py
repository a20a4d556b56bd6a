"""Relevant priors: what a radiologist opens beside a new study to compare.

The latest older study of the same patient and modality, of the same body part where the source
tells it. Who the patient is stays in the ledger's own query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from sqlalchemy import Connection, and_, select

from dicom_migration.cloud.s3_restore import ARCHIVED_CLASSES
from dicom_migration.ledger import StudyState, schema
from dicom_migration.retrieval.sample import (
    STUDY_COLUMNS,
    SampledStudy,
    imaging_modality,
    sampled,
)

_BATCH = 400


def relevant_priors(
    connection: Connection, studies: Sequence[SampledStudy], today: date
) -> dict[str, SampledStudy]:
    """Return the latest relevant prior that can be read at once, by Study Instance UID."""
    found: dict[str, SampledStudy] = {}
    for start in range(0, len(studies), _BATCH):
        batch = {s.study_instance_uid: s for s in studies[start : start + _BATCH]}
        older = list(_older_studies(connection, list(batch), today))
        uids = {*batch, *(prior.study_instance_uid for _, prior in older)}
        parts = _body_parts(connection, sorted(uids))
        for uid, prior in older:  # latest first
            if uid in found or prior.modality != batch[uid].modality:
                continue
            here, there = parts.get(uid), parts.get(prior.study_instance_uid)
            if not here or not there or here & there:
                found[uid] = prior
    return found


def _older_studies(
    connection: Connection, uids: Sequence[str], today: date
) -> Iterator[tuple[str, SampledStudy]]:
    current = schema.study.alias("current")
    table = schema.study.c
    same_patient = and_(
        table.patient_id == current.c.patient_id,
        table.issuer_of_patient_id == current.c.issuer_of_patient_id,
        table.study_date < current.c.study_date,
    )
    rows = connection.execute(
        select(current.c.study_instance_uid.label("of_study"), *STUDY_COLUMNS)
        .select_from(current.join(schema.study, same_patient))
        .where(
            current.c.study_instance_uid.in_(uids),
            current.c.patient_id != "",
            table.study_date != "",
            table.state == StudyState.VERIFIED.value,
            table.stored_instances > 0,
            table.storage_class.not_in(ARCHIVED_CLASSES),
        )
        .order_by(table.study_date.desc(), table.study_instance_uid)
    )
    for row in rows:
        yield row.of_study, sampled(row, today)


def _body_parts(connection: Connection, uids: Sequence[str]) -> dict[str, set[str]]:
    """Return the body parts of the images, in capitals; a study without any is not in it."""
    table = schema.series.c
    parts: dict[str, set[str]] = {}
    for start in range(0, len(uids), _BATCH):
        rows = connection.execute(
            select(table.study_instance_uid, table.modality, table.body_part_examined).where(
                table.study_instance_uid.in_(uids[start : start + _BATCH]),
                table.body_part_examined != "",
            )
        )
        for uid, modality, part in rows:
            if imaging_modality(modality) not in ("PR", "SR", "KO"):
                parts.setdefault(uid, set()).add(part.upper())
    return parts
