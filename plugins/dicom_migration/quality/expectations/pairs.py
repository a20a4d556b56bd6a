"""Expectations of two columns: the order of dates, the modality of a SOP class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from great_expectations.execution_engine import PandasExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnPairMapMetricProvider,
    column_pair_condition_partial,
)

from dicom_migration.quality.expectations.distinct import each_distinct
from dicom_migration.value_representations import parsed_date

if TYPE_CHECKING:
    from pandas import Series

_DOMAIN = (
    "batch_id",
    "table",
    "column_A",
    "column_B",
    "row_condition",
    "condition_parser",
    "ignore_row_if",
)
_DATE = r"^[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$"


class DatesOrdered(ColumnPairMapMetricProvider):
    """Whether the date of A is not after that of B; what is no date is not judged."""

    condition_metric_name = "column_pair_values.dicom_dates_ordered"
    condition_domain_keys = _DOMAIN

    @column_pair_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_A: Series, column_B: Series, **_: Any) -> Series:  # noqa: N803, N805
        dates = [
            each_distinct(column, lambda text: parsed_date(text) is not None)
            for column in (column_A, column_B)
        ]
        return ~(dates[0] & dates[1]) | (column_A <= column_B)

    @column_pair_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column_A: Any, column_B: Any, **_: Any) -> Any:  # noqa: N803, N805
        both = sa.and_(column_A.regexp_match(_DATE), column_B.regexp_match(_DATE))
        return sa.or_(sa.not_(both), column_A <= column_B)


class ExpectDicomDatesToBeOrdered(ColumnPairMapExpectation):
    """Expect the date in `column_A` (DA, ``YYYYMMDD``) not to be after the one in `column_B`."""

    ignore_row_if: str = "either_value_is_missing"
    map_metric: ClassVar[str] = "column_pair_values.dicom_dates_ordered"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "ignore_row_if")


class ModalitySuitsSopClass(ColumnPairMapMetricProvider):
    """Whether the modality of B is one of those that the SOP class of A is made by."""

    condition_metric_name = "column_pair_values.dicom_modality_suits"
    condition_domain_keys = _DOMAIN
    condition_value_keys = ("modalities",)

    @column_pair_condition_partial(engine=PandasExecutionEngine)
    def _pandas(
        cls,  # noqa: N805
        column_A: Series,  # noqa: N803
        column_B: Series,  # noqa: N803
        modalities: dict[str, list[str]],
        **_: Any,
    ) -> Series:
        told = column_A.astype(str) + "\n" + column_B.astype(str)

        def suits(pair: str) -> bool:
            sop_class, _, modality = pair.partition("\n")
            return sop_class not in modalities or modality in modalities[sop_class]

        return each_distinct(told, suits)

    @column_pair_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(
        cls,  # noqa: N805
        column_A: Any,  # noqa: N803
        column_B: Any,  # noqa: N803
        modalities: dict[str, list[str]],
        **_: Any,
    ) -> Any:
        return sa.or_(
            column_A.not_in(list(modalities)),
            *(
                sa.and_(column_A == sop_class, column_B.in_(allowed))
                for sop_class, allowed in modalities.items()
            ),
        )


class ExpectModalityToSuitSopClass(ColumnPairMapExpectation):
    """Expect the modality in `column_B` to be one that `modalities` lists for the SOP class.

    `column_A` holds the SOP Class UID; classes that `modalities` does not list are not judged.
    """

    modalities: dict[str, list[str]]
    ignore_row_if: str = "either_value_is_missing"
    map_metric: ClassVar[str] = "column_pair_values.dicom_modality_suits"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "modalities", "ignore_row_if")
