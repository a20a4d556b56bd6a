"""Judging rows by a suite with Great Expectations, in memory or inside the database.

Importing Great Expectations takes seconds: it happens in the functions, never when a DAG is
parsed, and one call judges a whole batch, never a study.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.quality.columns import columns_of
from dicom_migration.quality.failing_rows import FailingRows
from dicom_migration.quality.results import Finding, QualityResult
from dicom_migration.quality.scores import GroupCounter
from dicom_migration.quality.suites import ExpectationSpec, Suite, load_suite

if TYPE_CHECKING:
    from pandas import DataFrame

    from dicom_migration.ledger import Ledger

#: Makes the identifiers of failing rows of what Great Expectations lists.
_Named = Callable[[int, Sequence[Any]], Sequence[tuple[str, ...]]]


def judge_frame(frame: DataFrame, suite_name: str, keys: Sequence[str] = ()) -> QualityResult:
    """Judge the rows of a data frame.

    Parameters
    ----------
    keys
        Columns that identify a row; the findings then name the failing rows by them, and the
        rows are counted by the groups of :data:`~dicom_migration.quality.scores.GROUPS`.

    Raises
    ------
    PermanentError
        With reason ``policy_invalid`` when the suite is malformed or does not fit the columns.
    """
    suite = load_suite(suite_name)
    frame = _chosen(frame, suite).reset_index(drop=True)
    if frame.empty:
        return _nothing_judged(suite)
    context = _context()
    asset = context.data_sources.add_pandas("frame").add_dataframe_asset("rows")
    if "attributes" in frame:  # many expectations ask it, and headers of one device share a text
        frame = frame.assign(attributes=frame["attributes"].astype("category"))
    # It copies the frame for each expectation, so it gets what the suite looks at and no more.
    looked_at = columns_of(suite)
    narrow = frame[[column for column in frame if column in looked_at]]
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": narrow})
    if not keys:
        return QualityResult(suite.name, len(frame), _judge(batch, suite, _SUMMARY, _nobody))
    counter, named = GroupCounter.of(frame), frame[list(keys)]

    def rows_at(evaluated: int, positions: Sequence[Any]) -> FailingRows:
        import numpy

        failing = FailingRows(named, numpy.asarray(positions, dtype=numpy.intp))
        counter.add(evaluated, failing.positions)
        return failing

    findings = _judge(batch, suite, {"result_format": "COMPLETE"}, rows_at)
    return QualityResult(suite.name, len(frame), findings, counter.groups)


def judge_query(
    ledger: Ledger, query: str, suite_name: str, keys: Sequence[str] = ()
) -> QualityResult:
    """Judge the rows of a SQL query inside the ledger's database; see :func:`judge_frame`."""
    suite = load_suite(suite_name)
    with ledger.read() as connection:
        rows = int(
            connection.exec_driver_sql(f"SELECT count(*) FROM ({query}) AS judged").scalar_one()  # noqa: S608
        )
    if not rows:
        return _nothing_judged(suite)
    context = _context()
    add = context.data_sources.add_sqlite if ledger.is_sqlite else context.data_sources.add_postgres
    asset = add("ledger", connection_string=ledger.url).add_query_asset("rows", query=query)
    batch = asset.add_batch_definition_whole_table("all").get_batch()
    if not keys:
        return QualityResult(suite.name, rows, _judge(batch, suite, _SUMMARY, _nobody))
    form = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": list(keys),
        "return_unexpected_index_query": False,
    }

    def rows_by(_evaluated: int, listed: Sequence[Any]) -> Sequence[tuple[str, ...]]:
        return tuple(tuple(str(row[key]) for key in keys) for row in listed)

    return QualityResult(suite.name, rows, _judge(batch, suite, form, rows_by))


_SUMMARY: dict[str, Any] = {"result_format": "SUMMARY", "partial_unexpected_count": 0}


