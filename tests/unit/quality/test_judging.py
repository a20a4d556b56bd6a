import json
from pathlib import Path

import pytest
from pandas import DataFrame

from dicom_migration.errors import PermanentError
from dicom_migration.ledger import Ledger
from dicom_migration.quality import judge_frame, judge_query, store_results, stored_report

FRAME = DataFrame(
    {"uid": ["1", "2", "3"], "name": ["CANARY", None, "x"], "sex": ["M", "CANARY", "F"]},
    dtype=object,
)


def test_findings_name_rows_and_never_values(suite: Path) -> None:
    result = judge_frame(FRAME, "small", ["uid"])
    assert [(f.unexpected, f.evaluated, f.keys) for f in result.findings] == [
        (1, 3, (("2",),)),
        (1, 3, (("2",),)),
    ]
    assert not result.success
    for told in (str(result), result.table(), json.dumps(result.report())):
        assert "CANARY" not in told


def test_only_critical_expectations_decide_over_success(suite: Path) -> None:
    result = judge_frame(FRAME[FRAME["name"].notna()], "small")
    assert result.success
    assert result.summary()["failed_critical"] == 0


def test_no_rows_meet_every_expectation(suite: Path) -> None:
    assert judge_frame(FRAME[:0], "small", ["uid"]).success


def test_a_suite_for_a_modality_judges_its_rows_only(suite: Path) -> None:
    content = {**json.loads(suite.read_text()), "modalities": ["MG"]}
    suite.write_text(json.dumps(content))
    frame = FRAME.assign(modality=["CT", "CT", "MG"])
    assert judge_frame(frame, "small", ["uid"]).rows_judged == 1


def test_a_suite_that_names_an_unknown_column_is_refused(suite: Path) -> None:
    content = json.loads(suite.read_text())
    content["expectations"][0]["kwargs"]["column"] = "absent"
    suite.write_text(json.dumps(content))
    with pytest.raises(PermanentError, match=r"small\.json.*absent"):
        judge_frame(FRAME, "small")


def test_an_unknown_expectation_is_refused(suite: Path) -> None:
    content = json.loads(suite.read_text())
    content["expectations"][0]["type"] = "expect_miracles"
    suite.write_text(json.dumps(content))
    with pytest.raises(PermanentError, match=r"small\.json"):
        judge_frame(FRAME, "small")


def test_the_database_judges_and_the_ledger_remembers(suite: Path, tmp_path: Path) -> None:
    query = "SELECT '1' AS uid, 'x' AS name, 'Q' AS sex UNION ALL SELECT '2', NULL, 'M'"
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.upgrade()
        result = judge_query(ledger, query, "small", ["uid"])
        for _ in range(2):
            store_results(ledger, "test", "subject", [result])
        report = stored_report(ledger, "test", "subject", "small")
    assert [finding.keys for finding in result.findings] == [(("2",),), (("1",),)]
    assert report is not None
    assert report["rows"] == 2
