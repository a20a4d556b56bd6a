"""What the policies say of each study: in or out, which class, which layout, purge or not."""

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import update

from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.retention import LegalHold, RetentionPolicy, RetentionRule
from dicom_migration.policies.strategy import SelectionRule, StrategyPolicy
from dicom_migration.policies.tiers import AccessRate, Packing, TierRule
from tests.unit.discovery.conftest import known, planned, proposed, study


def rules_by_study(
    ledger: Ledger, policies: PlanPolicies, **strategy: object
) -> dict[str, tuple[object, ...]]:
    plan = planned(ledger, replace(policies, strategy=StrategyPolicy(**strategy)))
    return proposed(ledger, plan, "decision", "decision_rule")


def test_hybrid_keeps_recent_studies_on_site_and_moves_undated_ones(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"), study(3, ""))
    assert rules_by_study(ledger, policies, strategy="hybrid", keep_recent_months=24) == {
        "1.2.1": ("exclude", "hybrid-recent-stays-on-site"),
        "1.2.2": ("include", "strategy-hybrid"),
        "1.2.3": ("include", "strategy-hybrid"),
    }


def test_a_continuity_copy_holds_recent_studies_only(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"))
    assert rules_by_study(ledger, policies, strategy="continuity_copy") == {
        "1.2.1": ("include", "strategy-continuity-copy"),
        "1.2.2": ("exclude", "continuity-older-is-left-out"),
    }


@pytest.mark.parametrize("strategy", ["full", "dr_copy"])
def test_a_second_copy_and_a_full_migration_hold_everything(
    ledger: Ledger, policies: PlanPolicies, strategy: str
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"), study(3, "18000230"))
    rules = rules_by_study(ledger, policies, strategy=strategy)
    assert {decision for decision, _ in rules.values()} == {"include"}


def test_the_first_rule_that_matches_decides_and_gives_its_name(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    def rule(name: str, action: str, **conditions: object) -> SelectionRule:
        return SelectionRule(name=name, action=action, reason="for a reason", **conditions)

    known(
        ledger,
        study(1, modalities=("CT", "SR")),
        study(2, modalities=("CT", "SR")),
        study(3, modalities=("SRX",)),
        study(4, institution_name="ANNEX"),
        study(5, issuer_of_patient_id="SITE-B"),
        study(6, "20010203"),
        study(7, "2001-2-3"),
    )
    assert rules_by_study(
        ledger,
        policies,
        rules=(
            rule("keep-this-one", "include", study_instance_uids=("1.2.1",)),
            rule("no-reports", "exclude", modalities=("SR",)),
            rule("no-annex", "exclude", institutions=("ANNEX",)),
            rule("no-site-b", "exclude", sites=("SITE-B",), sources=("test",)),
            rule("not-elsewhere", "exclude", sources=("elsewhere",)),
            rule("no-2001", "exclude", date_from="20010101", date_to="20011231"),
        ),
    ) == {
        "1.2.1": ("include", "keep-this-one"),
        "1.2.2": ("exclude", "no-reports"),
        "1.2.3": ("include", "strategy-full"),
        "1.2.4": ("exclude", "no-annex"),
        "1.2.5": ("exclude", "no-site-b"),
        "1.2.6": ("exclude", "no-2001"),
        "1.2.7": ("include", "strategy-full"),
    }


def test_a_rule_may_name_thousands_of_studies(ledger: Ledger, policies: PlanPolicies) -> None:
    known(ledger, *(study(n) for n in range(1, 7001)))
    listed = tuple(f"1.2.{n}" for n in range(1, 7000))
    rule = SelectionRule(
        name="listed", action="exclude", reason="on a list", study_instance_uids=listed
    )
    rules = rules_by_study(ledger, policies, rules=(rule,))
    assert [uid for uid, (decision, _) in rules.items() if decision == "include"] == ["1.2.7000"]


def candidates(
    ledger: Ledger, policies: PlanPolicies, retention: RetentionPolicy
) -> dict[str, str]:
    plan = planned(ledger, replace(policies, retention=retention))
    rows = proposed(ledger, plan, "purge_rule", "decision")
    assert {decision for _, decision in rows.values()} == {"include"}, "a candidate is migrated"
    return {uid[4:]: str(rule) for uid, (rule, _) in rows.items() if rule}


def test_an_old_study_of_a_grown_patient_is_a_purge_candidate(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(
        ledger,
        study(1, "20000101", patient_birth_date="19500101"),
        study(2, "20000101", patient_birth_date="19990101"),
        study(3, "20200101", patient_birth_date="19500101"),
        study(4, "20000101", patient_birth_date=""),
        study(5, "", patient_birth_date="19500101"),
        study(6, "20000101", patient_birth_date="1950-1-1"),
    )
    rule = RetentionRule(
        name="old", reason="period passed", older_than_years=10, patient_at_least_years_old=28
    )
    assert candidates(ledger, policies, RetentionPolicy(rules=(rule,))) == {"1": "old"}


def test_the_age_at_the_day_of_the_study_counts_to_the_day(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(
        ledger,
        study(1, "20100614", patient_birth_date="19920615"),
        study(2, "20100615", patient_birth_date="19920615"),
        study(3, "20100615", patient_birth_date=""),
    )
    rules = (
        RetentionRule(
            name="adults", reason="ten years", older_than_years=10, patient_age_at_study_from=18
        ),
        RetentionRule(
            name="minors", reason="longer", older_than_years=15, patient_age_at_study_below=18
        ),
    )
    assert candidates(ledger, policies, RetentionPolicy(rules=rules)) == {
        "1": "minors",
        "2": "adults",
    }


def test_mammography_has_a_period_of_its_own_and_a_legal_hold_beats_every_rule(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(
        ledger,
        study(1, "20100101", modalities=("CT",)),
        study(2, "20100101", modalities=("MG", "SR")),
        study(3, "19900101", modalities=("MG",)),
        study(4, "19900101", modalities=("CT",)),
        study(5, "19900101", institution_name="PRISON"),
    )
    policy = RetentionPolicy(
        rules=(
            RetentionRule(
                name="general", reason="period", older_than_years=10, except_modalities=("MG",)
            ),
            RetentionRule(
                name="breast", reason="screening", older_than_years=30, modalities=("MG",)
            ),
        ),
        legal_holds=(
            LegalHold(name="case", reason="lawyers", study_instance_uids=("1.2.4",)),
            LegalHold(name="place", reason="lawyers", institutions=("PRISON",)),
        ),
    )
    assert candidates(ledger, policies, policy) == {"1": "general", "3": "breast"}


def classes(ledger: Ledger, policies: PlanPolicies, **tiers: object) -> list[object]:
    changed = replace(policies, tiers=policies.tiers.model_copy(update=tiers))
    return [row[0] for row in proposed(ledger, planned(ledger, changed), "storage_class").values()]


def test_age_chooses_the_storage_class(ledger: Ledger, policies: PlanPolicies) -> None:
    dates = {1: "20250601", 2: "20200601", 3: "20100601", 4: "", 5: "20310101", 6: "20231101"}
    known(ledger, *(study(number, day) for number, day in dates.items()))
    assert classes(ledger, policies) == [
        "STANDARD",
        "GLACIER_IR",
        "GLACIER_IR",
        "STANDARD",
        "STANDARD",
        "GLACIER_IR",  # two years old to the day
    ]


def test_modality_and_expected_access_choose_the_storage_class_too(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(
        ledger,
        study(1, "20100101", modalities=("MG",)),
        study(2, "20100101", modalities=("CT",)),
        study(3, "20250101", modalities=("US",)),
    )
    assert classes(
        ledger,
        policies,
        access=(
            AccessRate(retrievals_a_year=Decimal("0.3"), modalities=("MG",)),
            AccessRate(retrievals_a_year=Decimal("0.5"), younger_than_months=12),
        ),
        rules=(
            TierRule(
                name="cold", storage_class="GLACIER_IR", max_retrievals_a_year=Decimal("0.07")
            ),
            TierRule(name="breast", storage_class="STANDARD_IA", modalities=("MG",)),
            TierRule(name="rest", storage_class="STANDARD"),
        ),
    ) == ["STANDARD_IA", "GLACIER_IR", "STANDARD"]


def test_the_forecast_asks_the_same_rules_of_an_older_study(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20250601"), study(2, ""))
    forecast = proposed(ledger, planned(ledger, policies), "forecast")
    assert forecast["1.2.1"][0] == (
        "STANDARD:700>STANDARD:700>GLACIER_IR:700>GLACIER_IR:700>GLACIER_IR:700"
    )
    assert forecast["1.2.2"][0] == ">".join(["STANDARD:700"] * 5)


@pytest.mark.parametrize(
    ("packing", "expected"),
    [
        (Packing(), [""] * 4),  # it is left to transfer.yaml
        (Packing(layout="series-zip"), ["series-zip"] * 4),
        (
            Packing(layout="small_instances", below_bytes=1_000_001),
            ["series-zip", "instance", "series-zip", "series-zip"],
        ),
        (
            Packing(layout="small_instances", below_bytes=1_000_000),
            ["instance", "instance", "instance", "series-zip"],
        ),
        (
            Packing(layout="small_instances"),  # 3.7 MB in Glacier IR, 0.16 MB in Standard
            ["series-zip", "instance", "instance", "series-zip"],
        ),
        (
            Packing(layout="series-zip", storage_classes=("GLACIER_IR",)),
            ["series-zip", "series-zip", "", "series-zip"],
        ),
    ],
)
def test_small_instances_are_packed_when_the_policy_says_so(
    ledger: Ledger, policies: PlanPolicies, packing: Packing, expected: list[str]
) -> None:
    known(
        ledger,
        study(1),
        study(2, number_of_instances=1),
        study(3, "20251001"),
        study(4, number_of_instances=3),
    )
    with ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == "1.2.4")
            .values(bytes_estimated=300)
        )
    changed = policies.tiers.model_copy(update={"packing": packing})
    plan = planned(ledger, replace(policies, tiers=changed))
    assert [row[0] for row in proposed(ledger, plan, "layout").values()] == expected
