"""Expectations of the ``attributes`` column: what a header has, lacks, or has against its VR.

The column's form: :mod:`dicom_migration.header_attributes`. Rows without it (of an older release)
are not judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sqlalchemy as sa
from great_expectations.execution_engine import PandasExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
)
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    ColumnPairMapMetricProvider,
    column_condition_partial,
    column_pair_condition_partial,
)
from pydicom.datadict import tag_for_keyword

from dicom_migration.header_attributes import AGAINST_VR, EMPTY
from dicom_migration.quality.expectations.distinct import each_distinct

if TYPE_CHECKING:
    from pandas import Series

Need = Literal["present", "filled"]


def _tokens(keyword: str, need: Need) -> tuple[str, ...]:
    """Return the entries of the column that meet `need`."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of the DICOM dictionary")
    suffixes = ("", AGAINST_VR) if need == "filled" else ("", AGAINST_VR, EMPTY)
    return tuple(f" {tag:08X}{suffix} " for suffix in suffixes)


def _known(column: Series, keyword: str, need: Need) -> Series:
    tokens = _tokens(keyword, need)
    return each_distinct(column, lambda value: any(token in value for token in tokens))


def _known_sql(column: Any, keyword: str, need: Need) -> Any:
    return sa.or_(*(column.contains(token) for token in _tokens(keyword, need)))


class AttributeKnown(ColumnMapMetricProvider):
    """Whether a header has an attribute."""

    condition_metric_name = "column_values.dicom_attribute_known"
    condition_value_keys = ("keyword", "need")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Series, keyword: str, need: Need, **_: Any) -> Series:  # noqa: N805
        return _known(column, keyword, need)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, keyword: str, need: Need, **_: Any) -> Any:  # noqa: N805
        return _known_sql(column, keyword, need)


class ExpectAttributeToBeKnown(ColumnMapExpectation):
    """Expect the attribute `keyword`: ``filled`` for Type 1, ``present`` (or empty) for Type 2."""

    keyword: str
    need: Need = "filled"
    map_metric: ClassVar[str] = "column_values.dicom_attribute_known"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "keyword", "need")


class AttributeKnownAbove(ColumnPairMapMetricProvider):
    """Whether a header has an attribute, if a number of it is above a limit."""

    condition_metric_name = "column_pair_values.dicom_attribute_known_above"
    condition_domain_keys = (
        "batch_id",
        "table",
        "column_A",
        "column_B",
        "row_condition",
        "condition_parser",
        "ignore_row_if",
    )
    condition_value_keys = ("keyword", "need", "above")

    @column_pair_condition_partial(engine=PandasExecutionEngine)
    def _pandas(
        cls,  # noqa: N805
        column_A: Series,  # noqa: N803
        column_B: Series,  # noqa: N803
        keyword: str,
        need: Need,
        above: int,
        **_: Any,
    ) -> Series:
        return (column_B.astype(float) <= above) | _known(column_A, keyword, need)

    @column_pair_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(
        cls,  # noqa: N805
        column_A: Any,  # noqa: N803
        column_B: Any,  # noqa: N803
        keyword: str,
        need: Need,
        above: int,
        **_: Any,
    ) -> Any:
        return sa.or_(column_B <= above, _known_sql(column_A, keyword, need))


class ExpectAttributeToBeKnownAbove(ColumnPairMapExpectation):
    """Expect the attribute `keyword` (of `column_A`) where `column_B` is more than `above`.

    For Type 1C and 2C whose condition is a number of the header, as samples a pixel or frames.
    """

    keyword: str
    need: Need = "filled"
    above: int
    ignore_row_if: str = "either_value_is_missing"
    map_metric: ClassVar[str] = "column_pair_values.dicom_attribute_known_above"
    success_keys: ClassVar[tuple[str, ...]] = (
        "mostly",
        "keyword",
        "need",
        "above",
        "ignore_row_if",
    )


class AttributesConformToVr(ColumnMapMetricProvider):
    """Whether every attribute of a header conforms to its VR."""

    condition_metric_name = "column_values.dicom_attributes_vr"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Series, **_: Any) -> Series:  # noqa: N805
        return each_distinct(column, lambda value: f"{AGAINST_VR} " not in value)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **_: Any) -> Any:  # noqa: N805
        return sa.not_(column.contains(f"{AGAINST_VR} "))


class ExpectAttributesToConformToVr(ColumnMapExpectation):
    """Expect no top-level attribute of the standard to be against its value representation."""

    map_metric: ClassVar[str] = "column_values.dicom_attributes_vr"
