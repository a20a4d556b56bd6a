from dataclasses import replace

import pytest
from sqlalchemy import select, update

from dicom_migration.archive import StudyRecord
from dicom_migration.discovery.approval import approve_plan, reject_plan
from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.discovery.plan_report import report_plan
from dicom_migration.discovery.planning import Plan, make_plan
from dicom_migration.discovery.recording import record_studies, study_row
from dicom_migration.discovery.sizes import StudySize
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    Ledger,
    StudyState,
    move_studies,
    note_exceptions,
    schema,
)
from dicom_migration.policies.retention import RetentionPolicy, RetentionRule
from dicom_migration.policies.strategy import SelectionRule, StrategyPolicy, WaveLimits
from tests.unit.discovery.conftest import study

SIZE = 1_000_000  # bytes an instance


def known(ledger: Ledger, *studies: StudyRecord) -> None:
    rows = [
        study_row(record, StudySize((record.number_of_instances or 0) * SIZE, "assumed", None))
        for record in studies
    ]
    with ledger.write() as connection:
        record_studies(connection, "test", "I1", rows, [], [])


def decided(ledger: Ledger) -> dict[str, tuple[str, str, str]]:
    table = schema.study.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(
                table.study_instance_uid, table.state, table.decision_rule, table.storage_class
            ).order_by(table.study_instance_uid)
        )
        return {uid: (state, rule, tier) for uid, state, rule, tier in rows}


def planned(ledger: Ledger, policies: PlanPolicies) -> Plan:
    plan = make_plan(ledger, policies)
    assert plan is not None
    return plan


def using(policies: PlanPolicies, **strategy: object) -> PlanPolicies:
    return replace(policies, strategy=StrategyPolicy(**strategy))


def test_the_same_studies_and_policies_give_the_same_plan(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, *(study(n, f"201{n % 10}0101") for n in range(20)))
    assert planned(ledger, policies) == planned(ledger, policies)


