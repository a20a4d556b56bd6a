from pathlib import Path

import pytest
from pydantic import Field

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.policies import Policy, load_policy, policy_hash


class Rule(Policy):
    months: int = Field(ge=0)
    modality: str = "CT"


class Sample(Policy):
    name: str
    rules: tuple[Rule, ...] = ()


def refuse(tmp_path: Path, text: str) -> str:
    file = tmp_path / "strategy.yaml"
    file.write_text(text)
    with pytest.raises(PermanentError) as caught:
        load_policy(Sample, file)
    assert caught.value.reason is ReasonCode.POLICY_INVALID
    return str(caught.value)


def test_a_wrong_value_is_told_with_file_line_and_field(tmp_path: Path) -> None:
    message = refuse(tmp_path, "name: a\nrules:\n  - months: 3\n  - months: -1\n")
    assert "strategy.yaml, line 4, field rules.1.months" in message


def test_an_unknown_field_is_told_where_it_stands(tmp_path: Path) -> None:
    assert "line 2, field nmae" in refuse(tmp_path, "name: a\nnmae: b\n")


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    message = refuse(tmp_path, "rules:\n  - months: x\n")
    assert "field name" in message
    assert "field rules.0.months" in message


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    assert "strategy.yaml, line 2" in refuse(tmp_path, "name: a\nrules: ]\n")


@pytest.mark.parametrize("text", ["", "[]", "just words", "name: &a [*a]"])
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    refuse(tmp_path, text)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "strategy.yaml"
    file.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(PermanentError, match=r"strategy\.yaml"):
        load_policy(Sample, file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"missing\.yaml"):
        load_policy(Sample, tmp_path / "missing.yaml")


def test_the_hash_follows_the_content_and_not_the_layout(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("name: a\nrules: [{months: 3, modality: CT}]\n")
    second.write_text("# said differently\nrules:\n  - modality: CT\n    months: 3\nname: 'a'\n")
    assert policy_hash(load_policy(Sample, first)) == policy_hash(load_policy(Sample, second))
