from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from dicom_migration.archive import StudyRecord
from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.ledger import Ledger
from dicom_migration.policies.retention import RetentionPolicy
from dicom_migration.policies.strategy import StrategyPolicy
from dicom_migration.policies.tiers import TiersPolicy, load_tiers_policy

TODAY = date(2025, 11, 1)


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