def _nobody(_evaluated: int, _listed: Sequence[Any]) -> Sequence[tuple[str, ...]]:
    return ()


def _chosen(frame: DataFrame, suite: Suite) -> DataFrame:
    """Return the rows that the suite is for; see :class:`Suite`."""
    if not suite.modalities and not suite.sop_classes:
        return frame
    by_modality = frame["modality"].isin(suite.modalities)
    if not suite.sop_classes or "sop_class_uid" not in frame:
        return frame[by_modality]
    classes = frame["sop_class_uid"].fillna("")
    by_class = classes.isin(suite.sop_classes)
    if suite.both:
        return frame[by_modality & (by_class | (classes == ""))]
    return frame[by_class | ((classes == "") & by_modality)]


def _context() -> Any:
    """Return a context that keeps nothing, draws nothing and tells nobody."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    warnings.filterwarnings("ignore", module=r"great_expectations\..*")
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context


def _judge(batch: Any, suite: Suite, form: dict[str, Any], named: _Named) -> tuple[Finding, ...]:
    import great_expectations as gx
    from great_expectations.exceptions import GreatExpectationsError

    import dicom_migration.quality.expectations  # noqa: F401 - importing registers them

    expectations = [
        {
            "type": spec.type,
            "kwargs": spec.kwargs,
            "severity": spec.severity,
            "meta": {"position": position},
        }
        for position, spec in enumerate(suite.expectations)
    ]
    try:
        built = gx.ExpectationSuite(name=suite.name, expectations=expectations)
    except (GreatExpectationsError, ValueError) as error:  # ValueError: pydantic's too
        raise _misfit(suite, type(error).__name__) from None
    if len(built.expectations) != len(expectations):  # it drops what it does not know
        raise _misfit(suite, "an expectation has an unknown type or arguments that do not fit it")
    outcome = batch.validate(built, result_format=form)
    findings = {}
    for result in outcome.results:
        position = int(result.expectation_config.meta["position"])
        findings[position] = _finding(suite, suite.expectations[position], result, named)
        result.result.clear()  # the values it found are not needed any more
    return tuple(findings[position] for position in sorted(findings))


def _finding(suite: Suite, spec: ExpectationSpec, result: Any, named: _Named) -> Finding:
    outcome = result.result
    if "element_count" not in outcome and "observed_value" not in outcome:
        raise _misfit(suite, f"{spec.type} of {_columns(spec)} could not be evaluated")
    evaluated = int(outcome.get("element_count", 1))
    return Finding(
        title=spec.meta.title,
        expectation=spec.type,
        columns=_columns(spec),
        reason_code=spec.meta.reason_code.value,
        severity=spec.severity,
        evaluated=evaluated,
        unexpected=int(outcome.get("unexpected_count", 0 if result.success else 1)),
        success=bool(result.success),
        suggested_fix=spec.meta.suggested_fix,
        keys=named(evaluated, outcome.get("unexpected_index_list") or ()),
    )


def _columns(spec: ExpectationSpec) -> str:
    named = [spec.kwargs[key] for key in ("column", "column_A", "column_B") if key in spec.kwargs]
    return ", ".join(map(str, named or spec.kwargs.get("column_list", ())))


def _nothing_judged(suite: Suite) -> QualityResult:
    findings = [
        Finding(
            title=spec.meta.title,
            expectation=spec.type,
            columns=_columns(spec),
            reason_code=spec.meta.reason_code.value,
            severity=spec.severity,
            evaluated=0,
            unexpected=0,
            success=True,
            suggested_fix=spec.meta.suggested_fix,
        )
        for spec in suite.expectations
    ]
    return QualityResult(suite.name, 0, tuple(findings))


def _misfit(suite: Suite, problem: str) -> PermanentError:
    return PermanentError(
        f"Expectation suite refused: {suite.name}.json, {problem}.",
        reason=ReasonCode.POLICY_INVALID,
        next_step="Compare its types and columns with docs and correct it in include/expectations.",
    )
