"""Airflow's REST API, as far as an operator of the migration uses it in the UI."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx

from include.demo.errors import DemoError


class AirflowApi:
    """A signed-in client of a running Airflow.

    Parameters
    ----------
    url
        Root of the API server, for example ``http://127.0.0.1:8080``.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30.0)
        self._credentials = {"username": user, "password": password}

    def sign_in(self) -> None:
        """Fetch a token; raises ``httpx.HTTPError`` when Airflow does not give one."""
        response = self._client.post("/auth/token", json=self._credentials)
        response.raise_for_status()
        token = response.json()["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Return the JSON of a GET under ``/api/v2``."""
        response = self._request("GET", path, params=params)
        return dict(response.json())

    def put_resource(self, collection: str, name: str, body: dict[str, Any]) -> None:
        """Create a connection, pool or variable, or replace the one of that name."""
        response = self._request("POST", collection, json=body, accept=(409,))
        if response.status_code == 409:
            self._request("PATCH", f"{collection}/{name}", json=body)

    def unpause(self, dag_id: str) -> None:
        """Switch a DAG on."""
        self._request("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        response = self._request(
            "POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf or {}}
        )
        return str(response.json()["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a DAG, newest first."""
        return list(
            self.get(f"dags/{dag_id}/dagRuns", order_by="-run_after", limit=100)["dag_runs"]
        )

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self.get(path, limit=1000)["task_instances"])

    def pending_approvals(self) -> Iterator[dict[str, Any]]:
        """Yield what waits for a person: each with its task instance, subject and options."""
        answer = self.get("dags/~/dagRuns/~/hitlDetails", response_received=False, limit=50)
        yield from answer["hitl_details"]

    def approve(self, approval: dict[str, Any]) -> None:
        """Answer an approval as the signed-in user."""
        task = approval["task_instance"]
        path = (
            f"dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/"
            f"{task['task_id']}/{task['map_index']}/hitlDetails"
        )
        self._request(
            "PATCH", path, json={"chosen_options": ["Approve"], "params_input": {}}, accept=(409,)
        )

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int, map_index: int) -> str:
        """Return the text of a task's log."""
        answer = self.get(
            f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}",
            map_index=map_index,
            full_content=True,
        )
        lines = answer.get("content") or []
        return "\n".join(_line(line) for line in lines)

    def _request(
        self, method: str, path: str, *, accept: tuple[int, ...] = (), **kwargs: Any
    ) -> httpx.Response:
        response = self._client.request(method, f"/api/v2/{path}", **kwargs)
        for attempt in range(4):
            if response.status_code == 401:
                self.sign_in()
            elif response.status_code < 500:
                break
            time.sleep(0.5 * (attempt + 1))  # a pause between tries, not a wait for a condition
            response = self._client.request(method, f"/api/v2/{path}", **kwargs)
        if response.status_code not in accept and response.is_error:
            raise DemoError(
                f"Airflow answered {response.status_code} to {method} {path}: {response.text[:500]}"
            )
        return response


def _line(line: Any) -> str:
    if not isinstance(line, dict):
        return str(line)
    text = str(line.get("event", ""))
    details = line.get("error_detail") or []
    errors = [f"{d.get('exc_type')}: {d.get('exc_value')}" for d in details if isinstance(d, dict)]
    return " ".join([text, *errors])