def test_a_changed_policy_supersedes_the_plan_and_changing_it_back_restores_it(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"))
    full = planned(ledger, policies)
    hybrid = planned(ledger, using(policies, strategy="hybrid"))
    with pytest.raises(PermanentError, match="superseded"):
        approve_plan(ledger, full.plan_id, full.content_sha256, "Ada")
    assert planned(ledger, policies) == full
    assert hybrid.plan_id != full.plan_id


def test_hybrid_keeps_recent_studies_on_site_and_moves_undated_ones(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"), study(3, ""))
    planned(ledger, using(policies, strategy="hybrid", keep_recent_months=24))
    states = decided(ledger)
    assert states["1.2.1"][:2] == ("excluded", "hybrid-recent-stays-on-site")
    assert states["1.2.2"][:2] == ("planned", "strategy-hybrid")
    assert states["1.2.3"][:2] == ("planned", "strategy-hybrid")


def test_a_continuity_copy_holds_recent_studies_only(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"))
    planned(ledger, using(policies, strategy="continuity_copy", keep_recent_months=24))
    assert decided(ledger)["1.2.1"][0] == "planned"
    assert decided(ledger)["1.2.2"][:2] == ("excluded", "continuity-older-is-left-out")


def test_the_first_rule_that_matches_decides_and_gives_its_name(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    rules = (
        SelectionRule(
            name="keep-this-one",
            action="include",
            reason="asked for",
            study_instance_uids=("1.2.1",),
        ),
        SelectionRule(
            name="no-reports", action="exclude", reason="kept in RIS", modalities=("SR",)
        ),
        SelectionRule(
            name="no-annex", action="exclude", reason="not ours", institutions=("ANNEX",)
        ),
    )
    known(
        ledger,
        study(1, modalities=("CT", "SR")),
        study(2, modalities=("CT", "SR")),
        study(3, modalities=("SRX",)),
        study(4, institution_name="ANNEX"),
    )
    planned(ledger, using(policies, rules=rules))
    rules_by_study = {uid: (state, rule) for uid, (state, rule, _) in decided(ledger).items()}
    assert rules_by_study == {
        "1.2.1": ("planned", "keep-this-one"),
        "1.2.2": ("excluded", "no-reports"),
        "1.2.3": ("planned", "strategy-full"),
        "1.2.4": ("excluded", "no-annex"),
    }


def test_age_chooses_the_storage_class(ledger: Ledger, policies: PlanPolicies) -> None:
    dates = {1: "20250601", 2: "20200601", 3: "20100601", 4: "", 5: "20310101"}
    known(ledger, *(study(number, day) for number, day in dates.items()))
    planned(ledger, policies)
    assert [tier for _, _, tier in decided(ledger).values()] == [
        "STANDARD",
        "GLACIER_IR",
        "GLACIER_IR",
        "STANDARD",
        "STANDARD",
    ]


def test_waves_are_bounded_and_newest_come_first(ledger: Ledger, policies: PlanPolicies) -> None:
    known(ledger, *(study(n, f"20{n:02d}0101") for n in range(1, 11)), study(99, "20240101"))
    limits = WaveLimits(max_studies=4, max_bytes=35 * SIZE)  # a study has ten instances here
    plan = planned(ledger, using(policies, waves=limits))
    with ledger.read() as connection:
        waves = connection.execute(select(schema.wave).order_by(schema.wave.c.ordinal)).all()
        first = connection.scalars(
            select(schema.study.c.study_date).where(schema.study.c.wave_id == waves[0].wave_id)
        ).all()
        members = connection.scalars(
            select(schema.study.c.wave_id).where(schema.study.c.wave_id != "")
        ).all()
    assert [wave.studies for wave in waves] == [3, 3, 3, 2]
    assert plan.waves == 4
    assert waves[0].wave_id == f"{plan.plan_id}-W0001"
    assert min(first) == "20090101"
    assert [members.count(wave.wave_id) for wave in waves] == [3, 3, 3, 2]


def test_purge_candidates_are_flagged_and_migrated_all_the_same(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    rule = RetentionRule(
        name="old", reason="period passed", older_than_years=10, patient_at_least_years_old=28
    )
    known(
        ledger,
        study(1, "20000101", patient_birth_date="19500101"),
        study(2, "20000101", patient_birth_date="19990101"),
        study(3, "20200101", patient_birth_date="19500101"),
    )
    plan = planned(ledger, replace(policies, retention=RetentionPolicy(rules=(rule,))))
    assert plan.purge_candidates == 1
    assert plan.studies == 3


def test_an_approved_plan_is_left_alone_and_only_new_studies_are_planned(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1), study(2))
    plan = planned(ledger, policies)
    approve_plan(ledger, plan.plan_id, plan.content_sha256, "Ada")
    assert make_plan(ledger, policies) is None
    with ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == "1.2.1")
            .values(state="verified")
        )
    known(ledger, study(3))
    second = planned(ledger, policies)
    assert second.studies == 1
    assert decided(ledger)["1.2.1"][0] == "verified"


def test_what_a_rule_excluded_is_planned_when_the_rule_is_gone(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"))
    plan = planned(ledger, using(policies, strategy="hybrid"))
    approve_plan(ledger, plan.plan_id, plan.content_sha256, "Ada")
    assert planned(ledger, policies).studies == 1


def test_an_approval_needs_a_name_and_the_content_that_was_shown(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1))
    plan = planned(ledger, policies)
    for content, approver in (("0" * 64, "Ada"), (plan.content_sha256, " ")):
        with pytest.raises(PermanentError) as refused:
            approve_plan(ledger, plan.plan_id, content, approver)
        assert refused.value.reason is ReasonCode.APPROVAL_MISSING
    once = approve_plan(ledger, plan.plan_id, plan.content_sha256, "Ada")
    twice = approve_plan(ledger, plan.plan_id, plan.content_sha256, "Bob")
    assert once == twice
    assert twice.approved_by == "Ada"


def test_rejecting_and_superseding_a_plan_are_on_record(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"))
    plan = planned(ledger, policies)
    for _ in range(2):
        reject_plan(ledger, plan.plan_id, plan.content_sha256, "Bob", "2025-11-01T10:00:00+00:00")
    newer = planned(ledger, using(policies, strategy="hybrid"))
    table = schema.event.c
    with ledger.read() as connection:
        events = connection.execute(
            select(table.kind, table.payload)
            .where(table.chain == f"plan/{plan.plan_id}")
            .order_by(table.sequence)
        ).all()
    assert [event.kind for event in events][-2:] == ["plan.rejected", "plan.superseded"]
    assert '"by":"Bob"' in events[-2].payload
    assert newer.plan_id in events[-1].payload


def quarantine(ledger: Ledger, uid: str, reason: ReasonCode, phase: str) -> None:
    chain = EventChain("test")
    with ledger.write() as connection:
        note = ExceptionNote(reason, phase, study_instance_uid=uid)
        note_exceptions(connection, [note], chain)
        move_studies(connection, [uid], StudyState.QUARANTINED, chain)


def exceptions(ledger: Ledger) -> dict[str, tuple[str, str]]:
    table = schema.exception.c
    with ledger.read() as connection:
        rows = connection.execute(select(table.study_instance_uid, table.status, table.resolved_by))
        return {uid: (status, by) for uid, status, by in rows}


def test_a_quarantined_study_comes_back_when_asked_and_is_approved_anew(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1), study(2))
    plan = planned(ledger, policies)
    approve_plan(ledger, plan.plan_id, plan.content_sha256, "Ada")
    for uid in ("1.2.1", "1.2.2"):
        quarantine(ledger, uid, ReasonCode.FIELD_INVALID, "cleansing")
    assert make_plan(ledger, policies) is None
    again = make_plan(ledger, policies, plan_quarantined=True)
    assert again is not None
    assert again.studies == 2
    assert again.plan_id != plan.plan_id, "the approved plan of the same content stays"
    assert planned(ledger, policies) == again
    assert {state for state, _, _ in decided(ledger).values()} == {"planned"}
    assert exceptions(ledger) == dict.fromkeys(("1.2.1", "1.2.2"), ("resolved", "replanned"))
    with ledger.read() as connection:
        waves = set(connection.scalars(select(schema.study.c.wave_id)))
    assert waves == {f"{again.plan_id}-W0001"}


def test_a_study_stays_quarantined_until_the_source_says_otherwise(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, number_of_instances=0), study(2), study(3), study(4))
    quarantine(ledger, "1.2.1", ReasonCode.STUDY_EMPTY, "discovery")
    quarantine(ledger, "1.2.2", ReasonCode.UID_INVALID, "discovery")
    quarantine(ledger, "1.2.3", ReasonCode.SOURCE_CHANGED, "verification")
    quarantine(ledger, "1.2.4", ReasonCode.STUDY_EMPTY, "cleansing")
    with ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == "1.2.3")
            .values(received_instances=12)
        )
    make_plan(ledger, policies, plan_quarantined=True)
    states = [state for state, _, _ in decided(ledger).values()]
    assert states == ["quarantined", "quarantined", "quarantined", "planned"]
    known(ledger, study(1, number_of_instances=5), study(3, number_of_instances=12))
    make_plan(ledger, policies, plan_quarantined=True)
    states = [state for state, _, _ in decided(ledger).values()]
    assert states == ["planned", "quarantined", "planned", "planned"]


