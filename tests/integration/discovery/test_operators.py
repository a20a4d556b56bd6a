"""The operators of the inventory on a folder of real files, in their order."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import TaskDeferred
from sqlalchemy import select

from dicom_migration.ledger import Ledger, schema
from dicom_migration.operators.inventory import (
    CloseInventoryOperator,
    OpenInventoryOperator,
    TakeInventoryOperator,
)
from tests.archives import WHEEL

INCLUDE = Path(__file__).parents[3] / "include"
CONTEXT: dict[str, Any] = {"run_id": "manual__test"}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Give connections to a folder of two real studies and to an empty ledger."""
    (tmp_path / "files").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(WHEEL / name, tmp_path / "files")
    for name, connection in {
        "PACS_SOURCE": {"conn_type": "dicom_folder", "extra": {"path": str(tmp_path / "files")}},
        "MIGRATION_LEDGER": {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")},
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    opened = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    opened.upgrade()
    return opened


def opened() -> list[list[str]]:
    operator = OpenInventoryOperator(task_id="open_inventory")
    return operator.execute(CONTEXT)  # type: ignore[arg-type]


def test_an_inventory_is_opened_taken_and_closed(ledger: Ledger) -> None:
    tasks = opened()
    for windows in tasks:
        operator = TakeInventoryOperator(task_id="take_inventory", window_ids=windows)
        operator.execute(CONTEXT)  # type: ignore[arg-type]
    closing = CloseInventoryOperator(task_id="close_inventory", window_ids=tasks)
    summary = closing.execute(CONTEXT)  # type: ignore[arg-type]
    assert (summary["found"], summary["new"], summary["vanished"]) == (2, 2, 0)
    assert closing.execute(CONTEXT)["found"] == 2  # type: ignore[arg-type]
    with ledger.read() as connection:
        rows = connection.execute(select(schema.study)).all()
        (inventory,) = connection.execute(select(schema.inventory)).all()
    assert {row.bytes_basis for row in rows} == {"told"}
    assert {row.sop_classes.rpartition(".")[2] for row in rows} == {"2", "4"}
    assert sum(row.bytes_estimated for row in rows) == sum(
        (WHEEL / name).stat().st_size for name in ("CT_small.dcm", "MR_small.dcm")
    )
    assert inventory.closed_at is not None


def test_outside_the_hours_of_the_policy_it_waits_without_a_slot(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = datetime.now(UTC) + timedelta(hours=2)
    later = closed + timedelta(hours=1)
    shutil.copytree(INCLUDE / "policies", tmp_path / "include" / "policies")
    file = tmp_path / "include" / "policies" / "discovery.yaml"
    policy = yaml.safe_load(file.read_text())
    policy["hours"] = {"windows": [{"opens": f"{closed:%H:%M}", "closes": f"{later:%H:%M}"}]}
    file.write_text(yaml.safe_dump(policy))
    monkeypatch.setenv("DICOM_MIGRATION_INCLUDE", str(tmp_path / "include"))
    operator = TakeInventoryOperator(task_id="take_inventory", window_ids=opened()[0])
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)  # type: ignore[arg-type]
    assert deferred.value.method_name == "resume"
    with ledger.read() as connection:
        assert connection.execute(select(schema.study)).all() == []
