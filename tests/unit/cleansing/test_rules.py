from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_migration.errors import PermanentError
from dicom_migration.policies.corrections import load_ruleset

RULE = """
rules:
  - id: some-rule
    keyword: {keyword}
    reason: A reason that is long enough.
    owner: Radiology
    when: {when}
    operation: {operation}
    examples: {examples}
"""


def refused(tmp_path: Path, **parts: str) -> str:
    rule = {
        "keyword": "PatientSex",
        "when": "{one_of: [W]}",
        "operation": "{set: F}",
        "examples": "[{given: {PatientSex: W}, expect: F}]",
        **parts,
    }
    path = tmp_path / "rules.yaml"
    path.write_text(RULE.format(**rule))
    with pytest.raises(PermanentError) as error:
        load_ruleset(path)
    return str(error.value)


def test_the_rules_of_the_project_do_what_their_examples_say() -> None:
    assert len(load_ruleset().rules) >= 7


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"examples": "[]"}, "examples"),
        ({"examples": "[{given: {PatientSex: W}, expect: M}]"}, "example 1: expected 'M'"),
        ({"examples": "[{given: {PatientSex: M}, expect: null}]"}, "changes something"),
        ({"keyword": "PatientWeight"}, "PatientWeight is not an attribute"),
        ({"operation": "{set: F, strip: true}"}, "exactly one operation"),
        ({"when": '{matches: "(a+)+b"}'}, "repetition"),
        ({"when": '{matches: "("}'}, "not a regular expression"),
        ({"when": "{moon: full}"}, "field rules.0.when.moon"),
    ],
)
def test_a_rule_that_is_not_proven_is_refused_by_file_line_and_field(
    tmp_path: Path, parts: dict[str, str], told: str
) -> None:
    message = refused(tmp_path, **parts)
    assert told in message
    assert "rules.yaml, line" in message


@given(st.dictionaries(st.sampled_from(["StudyDate", "PatientSex", "Modality"]), st.text()))
def test_rules_take_any_text_without_failing(header: dict[str, str]) -> None:
    for rule in load_ruleset().rules:
        rule.correct(header)
