"""The committed header suites are what the standard's table and the checks make."""

from pathlib import Path

import pytest
from pandas import DataFrame

from dicom_migration.cleansing.headers import read_study
from dicom_migration.policies import include_dir
from dicom_migration.policies.cleansing import CleansingPolicy
from dicom_migration.quality import QualityResult, judge_frame, load_suite, suite_names
from include.expectations.generate import Requirement, requirements, suites
from tests.archives import MemoryArchive, held_from, real_file

FOLDER = Path(include_dir()) / "expectations"


@pytest.mark.parametrize(("name", "text"), suites().items())
def test_a_committed_suite_is_what_is_generated(name: str, text: str) -> None:
    assert (FOLDER / name).read_text() == text


def test_every_module_named_by_the_table_has_its_suite() -> None:
    assert {f"header_{row.suite}" for row in requirements()} <= set(suite_names("header_"))


def test_severity_follows_the_type_unless_the_table_says_otherwise() -> None:
    def severity(kind: str, severity: str = "", condition: str = "") -> str:
        row = Requirement("ct", "Rows", kind, "C.7.6.3", severity, condition)
        return str(row.expectation()["severity"])

    assert [severity(kind) for kind in ("1", "1C", "2", "2C")] == [
        "warning",
        "info",
        "info",
        "info",
    ]
    assert severity("1C", condition="samples_per_pixel>1") == "warning"
    assert severity("1", "critical") == "critical"


def judged(name: str, suite: str, **changed: object) -> QualityResult:
    """Judge the header of a real file, as the collection reads it."""
    held = held_from(real_file(name))
    study = read_study(
        MemoryArchive([held]), held.record.study_instance_uid, CleansingPolicy(headers="all")
    )
    frame = DataFrame([{**row, **changed} for row in study.facts], dtype=object)
    return judge_frame(frame, suite, ["sop_instance_uid"])


def unmet(result: QualityResult) -> set[str]:
    return {finding.title for finding in result.findings if finding.unexpected}


@pytest.mark.parametrize(
    ("file", "suite"),
    [
        ("CT_small.dcm", "header_ct"),
        ("CT_small.dcm", "header_image"),
        ("MR_small.dcm", "header_image"),
        ("rtdose.dcm", "header_rtdose"),
        ("rtplan.dcm", "header_rtplan"),
    ],
)
def test_a_real_header_is_judged_by_its_suite_and_not_kept_back(file: str, suite: str) -> None:
    result = judged(file, suite)
    assert result.rows_judged == 1
    assert result.success


def test_a_report_that_calls_itself_ct_is_not_judged_as_an_image() -> None:
    report = "1.2.840.10008.5.1.4.1.1.88.33"
    assert judged("CT_small.dcm", "header_ct", sop_class_uid=report).rows_judged == 0
    assert judged("CT_small.dcm", "header_sr", sop_class_uid=report).rows_judged == 1
    assert judged("CT_small.dcm", "header_ct", sop_class_uid="").rows_judged == 1


def test_an_image_without_its_rows_is_kept_back_and_an_older_row_is_not_judged() -> None:
    bare = judged("CT_small.dcm", "header_image", attributes=" 00080016 ")
    assert "Rows (0028,0010) is filled" in unmet(bare)
    assert not bare.success
    assert unmet(judged("CT_small.dcm", "header_image", attributes=None)) == set()


def test_pixel_data_that_is_too_short_is_reported() -> None:
    told = unmet(judged("CT_small.dcm", "header_image", pixel_bytes=32766))
    assert any(title.startswith("Native pixel data") for title in told)


def test_no_expectation_names_an_attribute_twice() -> None:
    for name in suite_names("header_"):
        titles = [expectation.meta.title for expectation in load_suite(name).expectations]
        assert len(titles) == len(set(titles)), name
