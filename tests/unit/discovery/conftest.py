from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select

from dicom_migration.archive import StudyRecord
from dicom_migration.discovery.approval import approve_plan
from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.discovery.planning import Plan, draft_of, make_plan
from dicom_migration.discovery.recording import record_studies, study_row
from dicom_migration.discovery.sizes import StudySize
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.retention import RetentionPolicy
from dicom_migration.policies.strategy import StrategyPolicy
from dicom_migration.policies.tiers import TiersPolicy, load_tiers_policy

TODAY = date(2025, 11, 1)
SIZE = 1_000_000  # bytes an instance


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        opened.upgrade()
        yield opened


@pytest.fixture
def tiers() -> TiersPolicy:
    return load_tiers_policy()


@pytest.fixture
def policies(tiers: TiersPolicy) -> PlanPolicies:
    return PlanPolicies(StrategyPolicy(), tiers, RetentionPolicy(), TODAY)


def study(number: int, study_date: str = "20200101", **values: object) -> StudyRecord:
    told: dict[str, object] = {
        "patient_id": f"P{number}",
        "modalities": ("CT",),
        "number_of_series": 1,
        "number_of_instances": 10,
        **values,
    }
    return StudyRecord(f"1.2.{number}", study_date=study_date, **told)  # type: ignore[arg-type]


def known(ledger: Ledger, *studies: StudyRecord) -> None:
    """Record studies as an inventory does."""
    rows = [
        study_row(record, StudySize((record.number_of_instances or 0) * SIZE, "assumed", None))
        for record in studies
    ]
    with ledger.write() as connection:
        record_studies(connection, "test", "I1", rows, [], [])


def planned(ledger: Ledger, policies: PlanPolicies, **asked: bool) -> Plan:
    plan = make_plan(ledger, policies, **asked)
    assert plan is not None
    return plan


def approved(ledger: Ledger, policies: PlanPolicies, **asked: bool) -> Plan:
    plan = planned(ledger, policies, **asked)
    return approve_plan(ledger, plan.plan_id, plan.content_sha256, "Ada")


def proposed(ledger: Ledger, plan: Plan, *columns: str) -> dict[str, tuple[object, ...]]:
    """Return what a plan says of its studies, by UID."""
    table = schema.plan_study.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.study_instance_uid, *(table[name] for name in columns))
            .where(table.draft == draft_of(connection, plan.plan_id))
            .order_by(table.study_instance_uid)
        )
        return {uid: tuple(values) for uid, *values in rows}


def states(ledger: Ledger) -> dict[str, str]:
    table = schema.study.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.study_instance_uid, table.state).order_by(table.study_instance_uid)
        )
        return {row.study_instance_uid: row.state for row in rows}
