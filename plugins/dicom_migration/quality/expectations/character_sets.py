"""Expectation of Specific Character Set (0008,0005): that it decodes the text beside it."""

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

if TYPE_CHECKING:
    from pandas import Series

_REGIONS = (6, 13, 58, 87, 100, 101, 109, 110, 126, 127, 138, 144, 148, 149, 159, 166, 192, 203)
#: Defined terms of PS3.3 section C.12.1.1.2; some of them exist in one of the two forms only.
TERMS = frozenset(
    {
        "",
        "GB18030",
        "GBK",
        *(f"ISO_IR {number}" for number in _REGIONS),
        *(f"ISO 2022 IR {number}" for number in _REGIONS),
    }
)


def decodes(declared: str, encoding: str) -> bool:
    """Tell whether `declared` decodes text that is encoded as the column text_encoding says."""
    if encoding == "ascii":
        return True
    return encoding == "declared" and all(term.strip() in TERMS for term in declared.split("\\"))


class CharacterSetDecodes(ColumnPairMapMetricProvider):
    """Whether the character set of A decodes text that is encoded as B says."""

    condition_metric_name = "column_pair_values.dicom_character_set"
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
        told = column_B.fillna("ascii").astype(str) + "\n" + column_A.fillna("").astype(str)
        return each_distinct(told, lambda pair: decodes(*reversed(pair.split("\n", 1))))

    @column_pair_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column_A: Any, column_B: Any, **_: Any) -> Any:  # noqa: N803, N805
        known = "|".join(sorted(TERMS - {""}))
        terms = rf"^ *({known})? *(\\ *({known})? *)*$"
        return sa.or_(
            sa.func.coalesce(column_B, "ascii") == "ascii",
            sa.and_(column_B == "declared", sa.func.coalesce(column_A, "").regexp_match(terms)),
        )


class ExpectCharacterSetToDecodeText(ColumnPairMapExpectation):
    """Expect the character set in `column_A` to decode the header's text.

    `column_B` says how that text is encoded: ``ascii``, ``declared``, ``utf-8``, ``8-bit``.
    """

    ignore_row_if: str = "both_values_are_missing"
    map_metric: ClassVar[str] = "column_pair_values.dicom_character_set"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "ignore_row_if")
