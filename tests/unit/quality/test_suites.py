import json
from pathlib import Path

import pytest

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.policies.loading import INCLUDE_VARIABLE
from dicom_migration.quality.suites import load_suite, suite_names, suites_hash

EXPECTATION = {
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "a"},
    "severity": "critical",
    "meta": {"title": "A is present", "reason_code": "field_incomplete"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(INCLUDE_VARIABLE, str(tmp_path))
    (tmp_path / "expectations").mkdir()
    return tmp_path / "expectations"


def test_every_suite_of_the_project_is_well_formed() -> None:
    names = suite_names("header_")
    assert "header_general" in names
    for name in (*names, "inventory"):
        assert load_suite(name).name == name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1"),
        (json.dumps({"name": "other", "expectations": [EXPECTATION]}), "field name"),
        (
            json.dumps({"name": "bad", "expectations": [{**EXPECTATION, "severity": "fatal"}]}),
            "field expectations.0.severity",
        ),
        (
            json.dumps({"name": "bad", "expectations": [{**EXPECTATION, "meta": {}}]}),
            "field expectations.0.meta",
        ),
    ],
)
def test_a_malformed_suite_is_refused_by_file_and_field(folder: Path, text: str, told: str) -> None:
    (folder / "bad.json").write_text(text)
    with pytest.raises(PermanentError, match=r"bad\.json") as refused:
        load_suite("bad")
    assert told in str(refused.value)
    assert refused.value.reason is ReasonCode.POLICY_INVALID


def test_a_missing_suite_is_refused(folder: Path) -> None:
    with pytest.raises(PermanentError, match=r"absent\.json"):
        load_suite("absent")


def test_the_hash_follows_the_content_and_not_the_layout(folder: Path) -> None:
    content = {"name": "bad", "expectations": [EXPECTATION]}
    (folder / "bad.json").write_text(json.dumps(content))
    before = suites_hash(["bad"])
    (folder / "bad.json").write_text(json.dumps(content, indent=4))
    assert suites_hash(["bad"]) == before
    (folder / "bad.json").write_text(json.dumps({**content, "modalities": ["CT"]}))
    assert suites_hash(["bad"]) != before
