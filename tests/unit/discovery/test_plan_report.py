"""The report and the files that a plan is judged on."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import update

from dicom_migration.discovery.archive_figures import main_modality
from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.discovery.plan_charts import Group, column_chart
from dicom_migration.discovery.plan_export import COLUMNS, export_plan
from dicom_migration.discovery.plan_report import approval_text, report_plan
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, note_exceptions, schema
from dicom_migration.policies.retention import RetentionPolicy, RetentionRule
from dicom_migration.policies.strategy import SelectionRule, StrategyPolicy
from tests.unit.discovery.conftest import approved, known, planned, study

CANARIES = {
    "patient_id": "CANARY-ID",
    "patient_name": "CANARY^NAME",
    "accession_number": "CANARY-ACC",
    "patient_birth_date": "19470615",
    "study_description": "CANARY-DESCRIPTION",
    "institution_name": "CANARY-SITE",
    "issuer_of_patient_id": "CANARY-ISSUER",
}
PROFILE = {
    "findings": [
        {
            "title": "Patient ID is present",
            "severity": "critical",
            "evaluated": 1000,
            "unexpected": 13,
            "success": False,
        }
    ]
}


def test_the_report_counts_and_costs_without_a_patient_in_it(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20100101", **CANARIES), study(2, modalities=("<script>",)))
    plan = planned(ledger, policies)
    html, figures = report_plan(ledger, plan, policies, PROFILE)
    assert plan.content_sha256 in html
    assert "CANARY" not in html
    assert "19470615" not in html
    assert "<script>" not in html
    assert "98.7 %" in html
    assert figures.cost.month < figures.standard.month
    assert {group.name for group in figures.archive.by_modality} == {"CT", "unknown"}


def test_the_report_is_one_file_that_fetches_nothing(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, *(study(n, f"20{n:02d}0101") for n in range(1, 20)))
    html, _ = report_plan(ledger, planned(ledger, policies), policies, None)
    assert not re.search(r"<(script|link|img|iframe|object)\b", html)
    assert not re.search(r"\b(src|href|srcset)\s*=|url\(|@import", html)
    assert html.count("<svg") == 4


def test_the_report_shows_what_is_left_out_what_could_be_purged_and_why(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20000101"), study(2, "20200101", modalities=("US",)))
    changed = replace(
        policies,
        strategy=StrategyPolicy(
            rules=(
                SelectionRule(
                    name="no-sono",
                    action="exclude",
                    reason="Kept by cardiology.",
                    modalities=("US",),
                ),
            )
        ),
        retention=RetentionPolicy(
            rules=(RetentionRule(name="very-old", reason="Ten years.", older_than_years=10),)
        ),
    )
    html, _ = report_plan(ledger, planned(ledger, changed), changed, None)
    for text in ("no-sono", "Kept by cardiology.", "very-old", "Ten years."):
        assert text in html


def test_weak_points_are_named_as_risks(ledger: Ledger, policies: PlanPolicies) -> None:
    known(ledger, study(1, ""), study(2, number_of_instances=None))
    with ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == "1.2.1")
            .values(sop_classes="1.2.840.10008.5.1.4.1.1.2\\1.3.12.2.1107.5.9.1")
        )
        notes = [ExceptionNote(ReasonCode.WINDOW_CAPPED, "discovery", subject="a range")]
        note_exceptions(connection, notes, EventChain("test"))
    html, _ = report_plan(ledger, planned(ledger, policies), policies, None)
    for text in (
        "1 date ranges may hold more studies than were found",
        "1 studies have no usable date",
        "1 studies have an unknown number of instances",
        "1 unusual kinds of objects",
        "1.3.12.2.1107.5.9.1",
        "of the volume is assumed",
        "The speed is an assumption",
    ):
        assert text in html
    assert "1.2.840.10008.5.1.4.1.1.2<" not in html, "CT images are nothing unusual"


def test_a_replanned_report_shows_the_difference(ledger: Ledger, policies: PlanPolicies) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"))
    first = approved(ledger, policies)
    hybrid = replace(policies, strategy=StrategyPolicy(strategy="hybrid"))
    plan = planned(ledger, hybrid, replan=True)
    html, figures = report_plan(ledger, plan, hybrid, None)
    assert f"Changes since plan {first.plan_id}, approved by Ada" in html
    text = approval_text(plan, figures, hybrid, "s3://bucket/report.html")
    assert "1 let out" in text
    assert plan.content_sha256 in text
    assert "s3://bucket/report.html" in text


def test_an_empty_archive_and_a_plan_of_nothing_but_exclusions_have_a_report(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"))
    hybrid = replace(policies, strategy=StrategyPolicy(strategy="hybrid"))
    plan = planned(ledger, hybrid)
    html, figures = report_plan(ledger, plan, hybrid, None)
    assert "Nothing is transferred." in html
    assert "nothing to transfer" in approval_text(plan, figures, hybrid, "")


def test_the_files_hold_every_study_once_and_nothing_of_a_patient(
    ledger: Ledger, policies: PlanPolicies, tmp_path: Path
) -> None:
    known(
        ledger,
        study(1, "20100101", **CANARIES),
        study(2, "20251001", modalities=("=cmd()", "MR")),
        study(3, ""),
    )
    hybrid = replace(policies, strategy=StrategyPolicy(strategy="hybrid"))
    plan = planned(ledger, hybrid)
    lines, parquet = export_plan(ledger, plan, tmp_path)
    with lines.open(newline="") as text:
        rows = list(csv.DictReader(text))
    table = pq.read_table(parquet)
    assert tuple(rows[0]) == COLUMNS == tuple(table.column_names)
    assert [{k: str(v) for k, v in row.items()} for row in table.to_pylist()] == rows
    assert {row["study_instance_uid"]: row["modality"] for row in rows} == {
        "1.2.1": "CT",
        "1.2.2": "MR",
        "1.2.3": "CT",
    }
    assert [(row["wave"], row["decision"]) for row in rows] == [
        ("W0001", "include"),
        ("W0001", "include"),
        ("", "exclude"),
    ]
    assert table.schema.metadata[b"content_sha256"].decode() == plan.content_sha256
    written = lines.read_text() + parquet.read_bytes().decode("latin-1")
    assert "CANARY" not in written
    assert "20100101" not in written


@pytest.mark.parametrize(
    ("told", "main"),
    [
        ("CT\\SR", "CT"),
        ("KO\\MR\\PR", "MR"),
        ("SR", "SR"),
        ("", "unknown"),
        ("=1+1", "unknown"),
        ("a b", "unknown"),
    ],
)
def test_a_study_is_counted_under_what_made_its_images(told: str, main: str) -> None:
    assert main_modality(told) == main


def test_a_wrong_date_does_not_draw_a_column_for_every_year_since() -> None:
    archive = [Group("1816", 1, 1, 1), Group("2020", 1, 1, 5), Group("undated", 1, 1, 2)]
    chart = column_chart(archive, archive[1:2], [])
    assert len(chart.columns) == 3
    assert max(sum(column.parts) for column in chart.columns) <= 230
