"""The button "Data Docs" of a task that judged: leads to the page it published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: Under this key the task's result has the object key of the page.
DATA_DOCS_KEY = "data_docs"
#: Where :mod:`dicom_migration.ui.reports_page` shows reports, below Airflow's own address.
REPORTS = "/migration/reports"


class DataDocsLink(BaseOperatorLink):
    """Leads to the run's Data Docs among the reports; nowhere while there are none."""

    name = "Data Docs"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, "" when the task published no page."""
        from airflow.sdk.configuration import conf

        told = XCom.get_value(ti_key=ti_key, key="return_value")
        key = told.get(DATA_DOCS_KEY) if isinstance(told, dict) else None
        if not key:
            return ""
        base = conf.get("api", "base_url", fallback="").rstrip("/")
        return f"{base}{REPORTS}/{key}"
