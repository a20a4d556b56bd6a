"""Judging data with Great Expectations: suites are JSON, results are counts and identifiers."""

from dicom_migration.quality.judging import judge_frame, judge_query
from dicom_migration.quality.results import Finding, QualityResult
from dicom_migration.quality.scores import Score, scores_of
from dicom_migration.quality.storing import store_results, store_scores, stored_report
from dicom_migration.quality.suites import Suite, load_suite, suite_names, suites_hash

__all__ = [
    "Finding",
    "QualityResult",
    "Score",
    "Suite",
    "judge_frame",
    "judge_query",
    "load_suite",
    "scores_of",
    "store_results",
    "store_scores",
    "stored_report",
    "suite_names",
    "suites_hash",
]
