from dataclasses import replace

import pytest
from sqlalchemy import select, update

from dicom_migration.discovery.approval import approve_plan, reject_plan
from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.discovery.planning import make_plan
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import (
    EXCLUDED_BY_A_PERSON,
    EventChain,
    ExceptionNote,
    Ledger,
    StudyState,
    move_studies,
    note_exceptions,
    schema,
)
from dicom_migration.policies.strategy import SelectionRule, StrategyPolicy, WaveLimits
from tests.unit.discovery.conftest import SIZE, approved, known, planned, proposed, states, study


def decided(ledger: Ledger) -> dict[str, tuple[str, str]]:
    table = schema.study.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.study_instance_uid, table.state, table.decision_rule).order_by(
                table.study_instance_uid
            )
        )
        return {uid: (state, rule) for uid, state, rule in rows}


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


def test_waves_are_bounded_and_newest_come_first(ledger: Ledger, policies: PlanPolicies) -> None:
    known(ledger, *(study(n, f"20{n:02d}0101") for n in range(1, 11)), study(99, "20240101"))
    limits = WaveLimits(max_studies=4, max_bytes=35 * SIZE)  # a study has ten instances here
    plan = approved(ledger, using(policies, waves=limits))
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


def test_an_approved_plan_is_left_alone_and_only_new_studies_are_planned(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1), study(2))
    approved(ledger, policies)
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
    approved(ledger, using(policies, strategy="hybrid"))
    assert planned(ledger, policies).studies == 1


def test_what_a_person_excluded_is_in_no_later_plan(ledger: Ledger, policies: PlanPolicies) -> None:
    known(ledger, study(1), study(2))
    approved(ledger, policies)
    with ledger.write() as connection:
        excluding = {"decision": "exclude", "decision_rule": EXCLUDED_BY_A_PERSON}
        to = StudyState.EXCLUDED
        move_studies(connection, ["1.2.1"], to, EventChain("test"), **excluding)
    assert make_plan(ledger, policies) is None
    again = make_plan(ledger, policies, replan=True)
    assert again is not None
    assert again.studies == 1, "only the other"


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
    plan = approved(ledger, policies)
    for uid in ("1.2.1", "1.2.2"):
        quarantine(ledger, uid, ReasonCode.FIELD_INVALID, "cleansing")
    assert make_plan(ledger, policies) is None
    again = make_plan(ledger, policies, plan_quarantined=True)
    assert again is not None
    assert again.studies == 2
    assert again.plan_id != plan.plan_id, "the approved plan of the same content stays"
    assert set(states(ledger).values()) == {"quarantined"}, "nobody has approved it yet"
    approve_plan(ledger, again.plan_id, again.content_sha256, "Bob")
    assert set(states(ledger).values()) == {"planned"}
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
    approved(ledger, policies, plan_quarantined=True)
    assert list(states(ledger).values()) == ["quarantined"] * 3 + ["planned"]
    known(ledger, study(1, number_of_instances=5), study(3, number_of_instances=12))
    approved(ledger, policies, plan_quarantined=True)
    assert list(states(ledger).values()) == ["planned", "quarantined", "planned", "planned"]


def test_a_rule_that_names_a_quarantined_study_excludes_it(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1), study(2))
    for uid in ("1.2.1", "1.2.2"):
        quarantine(ledger, uid, ReasonCode.INSTANCE_MISSING, "transfer")
    rule = SelectionRule(
        name="lost", action="exclude", reason="images are lost", study_instance_uids=("1.2.1",)
    )
    plan = approved(ledger, using(policies, rules=(rule,)))
    assert (plan.studies, plan.excluded) == (0, 1)
    assert decided(ledger)["1.2.1"] == ("excluded", "lost")
    assert decided(ledger)["1.2.2"][0] == "quarantined"
    assert exceptions(ledger) == {"1.2.1": ("resolved", "excluded"), "1.2.2": ("open", "")}


def test_a_proposal_touches_no_study_until_it_is_approved(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"))
    hybrid = using(policies, strategy="hybrid")
    planned(ledger, hybrid)
    assert set(states(ledger).values()) == {"discovered"}
    approved(ledger, hybrid)
    assert decided(ledger) == {
        "1.2.1": ("excluded", "hybrid-recent-stays-on-site"),
        "1.2.2": ("planned", "strategy-hybrid"),
    }


def test_a_plan_that_was_changed_in_the_ledger_is_not_approved(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1), study(2))
    plan = planned(ledger, policies)
    with ledger.write() as connection:
        connection.execute(update(schema.plan_study).values(storage_class="DEEP_ARCHIVE"))
    with pytest.raises(PermanentError, match="not what was shown"):
        approve_plan(ledger, plan.plan_id, plan.content_sha256, "Ada")
    assert set(states(ledger).values()) == {"discovered"}


