"""What the lists change in a wave, and what they keep back."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from dicom_migration.cleansing.approval import approve_corrections
from dicom_migration.cleansing.identity import note_identity_conflicts
from dicom_migration.cleansing.list_loading import lists_hash, load_lists
from dicom_migration.cleansing.proposals import Correction, propose_corrections
from dicom_migration.cleansing.reconciling import reconcile_wave
from dicom_migration.cleansing.settlement import settle_wave
from dicom_migration.errors import PermanentError
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.corrections import RuleSet, load_ruleset
from dicom_migration.policies.identity import (
    IdentityPolicy,
    OrderList,
    PatientColumns,
    PatientList,
)
from tests.unit.cleansing.conftest import WAVE, AddStudy

RULES = "a" * 64
PATIENTS = "old,issuer,new,new_issuer,name,born,sex\n"
ANN = "example^ANN,19600101,F\n"
COLUMNS = PatientColumns(
    old_id="old",
    old_issuer="issuer",
    surviving_id="new",
    surviving_issuer="new_issuer",
    name="name",
    birth_date="born",
    sex="sex",
)
Reconcile = Callable[..., list[Correction]]


@pytest.fixture
def reconcile(ledger: Ledger, tmp_path: Path) -> Reconcile:
    def run(
        patients: str = "", orders: str = "", rules: RuleSet | None = None, **settings: object
    ) -> list[Correction]:
        for name, content in (("patients", patients), ("orders", orders)):
            (tmp_path / name).write_text(content)
        merges = PatientList(file=tmp_path / "patients", columns=COLUMNS) if patients else None
        listed = OrderList(file=tmp_path / "orders", **settings) if orders else None
        policy = IdentityPolicy(patients=merges, orders=listed)
        found = propose_corrections(ledger, WAVE, rules or load_ruleset(), RULES)
        load_lists(ledger, policy)
        made = reconcile_wave(ledger, WAVE, policy, RULES, found)
        note_identity_conflicts(ledger, WAVE)
        return made

    return run


def changes(corrections: list[Correction]) -> list[tuple[str, str, str, str, str]]:
    return sorted(
        (c.study_instance_uid, c.series_instance_uid, c.keyword, c.old_value, c.new_value)
        for c in corrections
    )


def stored(ledger: Ledger) -> list[tuple[str, str]]:
    table = schema.correction.c
    with ledger.read() as connection:
        rows = connection.execute(select(table.keyword, table.new_value))
        return sorted((row.keyword, row.new_value) for row in rows)


def conflicts(ledger: Ledger, status: str = "open") -> list[str]:
    table = schema.exception.c
    with ledger.read() as connection:
        rows = connection.scalars(select(table.subject).where(table.status == status))
        return sorted(subject for subject in rows if subject.startswith("list:"))


def test_an_old_identifier_becomes_the_one_that_survives_all_merges(
    ledger: Ledger, add_study: AddStudy, reconcile: Reconcile
) -> None:
    add_study(1, {"patient_id": "A"}, {"patient_id": "A"})
    add_study(2, {"patient_id": "Z"})
    made = reconcile(PATIENTS + f"A,,B,,{ANN}B,,C,HOSP,{ANN}")
    assert changes(made) == [
        ("1.2.1", "", "IssuerOfPatientID", "", "HOSP"),
        ("1.2.1", "", "PatientID", "A", "C"),
    ]
    assert stored(ledger) == [("IssuerOfPatientID", "HOSP"), ("PatientID", "C")]
    assert {c.rule_id for c in made} == {"master-patient-list"}


def test_reconciling_again_changes_nothing(
    ledger: Ledger, add_study: AddStudy, reconcile: Reconcile
) -> None:
    add_study(1, {"patient_id": "A"})
    merges = PATIENTS + f"A,,B,,{ANN}"
    assert reconcile(merges) == reconcile(merges)
    assert stored(ledger) == [("PatientID", "B")]
    assert reconcile() == []
    assert stored(ledger) == []


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("A,,B,,Other^Ann,19600101,F\n", "name-differs"),
        ("A,,B,,Example^Ann,19600102,F\n", "birth_date-differs"),
        ("A,,B,,Example^Ann,19600101,M\n", "sex-differs"),
        ("A,,B,,,,\n", "nothing-to-compare"),
        (f"A,,B,,{ANN}A,,C,,{ANN}", "two-survivors"),
        (f"A,,B,,{ANN}B,,A,,{ANN}", "cycle"),
        (f"A,H1,B,,{ANN}A,H2,C,,{ANN}", "issuer-unclear"),
    ],
)
def test_a_contradiction_corrects_nothing_and_keeps_the_study_back(
    ledger: Ledger, add_study: AddStudy, reconcile: Reconcile, row: str, kind: str
) -> None:
    add_study(1, {"patient_id": "A"})
    assert reconcile(PATIENTS + row) == []
    assert conflicts(ledger) == [f"list:patients/{kind}"] + (
        [f"list:patients/{kind}"] if kind in ("two-survivors", "cycle") else []
    )
    approve_corrections(ledger, WAVE, RULES, "Ada")
    assert settle_wave(ledger, WAVE, RULES, {}).quarantined == 1


def test_an_identifier_is_of_its_issuer(
    ledger: Ledger, add_study: AddStudy, reconcile: Reconcile
) -> None:
    add_study(1, {"patient_id": "A", "issuer_of_patient_id": "H2"})
    add_study(2, {"patient_id": "A", "issuer_of_patient_id": "H9"})
    made = reconcile(PATIENTS + f"A,H1,B,H1,{ANN}A,H2,C,H2,{ANN}")
    assert changes(made) == [("1.2.1", "", "PatientID", "A", "C")]


def test_a_contradiction_that_is_gone_is_closed(
    ledger: Ledger, add_study: AddStudy, reconcile: Reconcile
) -> None:
    add_study(1, {"patient_id": "A"})
    reconcile(PATIENTS + "A,,B,,Other^Ann,,\n")
    made = reconcile(PATIENTS + f"A,,B,,{ANN}")
    assert [c.new_value for c in made] == ["B"]
    assert conflicts(ledger) == []
    assert conflicts(ledger, "resolved") == ["list:patients/name-differs"]


def test_the_list_sees_what_the_rules_made_and_the_original_value_is_kept(
    ledger: Ledger, add_study: AddStudy, reconcile: Reconcile
) -> None:
    trim = {
        "id": "no-zeros",
        "keyword": "PatientID",
        "reason": "Leading zeros are not written.",
        "owner": "nobody",
        "when": {"matches": "0.*"},
        "operation": {"replace": {"pattern": "^0", "by": ""}},
        "examples": [{"given": {"PatientID": "0A"}, "expect": "A"}],
    }
    rules = RuleSet.model_validate({"rules": [trim]})
    add_study(1, {"patient_id": "0A"}, {"patient_id": "0K"})
    made = reconcile(PATIENTS + f"A,,B,,{ANN}", rules=rules)
    assert changes(made) == [
        ("1.2.1", "1.2.1.1", "PatientID", "0A", "B"),
        ("1.2.1", "1.2.1.2", "PatientID", "0K", "K"),
    ]
    assert {c.rule_id for c in made} == {"no-zeros", "master-patient-list"}


def test_an_order_fills_what_is_missing_and_corrects_what_it_may(
    ledger: Ledger, add_study: AddStudy, reconcile: Reconcile
) -> None:
    add_study(1, {"accession_number": None, "study_description": "old"})
    add_study(2, {"accession_number": "A2", "study_description": "old"})
    add_study(3, {"accession_number": None})
    orders = "StudyInstanceUID,ACC,StudyDescription\n1.2.1,N1,CT Chest\n1.2.2,N2,CT Head\n"
    made = reconcile(
        orders=orders,
        columns={"AccessionNumber": "ACC"},
        fill=("AccessionNumber",),
        correct=("StudyDescription",),
    )
    assert changes(made) == [
        ("1.2.1", "", "AccessionNumber", "", "N1"),
        ("1.2.1", "", "StudyDescription", "old", "CT Chest"),
        ("1.2.2", "", "StudyDescription", "old", "CT Head"),
    ]


def test_an_order_is_found_by_the_identifier_that_survives_and_of_its_patient(
    ledger: Ledger, add_study: AddStudy, reconcile: Reconcile
) -> None:
    add_study(1, {"patient_id": "A", "accession_number": None})
    add_study(2, {"patient_id": "Q", "accession_number": None})
    orders = "StudyInstanceUID,AccessionNumber,PatientID\n1.2.1,N1,B\n1.2.2,N2,B\n"
    made = reconcile(PATIENTS + f"A,,B,,{ANN}", orders, fill=("AccessionNumber",))
    assert changes(made) == [
        ("1.2.1", "", "AccessionNumber", "", "N1"),
        ("1.2.1", "", "PatientID", "A", "B"),
    ]
    assert conflicts(ledger) == ["list:orders/other-patient"]


def test_two_orders_or_two_studies_under_one_key_are_no_guess(
    ledger: Ledger, add_study: AddStudy, reconcile: Reconcile
) -> None:
    add_study(1, {"patient_id": "A", "accession_number": None}, accession_number="")
    add_study(2, {"patient_id": "A", "accession_number": None}, accession_number="")
    add_study(3, {"patient_id": "B", "accession_number": None}, accession_number="")
    orders = "PatientID,StudyDate,AccessionNumber\nA,20200101,N1\nB,20200101,N2\nB,20200101,N3\n"
    key = ("PatientID", "StudyDate")
    assert reconcile(orders=orders, key=key, fill=("AccessionNumber",)) == []
    assert conflicts(ledger) == [
        "list:orders/several-studies",
        "list:orders/several-studies",
        "list:orders/two-orders",
    ]


@pytest.mark.parametrize(
    "row", ["1.2.1,THIS-IS-FAR-TOO-LONG-FOR-A-NUMBER", ",N1", "1.2.1", "1.2.1,N\x07"]
)
def test_a_malformed_order_is_refused_by_line_without_its_content(
    reconcile: Reconcile, row: str
) -> None:
    orders = f"StudyInstanceUID,AccessionNumber\n1.2.9,N9\n{row}\n"
    with pytest.raises(PermanentError, match="line 3:") as refused:
        reconcile(orders=orders, fill=("AccessionNumber",))
    assert "FAR-TOO-LONG" not in str(refused.value)


def test_another_list_needs_another_approval(tmp_path: Path) -> None:
    path = tmp_path / "merges.csv"
    policy = IdentityPolicy(patients=PatientList(file=path))
    path.write_text("old_id,surviving_id\nA,B\n")
    first = lists_hash(policy)
    path.write_text("old_id,surviving_id\nA,C\n")
    assert lists_hash(policy) != first
    assert lists_hash(IdentityPolicy()) == ""


def test_policies_that_cannot_be_meant_are_refused() -> None:
    for settings in (
        {},
        {"fill": ("PatientID",)},
        {"fill": ("AccessionNumber",), "key": ("AccessionNumber",)},
    ):
        with pytest.raises(ValueError, match="Value error"):
            OrderList(file=Path("x"), **settings)
