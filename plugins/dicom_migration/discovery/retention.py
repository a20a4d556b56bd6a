"""Which studies could be purged, as SQL: candidates for a person, never a deletion."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, false, or_

from dicom_migration.discovery.conditions import (
    age_at_study,
    born_by,
    dated_before,
    has_modality,
    in_list,
    months_before,
)
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from dicom_migration.policies.retention import LegalHold, RetentionPolicy, RetentionRule

_STUDY = schema.study.c


def purge_branches(policy: RetentionPolicy, as_of: date) -> list[tuple[ColumnElement[bool], str]]:
    """Return (condition, rule name), first match wins; what is held gets no rule."""
    held = [(is_held(policy), "")] if policy.legal_holds else []
    return held + expired_branches(policy, as_of)


def expired_branches(policy: RetentionPolicy, as_of: date) -> list[tuple[ColumnElement[bool], str]]:
    """Return (condition, rule name), first match wins, whether or not a study is held."""
    return [(_expired(rule, as_of), rule.name) for rule in policy.rules]


def is_held(policy: RetentionPolicy) -> ColumnElement[bool]:
    """Tell whether a legal hold names the study."""
    return or_(false(), *(_held(hold) for hold in policy.legal_holds))


def hold_list(hold: LegalHold) -> str:
    """Return the name of the list of studies that a legal hold names."""
    return f"hold/{hold.name}"


def _held(hold: LegalHold) -> ColumnElement[bool]:
    ways: list[ColumnElement[bool]] = []
    if hold.study_instance_uids:
        ways.append(in_list(hold_list(hold)))
    if hold.institutions:
        ways.append(_STUDY.institution_name.in_(hold.institutions))
    return or_(*ways)


def _expired(rule: RetentionRule, as_of: date) -> ColumnElement[bool]:
    conditions = [dated_before(months_before(as_of, 12 * rule.older_than_years))]
    if rule.modalities:
        conditions.append(has_modality(rule.modalities))
    if rule.except_modalities:
        conditions.append(~has_modality(rule.except_modalities))
    if rule.patient_at_least_years_old:
        conditions.append(born_by(months_before(as_of, 12 * rule.patient_at_least_years_old)))
    if rule.patient_age_at_study_from:
        conditions.append(age_at_study() >= rule.patient_age_at_study_from)
    if rule.patient_age_at_study_below:
        conditions.append(age_at_study() < rule.patient_age_at_study_below)
    return and_(*conditions)
