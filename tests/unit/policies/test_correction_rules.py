"""Each operation of a correction rule, by the examples that a rule itself would carry."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dicom_migration.errors import PermanentError
from dicom_migration.policies import policy_hash
from dicom_migration.policies.corrections import CorrectionRule, RuleSet, load_ruleset
from dicom_migration.policies.corrections.patterns import MAX_MATCHED, full_match, replace_first
from dicom_migration.policies.loading import INCLUDE_VARIABLE


def rule(
    keyword: str, operation: dict[str, Any], given: dict[str, str], expect: str | None, **when: Any
) -> CorrectionRule:
    return CorrectionRule.model_validate(
        {
            "id": "some-rule",
            "keyword": keyword,
            "reason": "A reason that is long enough.",
            "owner": "Radiology",
            "when": when,
            "operation": operation,
            "examples": [{"given": given, "expect": expect}],
        }
    )


@pytest.mark.parametrize(
    ("keyword", "operation", "given", "expect"),
    [
        ("PatientSex", {"set": ""}, {"PatientSex": "X"}, ""),
        ("StudyDate", {"copy_from": ["SeriesDate"]}, {"SeriesDate": "20200101"}, "20200101"),
        ("PatientSex", {"map": {"W": "F"}}, {"PatientSex": "W"}, "F"),
        ("Modality", {"lookup": {"to": {"CAT": "CT"}}}, {"Modality": "CAT"}, "CT"),
        (
            "IssuerOfPatientID",
            {"lookup": {"by": "InstitutionName", "to": {"North": "NORTH-PAS"}}},
            {"InstitutionName": "North"},
            "NORTH-PAS",
        ),
        (
            "PatientID",
            {"prefix": {"by": "InstitutionName", "to": {"North": "N-"}}},
            {"InstitutionName": "North", "PatientID": "17"},
            "N-17",
        ),
        ("StudyDescription", {"truncate": "vr"}, {"StudyDescription": "A" * 70}, "A" * 64),
        ("StudyDescription", {"strip": True}, {"StudyDescription": "  CHEST "}, "CHEST"),
        ("PatientID", {"strip_controls": True}, {"PatientID": "1\t2␀3\x7f"}, "123"),
        ("AccessionNumber", {"pad": {"width": 6}}, {"AccessionNumber": "17"}, "000017"),
        (
            "StudyID",
            {"pad": {"width": 4, "fill": "X", "side": "right"}},
            {"StudyID": "1"},
            "1XXX",
        ),
        ("BodyPartExamined", {"case": "upper"}, {"BodyPartExamined": "chest"}, "CHEST"),
        (
            "AccessionNumber",
            {"replace": {"pattern": "^RIS-", "by": ""}},
            {"AccessionNumber": "RIS-1"},
            "1",
        ),
        ("StudyDate", {"coerce_date": ["DD.MM.YYYY"]}, {"StudyDate": "04.03.2019"}, "20190304"),
        ("StudyDate", {"coerce_date": ["YYYY-MM-DD"]}, {"StudyDate": "2019-03-04"}, "20190304"),
        (
            "StudyDate",
            {"coerce_date": ["YYYYMMDDhhmmss"]},
            {"StudyDate": "20190304120000"},
            "20190304",
        ),
        (
            "SpecificCharacterSet",
            {"reencode_from": "ISO_IR 100"},
            {"text_encoding": "8-bit"},
            "ISO_IR 192",
        ),
    ],
)
def test_an_operation_makes_what_its_example_says(
    keyword: str, operation: dict[str, Any], given: dict[str, str], expect: str
) -> None:
    assert rule(keyword, operation, given, expect).correct(given) == expect


@pytest.mark.parametrize(
    ("keyword", "operation", "header"),
    [
        ("StudyDate", {"coerce_date": ["DD.MM.YYYY"]}, {"StudyDate": "31.02.2019"}),
        ("StudyDate", {"coerce_date": ["DD.MM.YYYY"]}, {"StudyDate": "4.3.2019"}),
        ("PatientID", {"prefix": {"by": "InstitutionName", "to": {"North": "N-"}}},
         {"InstitutionName": "North", "PatientID": "N-17"}),
        ("PatientID", {"prefix": {"by": "InstitutionName", "to": {"North": "N-"}}},
         {"InstitutionName": "South", "PatientID": "17"}),
        ("AccessionNumber", {"pad": {"width": 6}}, {"AccessionNumber": ""}),
        ("StudyDescription", {"replace": {"pattern": "A", "by": "B"}},
         {"StudyDescription": "A" * (MAX_MATCHED + 1)}),
    ],
)  # fmt: skip
def test_what_an_operation_is_not_sure_of_stays(
    keyword: str, operation: dict[str, Any], header: dict[str, str]
) -> None:
    surely = {
        "coerce_date": ({keyword: "04.03.2019"}, "20190304"),
        "prefix": ({"InstitutionName": "North", "PatientID": "1"}, "N-1"),
        "pad": ({keyword: "1"}, "000001"),
        "replace": ({keyword: "A"}, "B"),
    }
    (name,) = operation
    given, expect = surely[name]
    assert rule(keyword, operation, given, expect).correct(header) is None


def test_a_rule_may_be_for_one_site() -> None:
    of_north = rule(
        "IssuerOfPatientID",
        {"set": "NORTH"},
        {"InstitutionName": "North Hospital"},
        "NORTH",
        missing=True,
        where={"InstitutionName": {"matches": "North.{0,40}"}},
    )
    assert of_north.correct({"InstitutionName": "South"}) is None


@pytest.mark.parametrize(
    ("keyword", "operation", "told"),
    [
        ("PatientID", {"declare_charset": True}, "SpecificCharacterSet only"),
        ("SpecificCharacterSet", {"reencode_from": "KLINGON"}, "defined term"),
        ("StudyDate", {"coerce_date": ["DD/MM/YYYY", "MM/DD/YYYY"]}, "choose one"),
        ("PatientID", {"lookup": {"to": {}}}, "empty"),
        ("PatientID", {"strip": False}, "does nothing"),
        ("PatientID", {"lookup": {"file": "../secrets.csv"}}, "without a folder"),
        ("PatientID", {"replace": {"pattern": "(a|ab)+(x+x+)+y", "by": ""}}, "repetitions"),
    ],
)
def test_an_operation_that_cannot_be_meant_is_refused(
    keyword: str, operation: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        rule(keyword, operation, {keyword: "a"}, "b")


@pytest.fixture
def rules_with_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cleansing"
    folder.mkdir()
    (folder / "rules.yaml").write_text(
        "rules:\n"
        "  - id: sites\n"
        "    keyword: IssuerOfPatientID\n"
        "    reason: Ids of the sites overlap.\n"
        "    owner: Master patient index\n"
        "    when: {missing: true}\n"
        "    operation: {lookup: {file: sites.csv, by: InstitutionName}}\n"
        "    examples: [{given: {InstitutionName: North}, expect: NORTH}]\n"
    )
    monkeypatch.setenv(INCLUDE_VARIABLE, str(tmp_path))
    return folder / "sites.csv"


def test_a_changed_table_is_a_changed_rule_set(rules_with_a_table: Path) -> None:
    rules_with_a_table.write_text("from,to\nNorth,NORTH\n")
    before = policy_hash(load_ruleset())
    rules_with_a_table.write_text("from,to\nNorth,NORTH\nSouth,SOUTH\n")
    assert policy_hash(load_ruleset()) != before


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("from,to\nNorth,NORTH\nSouth,S\nNorth,N\n", "sites.csv, line 4: this key stands"),
        ("North,NORTH\n", "columns must be from,to"),
        ("from,to\nNorth\n", "line 2: 1 columns"),
        ('from,to\n"North,NORTH\n', "not CSV"),
        (None, "there is no include/cleansing/sites.csv"),
        (b"from,to\nNorth,N\xfc\n", "not UTF-8"),
        ("from,to\n" + "a,\0\n" * 1, "doesn't|does not|expected"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused_by_line(
    rules_with_a_table: Path, table: str | bytes | None, told: str
) -> None:
    if table is not None:
        rules_with_a_table.write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(PermanentError, match=told):
        load_ruleset()


def test_a_key_given_twice_in_the_rules_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - id: a\n    operation:\n      map: {W: F, M: M, W: M}\n")
    with pytest.raises(PermanentError, match="line 4: a key is given twice"):
        load_ruleset(path)


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+b", "(a|aa)+b", "(x+x+)+y", ".*.*.*=", "(a?){60}a{60}", "(.*a){12}", "([a-z]+)*$"],
)
def test_a_pattern_that_backtracks_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="repetitions"):
        rule("PatientID", {"replace": {"pattern": pattern, "by": ""}}, {}, None)


PIECES = st.sampled_from(["a", "b", "[ab]", ".", "(a|b)", "(?:ab)", r"\w", "(aa|a)"])
REPEATS = st.sampled_from(["", "", "+", "*", "?", "{1,8}", "{3}", "+?", "*?"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PIECES, REPEATS), min_size=1, max_size=6), st.sampled_from("abc"))
def test_no_accepted_pattern_takes_long_on_the_worst_text(
    parts: list[tuple[str, str]], last: str
) -> None:
    pattern = "".join(piece + repeat for piece, repeat in parts) + "c"
    try:
        rule("PatientID", {"replace": {"pattern": pattern, "by": ""}}, {}, None)
    except ValidationError as refused:
        if "repetitions" in str(refused):
            return
    begun = time.process_time()
    for text in ("a" * MAX_MATCHED, "ab" * (MAX_MATCHED // 2), "a" * (MAX_MATCHED - 1) + last):
        full_match(pattern, text)
        replace_first(pattern, "", text)
    assert time.process_time() - begun < 6


def test_the_shipped_rules_are_one_set_with_unique_ids() -> None:
    ruleset = load_ruleset()
    with pytest.raises(ValidationError, match="share an id"):
        RuleSet(rules=(*ruleset.rules, ruleset.rules[0]))
