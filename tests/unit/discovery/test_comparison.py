"""What a new plan changes of what is approved."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from dicom_migration.discovery.comparison import Changes, changes
from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.discovery.planning import Plan, draft_of
from dicom_migration.ledger import EventChain, Ledger, StudyState, move_studies, schema
from dicom_migration.policies.strategy import SelectionRule, StrategyPolicy, WaveLimits
from dicom_migration.policies.tiers import TierRule
from tests.unit.discovery.conftest import approved, known, planned, study


def difference(ledger: Ledger, plan: Plan, policies: PlanPolicies) -> Changes | None:
    with ledger.read() as connection:
        draft = draft_of(connection, plan.plan_id)
        return changes(connection, plan.plan_id, draft, policies.tiers)


@pytest.fixture
def in_force(ledger: Ledger, policies: PlanPolicies) -> PlanPolicies:
    """Approve a plan that leaves one of five studies out."""
    rule = SelectionRule(
        name="not-yet", action="exclude", reason="later", study_instance_uids=("1.2.5",)
    )
    strategy = StrategyPolicy(rules=(rule,), waves=WaveLimits(max_studies=2))
    known(ledger, *(study(n, f"201{n}0101") for n in range(1, 6)))
    first = replace(policies, strategy=strategy)
    approved(ledger, first)
    return first


def test_the_first_plan_changes_nothing_that_was_approved(
    ledger: Ledger, policies: PlanPolicies
) -> None:
    known(ledger, study(1))
    assert difference(ledger, planned(ledger, policies), policies) is None


def test_planning_the_same_anew_changes_nothing(ledger: Ledger, in_force: PlanPolicies) -> None:
    made = difference(ledger, planned(ledger, in_force, replan=True), in_force)
    assert made is not None
    assert made.unchanged == 5
    assert (made.added, made.let_in, made.let_out, made.other_wave, made.kept) == (0, 0, 0, 0, 0)
    assert (made.month, made.total) == (0, 0)
    assert made.approved_by == "Ada"


def test_what_comes_in_goes_out_and_changes_class_is_counted_and_costed(
    ledger: Ledger, in_force: PlanPolicies
) -> None:
    known(ledger, study(6, "20200101"))
    rule = SelectionRule(
        name="no-more", action="exclude", reason="after all", study_instance_uids=("1.2.1",)
    )
    tiers = in_force.tiers.model_copy(
        update={
            "rules": (
                TierRule(name="cold", storage_class="DEEP_ARCHIVE", min_age_months=160),
                *in_force.tiers.rules,
            )
        }
    )
    strategy = in_force.strategy.model_copy(update={"rules": (rule,)})
    changed = replace(in_force, strategy=strategy, tiers=tiers)
    made = difference(ledger, planned(ledger, changed, replan=True), changed)
    assert made is not None
    assert (made.added, made.let_in, made.let_out) == (1, 1, 1)
    assert made.other_class == 1, "1.2.2 is old enough, 1.2.1 is out"
    # A gigabyte-month costs 4 tenths of a cent: one study more than before, one colder.
    assert made.month > 0
    assert made.total != 0


def test_what_has_begun_keeps_its_plan(ledger: Ledger, in_force: PlanPolicies) -> None:
    with ledger.write() as connection:
        uids = connection.scalars(
            select(schema.study.c.study_instance_uid).where(
                schema.study.c.wave_id.endswith("W0001")
            )
        ).all()
        move_studies(connection, list(uids), StudyState.CLEANSED, EventChain("test"))
    made = difference(ledger, planned(ledger, in_force, replan=True), in_force)
    assert made is not None
    assert made.kept == 2
    assert made.other_wave == 2, "the second wave is the first of the new plan"
