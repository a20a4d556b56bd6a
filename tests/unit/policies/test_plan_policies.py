"""Strategy, retention and tiers: what is refused, and how it is told."""

from decimal import Decimal
from pathlib import Path

import pytest

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.policies.retention import load_retention_policy
from dicom_migration.policies.strategy import load_strategy_policy
from dicom_migration.policies.tiers import load_tiers_policy

SHIPPED = Path(__file__).parents[3] / "include" / "policies"


def refused(load: object, path: Path) -> str:
    with pytest.raises(PermanentError) as caught:
        load(path)  # type: ignore[operator]
    assert caught.value.reason is ReasonCode.POLICY_INVALID
    return str(caught.value)


def strategy(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "strategy.yaml"
    path.write_text(text)
    return path


def test_what_is_shipped_is_valid_and_its_money_is_exact() -> None:
    load_strategy_policy()
    load_retention_policy()
    tiers = load_tiers_policy()
    assert tiers.storage_classes["DEEP_ARCHIVE"].gb_month == Decimal("0.00099")
    assert tiers.retrievals_a_year == Decimal("0.07")


def test_a_list_of_studies_may_stand_in_a_file_beside_the_policy(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# hold\n1.2.3\n\n1.2.4  # twice\n1.2.4\n")
    path = strategy(
        tmp_path,
        "rules: [{name: listed, action: exclude, reason: on a list, study_list: list.txt,"
        " study_instance_uids: [1.2.5]}]",
    )
    assert load_strategy_policy(path).rules[0].study_instance_uids == ("1.2.5", "1.2.3", "1.2.4")


def test_a_wrong_line_of_a_list_is_told_without_repeating_it(tmp_path: Path) -> None:
    (tmp_path / "hold.txt").write_text("1.2.3\nDOE^JANE\n")
    path = tmp_path / "retention.yaml"
    path.write_text("legal_holds: [{name: case, reason: lawyers, study_list: hold.txt}]")
    message = refused(load_retention_policy, path)
    assert "hold.txt, line 2" in message
    assert "DOE" not in message


@pytest.mark.parametrize("content", [None, b"# nothing\n", b"\xff\xfe"])
def test_a_list_that_is_missing_empty_or_binary_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    rule = "rules: [{name: listed, action: exclude, reason: on a list, study_list: list.txt}]"
    assert "list.txt" in refused(load_strategy_policy, strategy(tmp_path, rule))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", ".hidden", "a/b.txt"])
def test_a_list_is_a_file_beside_the_policy_and_no_path(tmp_path: Path, name: str) -> None:
    rule = f"rules:\n  - {{name: x1, action: exclude, reason: on a list, study_list: {name}}}"
    message = refused(load_strategy_policy, strategy(tmp_path, rule))
    assert "line 2, field rules.0.study_list" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("strategy: hybird\n", "line 1, field strategy"),
        ("rules: [{name: all, action: exclude, reason: because}]", "would match every study"),
        ("waves: {order: by_modality}", "list of modalities"),
        ("waves: {modalities: [CT]}", "list of modalities"),
        ("throughput: {optimistic: 0.5}", "field throughput.optimistic"),
        (
            "rules: [{name: r1, action: exclude, reason: because, date_from: '20200101',"
            " date_to: '20190101'}]",
            "date_from is after date_to",
        ),
    ],
)
def test_a_strategy_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(load_strategy_policy, strategy(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("undated: STANDARD", "undated: STANDART", "STANDART is not one of"),
        ("  - {name: recent, storage_class: STANDARD}", "", "last rule must have no condition"),
        ("gb_month: 0.023", "gb_month: -1", "field storage_classes.STANDARD.gb_month"),
        ("currency: USD", "currency: dollars", "field currency"),
        ("priced_on: 2026-06-05", "priced_on: someday", "field priced_on"),
        ("  STANDARD:\n", "  STANDARD_2:\n", "field storage_classes"),
        ("retrievals_a_year: 0.07", "retrievals_a_year: 7%", "field retrievals_a_year"),
    ],
)
def test_tiers_that_cannot_be_costed_are_refused(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    text = (SHIPPED / "tiers.yaml").read_text()
    assert old in text
    path = tmp_path / "tiers.yaml"
    path.write_text(text.replace(old, new, 1))
    message = refused(load_tiers_policy, path)
    assert told in message
    assert "tiers.yaml, line" in message


def test_retention_rules_that_match_nobody_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "retention.yaml"
    for rule, told in (
        ("modalities: [MG], except_modalities: [MG]", "wants and excepts"),
        ("patient_age_at_study_from: 18, patient_age_at_study_below: 18", "no age is in its range"),
    ):
        path.write_text(f"rules: [{{name: r1, reason: because, older_than_years: 9, {rule}}}]")
        assert told in refused(load_retention_policy, path)
