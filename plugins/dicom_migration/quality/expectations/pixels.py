"""Expectation of native pixel data: as long as rows, columns, samples, bits and frames make it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sqlalchemy as sa
from great_expectations.execution_engine import PandasExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    MulticolumnMapMetricProvider,
    multicolumn_condition_partial,
)

if TYPE_CHECKING:
    from pandas import DataFrame, Series

#: The columns in their order. Rows without a number of frames have one (PS3.3 section C.7.6.6).
COLUMNS = (
    "rows",
    "columns",
    "samples_per_pixel",
    "bits_allocated",
    "number_of_frames",
    "photometric_interpretation",
    "pixel_bytes",
)
#: Two pixels share their colour (PS3.3 section C.7.6.3.1.2): two samples a pixel, not three.
_HALVED = ("YBR_FULL_422", "YBR_PARTIAL_422")


class PixelLengthConsistent(MulticolumnMapMetricProvider):
    """Whether native pixel data has the length that its header says, or one byte of padding."""

    condition_metric_name = "multicolumn_values.dicom_pixel_length"
    condition_domain_keys = (
        "batch_id",
        "table",
        "column_list",
        "row_condition",
        "condition_parser",
        "ignore_row_if",
    )

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column_list: DataFrame, **_: Any) -> Series:  # noqa: N805
        rows, columns, samples, bits, frames, colour, length = (
            column_list[name]
            if name == "photometric_interpretation"
            else column_list[name].astype(float)
            for name in COLUMNS
        )
        samples = samples.mask(colour.isin(_HALVED), 2)
        frames = frames.fillna(1).clip(lower=1)
        expected = (rows * columns * samples * bits * frames + 7) // 8
        unknown = expected.isna() | length.isna()
        return unknown | (length == expected) | (length == expected + expected % 2)

    @multicolumn_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column_list: Sequence[Any], **_: Any) -> Any:  # noqa: N805
        named = dict(zip(COLUMNS, column_list, strict=True))
        frames = sa.func.coalesce(named["number_of_frames"], 1)
        samples = sa.case(
            (named["photometric_interpretation"].in_(_HALVED), 2), else_=named["samples_per_pixel"]
        )
        pixels = named["rows"] * named["columns"] * samples
        bits = pixels * named["bits_allocated"] * sa.case((frames < 1, 1), else_=frames)
        expected = (bits + 7) // 8
        length = named["pixel_bytes"]
        wrong = sa.and_(length != expected, length != expected + expected % 2)
        return sa.func.coalesce(sa.not_(wrong), sa.true())


class ExpectPixelLengthToBeConsistent(MulticolumnMapExpectation):
    """Expect native pixel data to be as long as the header says; `column_list` as `COLUMNS`.

    Rows whose pixel data is absent, encapsulated or was not looked at are not judged.
    """

    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "never"
    map_metric: ClassVar[str] = "multicolumn_values.dicom_pixel_length"