def test_a_study_that_moved_since_the_plan_was_made_is_left_alone(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1), study(2))
    plan = planned(ledger, policies)
    quarantine(ledger, "1.2.1", ReasonCode.STUDY_EMPTY, "discovery")
    approve_plan(ledger, plan.plan_id, plan.content_sha256, "Ada")
    assert states(ledger) == {"1.2.1": "quarantined", "1.2.2": "planned"}
    assert exceptions(ledger)["1.2.1"] == ("open", "")
    with ledger.read() as connection:
        assert connection.scalar(select(schema.wave.c.studies)) == 1


def test_planning_anew_moves_what_has_not_begun_and_nothing_else(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, *(study(n, f"20{n:02d}0101") for n in range(1, 7)), study(8, "20251001"))
    limits = WaveLimits(max_studies=2)
    first = approved(ledger, using(policies, waves=limits))
    begun = f"{first.plan_id}-W0001"
    with ledger.write() as connection:
        members = select(schema.study.c.study_instance_uid).where(schema.study.c.wave_id == begun)
        uids = list(connection.scalars(members))
        move_studies(connection, uids, StudyState.CLEANSED, EventChain("test"))
    hybrid = using(policies, strategy="hybrid", waves=limits)
    assert make_plan(ledger, hybrid) is None, "nothing is new"
    second = approved(ledger, hybrid, replan=True)
    assert second.studies == 5
    with ledger.read() as connection:
        waves = dict(connection.execute(select(schema.wave.c.wave_id, schema.wave.c.state)).all())
        kept = connection.scalars(members).all()
    assert sorted(kept) == sorted(uids)
    assert {state for wave, state in waves.items() if wave.startswith(first.plan_id)} == {
        "planned",
        "superseded",
    }
    assert waves[begun] == "planned"
    assert [states(ledger)[uid] for uid in uids] == ["cleansed", "cleansed"]


def test_a_proposal_to_plan_anew_leaves_what_is_approved_in_force(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1, "20251001"), study(2, "20100101"))
    first = approved(ledger, policies)
    planned(ledger, using(policies, strategy="hybrid"), replan=True)
    assert set(states(ledger).values()) == {"planned"}
    with ledger.read() as connection:
        waves = connection.execute(
            select(schema.wave.c.studies, schema.wave.c.state).where(
                schema.wave.c.plan_id == first.plan_id
            )
        ).all()
    assert [tuple(wave) for wave in waves] == [(2, "planned")]


def test_waves_go_by_modality_in_the_order_that_was_asked_for(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(
        ledger,
        study(1, "20200101", modalities=("CT",)),
        study(2, "20100101", modalities=("MG", "SR")),
        study(3, "20250101", modalities=("US",)),
        study(4, "20220101", modalities=("MG",)),
    )
    limits = WaveLimits(max_studies=1, order="by_modality", modalities=("MG", "CT"))
    rows = proposed(ledger, planned(ledger, using(policies, waves=limits)), "wave")
    assert sorted(rows, key=lambda uid: rows[uid]) == ["1.2.4", "1.2.2", "1.2.1", "1.2.3"]


def test_who_was_here_last_is_needed_first(ledger: Ledger, policies: PlanPolicies) -> None:
    known(
        ledger,
        study(1, "20100101", patient_id="A"),
        study(2, "20250601", patient_id="A"),
        study(3, "20240101", patient_id="B"),
        study(4, "20000101", patient_id="C"),
        study(5, "20240601", patient_id=""),
        study(6, "19990101", patient_id=""),
    )
    with ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == "1.2.4")
            .values(priority=1)
        )
    limits = WaveLimits(max_studies=1, order="upcoming_need")
    rows = proposed(ledger, planned(ledger, using(policies, waves=limits)), "wave")
    order = [uid[-1] for uid in sorted(rows, key=lambda uid: rows[uid])]
    assert "".join(order) == "421536", "requested, then A's studies, then by the last visit"


def test_a_study_larger_than_a_wave_is_one_of_its_own(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    sizes = {1: 10, 2: 500, 3: 10, 4: 10}
    known(ledger, *(study(n, f"200{n}0101", number_of_instances=size) for n, size in sizes.items()))
    limits = WaveLimits(max_bytes=25 * SIZE)
    rows = proposed(ledger, planned(ledger, using(policies, waves=limits)), "wave")
    assert rows == {"1.2.4": (1,), "1.2.3": (1,), "1.2.2": (2,), "1.2.1": (3,)}