def test_a_rule_that_names_a_quarantined_study_excludes_it(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1), study(2))
    for uid in ("1.2.1", "1.2.2"):
        quarantine(ledger, uid, ReasonCode.INSTANCE_MISSING, "transfer")
    rule = SelectionRule(
        name="lost", action="exclude", reason="images are lost", study_instance_uids=("1.2.1",)
    )
    plan = planned(ledger, using(policies, rules=(rule,)))
    assert (plan.studies, plan.excluded) == (0, 1)
    states = decided(ledger)
    assert states["1.2.1"][:2] == ("excluded", "lost")
    assert states["1.2.2"][0] == "quarantined"
    assert exceptions(ledger) == {"1.2.1": ("resolved", "excluded"), "1.2.2": ("open", "")}


def test_the_report_counts_and_costs_without_a_patient_in_it(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    canaries = {
        "patient_id": "CANARY-ID",
        "patient_name": "CANARY^NAME",
        "accession_number": "CANARY-ACC",
        "patient_birth_date": "19470615",
        "study_description": "CANARY-DESCRIPTION",
        "institution_name": "CANARY-SITE",
    }
    known(ledger, study(1, "20100101", **canaries), study(2, modalities=("<script>",)))
    plan = planned(ledger, policies)
    html, figures = report_plan(ledger, plan, policies, None)
    assert plan.content_sha256 in html
    assert "CANARY" not in html
    assert "19470615" not in html
    assert "<script>" not in html
    assert figures.month < figures.month_if_standard
    assert {group.name for group in figures.by_modality} == {"CT", "unknown"}
