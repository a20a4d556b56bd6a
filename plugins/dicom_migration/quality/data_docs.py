"""Data Docs of one run: every expectation and what it found, without anything it found it in.

Great Expectations renders its own pages from validation results that quote values and load their
style from elsewhere. This page is made of what is kept of a judgement, which are counts, and of
the suites, which are files of the project: there is nothing to take out of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dicom_migration.quality.suites import load_suite
from dicom_migration.reporting import render_report

if TYPE_CHECKING:
    from datetime import datetime

    from dicom_migration.quality.results import Finding, QualityResult
    from dicom_migration.quality.suites import ExpectationSpec


def render_data_docs(
    subject: str,
    made_at: datetime,
    before: Sequence[QualityResult],
    after: Sequence[QualityResult],
) -> str:
    """Return the page of a run as HTML.

    Parameters
    ----------
    before, after
        The same suites' results, on the headers as they are and as corrections make them.
    """
    return render_report(
        "data_docs.html.j2",
        subject=subject,
        made_at=made_at.strftime("%Y-%m-%d %H:%M UTC"),
        version=version("great_expectations"),
        suites=[_suite(first, last) for first, last in zip(before, after, strict=True)],
    )


def _suite(before: QualityResult, after: QualityResult) -> dict[str, Any]:
    suite = load_suite(before.suite)
    triples = zip(suite.expectations, before.findings, after.findings, strict=True)
    return {
        "name": suite.name,
        "description": suite.description,
        "modalities": ", ".join(suite.modalities) or "all",
        "rows": before.rows_judged,
        "met_before": sum(finding.success for finding in before.findings),
        "met_after": sum(finding.success for finding in after.findings),
        "expectations": [_expectation(*triple) for triple in triples],
    }


def _expectation(spec: ExpectationSpec, before: Finding, after: Finding) -> dict[str, Any]:
    return {
        "title": spec.meta.title,
        "type": spec.type,
        "arguments": json.dumps(spec.kwargs, ensure_ascii=False, sort_keys=True),
        "severity": spec.severity,
        "reason": spec.meta.reason_code.value,
        "evaluated": before.evaluated,
        "before": before.unexpected,
        "after": after.unexpected,
        "met": after.success,
        "share": 1.0 if not after.evaluated else 1 - after.unexpected / after.evaluated,
    }
