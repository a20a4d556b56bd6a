from typing import Any

import pytest
from airflow.sdk.execution_time.xcom import XCom

from dicom_migration.links.data_docs import REPORTS, DataDocsLink
from dicom_migration.operators.cleansing import ProposeCorrectionsOperator
from dicom_migration.provider_info import get_provider_info

KEY = "reports/data_docs/W1/data_docs-abc.html"


def link(monkeypatch: pytest.MonkeyPatch, published: dict[str, str] | None) -> str:
    said: dict[str, Any] = {}

    def get_value(**asked: Any) -> dict[str, str] | None:
        said.update(asked)
        return published

    monkeypatch.setattr(XCom, "get_value", get_value)
    task = ProposeCorrectionsOperator(task_id="propose", wave={})
    found = DataDocsLink().get_link(task, ti_key="the task")  # type: ignore[arg-type]
    assert said == {"ti_key": "the task", "key": "return_value"}
    return found


def test_the_task_leads_to_its_page_among_the_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    from dicom_migration_plugin import URL_PREFIX

    assert link(monkeypatch, {"data_docs": KEY}).endswith(f"{URL_PREFIX}/reports/{KEY}")
    assert f"{URL_PREFIX}/reports" == REPORTS


def test_behind_a_path_the_link_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/radiology/")
    expected = f"https://airflow.example/radiology{REPORTS}/{KEY}"
    assert link(monkeypatch, {"data_docs": KEY}) == expected


def test_a_task_that_published_nothing_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert link(monkeypatch, None) == ""
    assert link(monkeypatch, {"wave_id": "W1"}) == ""


def test_airflow_knows_the_link() -> None:
    kept = f"{DataDocsLink.__module__}.{DataDocsLink.__name__}"
    assert get_provider_info()["extra-links"] == [kept]
    task = ProposeCorrectionsOperator(task_id="propose", wave={})
    assert [each.name for each in task.operator_extra_links] == ["Data Docs"]
