"""Storage class, expected access and layout of a study, as SQL, now and in later years."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ColumnElement, String, and_, case, cast, func, literal, true

from dicom_migration.discovery.conditions import (
    dated,
    dated_from,
    dated_to,
    first_match,
    has_modality,
    months_before,
)
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from dicom_migration.policies.tiers import AccessRate, TierRule, TiersPolicy

INSTANCE, SERIES_ZIP = "instance", "series-zip"
UNDECIDED = ""
"""The plan says nothing of the layout: the transfer policy decides."""
#: Access is kept as a whole number: retrievals of a study in so many years.
RATE_YEARS = 10_000
_STUDY = schema.study.c


def storage_class(policy: TiersPolicy, as_of: date, years: int = 0) -> ColumnElement[str]:
    """Return the storage class of a study when `years` have passed since `as_of`."""
    branches = [(~dated(), policy.undated)]
    branches += [
        (_fulfils(rule, policy, as_of, years), rule.storage_class) for rule in policy.rules
    ]
    return first_match(branches, policy.rules[-1].storage_class)


def access_rate(policy: TiersPolicy, as_of: date, years: int = 0) -> ColumnElement[int]:
    """Return how often a study is expected to be retrieved in `RATE_YEARS` years."""
    branches = [
        (_in_band(band, as_of, years), _whole(band.retrievals_a_year)) for band in policy.access
    ]
    return first_match(branches, _whole(policy.retrievals_a_year))


def layout(policy: TiersPolicy, as_of: date) -> ColumnElement[str]:
    """Return one object an instance or one a series; `UNDECIDED` where the policy is silent."""
    packing = policy.packing
    if packing.layout == INSTANCE:
        return literal(UNDECIDED)
    branches: list[tuple[ColumnElement[bool], Any]] = []
    if packing.storage_classes:
        branches.append((storage_class(policy, as_of).not_in(packing.storage_classes), UNDECIDED))
    conditions: list[ColumnElement[bool]] = [true()]
    if packing.layout == "small_instances":
        # times bytes it outgrows the integer that PostgreSQL would take it for
        instances = cast(func.coalesce(_STUDY.number_of_instances, 0), BigInteger)
        conditions += [
            instances > func.coalesce(_STUDY.number_of_series, 1),
            func.coalesce(_STUDY.bytes_estimated, 0) < instances * _limit(policy, as_of),
        ]
    return first_match([*branches, (and_(*conditions), SERIES_ZIP)], INSTANCE)


def forecast(policy: TiersPolicy, as_of: date) -> ColumnElement[str]:
    """Return storage class and access of each year of the cost model, from the first on.

    ``STANDARD:700>GLACIER_IR:700>…``: the same rules, asked of the study when it is a year older.
    """
    text: ColumnElement[str] | None = None
    for years in range(policy.horizon_years):
        year = (
            storage_class(policy, as_of, years)
            + literal(":")
            + cast(access_rate(policy, as_of, years), String)
        )
        text = year if text is None else text + literal(">") + year
    assert text is not None  # noqa: S101  # the policy wants one year at least
    return text


def _fulfils(rule: TierRule, policy: TiersPolicy, as_of: date, years: int) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if rule.min_age_months:
        conditions.append(dated_to(months_before(as_of, rule.min_age_months - 12 * years)))
    if rule.modalities:
        conditions.append(has_modality(rule.modalities))
    if rule.max_retrievals_a_year is not None:
        most = _whole(rule.max_retrievals_a_year)
        conditions.append(access_rate(policy, as_of, years) <= most)
    return and_(*conditions)


def _in_band(band: AccessRate, as_of: date, years: int) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if band.younger_than_months is not None:
        after = months_before(as_of, band.younger_than_months - 12 * years)
        conditions.append(dated_from(after))
    if band.modalities:
        conditions.append(has_modality(band.modalities))
    return and_(*conditions)


def _limit(policy: TiersPolicy, as_of: date) -> ColumnElement[int]:
    limits = {name: policy.packs_below(name) for name in policy.storage_classes}
    return case(limits, value=storage_class(policy, as_of), else_=0)


def _whole(rate: Decimal) -> int:
    return int(rate * RATE_YEARS)
