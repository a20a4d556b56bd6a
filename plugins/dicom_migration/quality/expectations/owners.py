"""Expectation of identifiers: one identifier, one owner, as an accession number has one patient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from great_expectations.execution_engine import PandasExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnPairMapMetricProvider,
    column_pair_condition_partial,
)

if TYPE_CHECKING:
    from pandas import Series


class OneOwner(ColumnPairMapMetricProvider):
    """Whether all rows with the identifier of A have the same value in B."""

    condition_metric_name = "column_pair_values.dicom_one_owner"
    condition_domain_keys = (
        "batch_id",
        "table",
        "column_A",
        "column_B",
        "row_condition",
        "condition_parser",
        "ignore_row_if",
    )

    @column_pair_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_A: Series, column_B: Series, **_: Any) -> Series:  # noqa: N803, N805
        return column_B.groupby(column_A).transform("nunique") <= 1

    @column_pair_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(
        cls,  # noqa: N805
        column_A: Any,  # noqa: N803
        column_B: Any,  # noqa: N803
        _table: Any,
        **_: Any,
    ) -> Any:
        shared = (
            sa.select(column_A)
            .select_from(_table)
            .where(column_A.is_not(None), column_B.is_not(None))
            .group_by(column_A)
            .having(sa.func.count(sa.distinct(column_B)) > 1)
        )
        return column_A.not_in(shared)


class ExpectIdentifierToNameOneOwner(ColumnPairMapExpectation):
    """Expect rows that share the identifier in `column_A` to agree about `column_B`."""

    ignore_row_if: str = "either_value_is_missing"
    map_metric: ClassVar[str] = "column_pair_values.dicom_one_owner"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "ignore_row_if")
