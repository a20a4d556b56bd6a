"""Who may see the project's pages: whoever may see its DAGs.

Airflow does not guard the routes of a plugin. The guard is its own, from an internal module:
kept here alone, so that a new Airflow changes one file.
"""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends


def only_for_dag_readers() -> Any:
    """Return the dependency that answers 401 or 403 to everybody else."""
    return Depends(requires_access_dag("GET", param_dag_id="discovery"))
