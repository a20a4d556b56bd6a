"""Expectations of one column's text: UIDs, person names, value representations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from great_expectations.execution_engine import PandasExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)

from dicom_migration.quality.expectations.distinct import each_distinct
from dicom_migration.uids import MAX_LENGTH, is_valid_uid
from dicom_migration.value_representations import (
    MAX_CHARACTERS,
    NAME_COMPONENTS,
    NAME_GROUPS,
    UID_FORM,
    conforms_to_vr,
    fits_vr,
    is_person_name,
)

if TYPE_CHECKING:
    from pandas import Series


#: PostgreSQL's regular expressions repeat no more than this often.
_LONGEST_BOUND = 255


class Uids(ColumnMapMetricProvider):
    """Whether values have the form of a UID (PS3.5 section 9.1)."""

    condition_metric_name = "column_values.dicom_uid"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Series, **_: Any) -> Series:  # noqa: N805
        return each_distinct(column, is_valid_uid)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **_: Any) -> Any:  # noqa: N805
        return sa.and_(column.regexp_match(UID_FORM), sa.func.length(column) <= MAX_LENGTH)


class ExpectColumnValuesToBeUids(ColumnMapExpectation):
    """Expect values to be UIDs: digits and dots, 64 characters at most."""

    map_metric: ClassVar[str] = "column_values.dicom_uid"


class PersonNames(ColumnMapMetricProvider):
    """Whether values have the form of a person name (PS3.5 section 6.2.1)."""

    condition_metric_name = "column_values.dicom_person_name"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Series, **_: Any) -> Series:  # noqa: N805
        return each_distinct(column, is_person_name)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **_: Any) -> Any:  # noqa: N805
        return sa.and_(column.regexp_match(NAME_GROUPS), column.regexp_match(NAME_COMPONENTS))


class ExpectColumnValuesToBePersonNames(ColumnMapExpectation):
    """Expect values to be person names: at most 3 groups of 64 characters and 5 components."""

    map_metric: ClassVar[str] = "column_values.dicom_person_name"


class FittingVr(ColumnMapMetricProvider):
    """Whether values are no longer than their VR allows (PS3.5 section 6.2)."""

    condition_metric_name = "column_values.dicom_vr_length"
    condition_value_keys = ("vr",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Series, vr: str, **_: Any) -> Series:  # noqa: N805
        return each_distinct(column, lambda value: fits_vr(vr, value))

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, vr: str, **_: Any) -> Any:  # noqa: N805
        limit = MAX_CHARACTERS.get(vr)
        if limit is None:
            return sa.true()
        if limit > _LONGEST_BOUND:
            return sa.func.length(column) <= limit
        between = r"=\\" if vr == "PN" else r"\\"
        within = f"[^{between}]{{0,{limit}}} *"
        return column.regexp_match(f"^{within}([{between}]{within})*$")


class ExpectColumnValuesToFitVr(ColumnMapExpectation):
    """Expect values to be no longer than the value representation `vr` allows."""

    vr: str
    map_metric: ClassVar[str] = "column_values.dicom_vr_length"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "vr")


class ConformingToVr(ColumnMapMetricProvider):
    """Whether values have the length and form of their VR (PS3.5 section 6.2)."""

    condition_metric_name = "column_values.dicom_vr"
    condition_value_keys = ("vr",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Series, vr: str, **_: Any) -> Series:  # noqa: N805
        return each_distinct(column, lambda value: conforms_to_vr(vr, value))


class ExpectColumnValuesToConformToVr(ColumnMapExpectation):
    """Expect values to have the length and form of the value representation `vr`; in memory."""

    vr: str
    map_metric: ClassVar[str] = "column_values.dicom_vr"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "vr")
