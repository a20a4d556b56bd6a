"""Watches the migration from outside, as an operator does: Airflow's API and the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from dicom_migration.errors import MigrationError
from dicom_migration.ledger import FINAL, Ledger, schema
from dicom_migration.units import human_bytes
from include.demo.airflow_api import AirflowApi
from include.demo.errors import MigrationFailedError

DAGS = ("discovery", "cleansing", "transfer", "verification", "retrieval_benchmark")
LOOK_SECONDS = 1.0
ACTIVE = ("queued", "running")
#: An approval is answered when it has stood this long. Airflow 3.3.2 fails a task whose answer
#: comes before its scheduler has noted the pause, some 6 s later, and asks again.
APPROVAL_SECONDS = 7.0


def wait_for_dags(api: AirflowApi, timeout_s: float = 180.0) -> None:
    """Wait until Airflow has parsed all of :data:`DAGS`.

    Raises
    ------
    MigrationFailedError
        One cannot be imported, or is not there after `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        broken = api.get("importErrors", limit=10)["import_errors"]
        if broken:
            told = "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in broken)
            raise MigrationFailedError(f"Airflow cannot import a DAG:\n{told}")
        known = {dag["dag_id"] for dag in api.get("dags", limit=100)["dags"]}
        missing = set(DAGS) - known
        if not missing:
            return
        if time.monotonic() > deadline:
            raise MigrationFailedError(f"Airflow does not know the DAGs {sorted(missing)}.")
        time.sleep(0.5)  # between two looks at the condition


class Watch:
    """Follows the five DAGs to the end of the migration.

    Parameters
    ----------
    ledger
        Read only.
    say
        Takes one line of progress.
    """

    def __init__(self, api: AirflowApi, ledger: Ledger, say: Callable[[str], None]) -> None:
        self._api = api
        self._ledger = ledger
        self._say = say
        self._started = time.monotonic()
        self._last = ""
        self._asked_at: dict[str, float] = {}
        self.states: dict[str, str] = {}

    def until_done(self, timeout_s: float) -> None:
        """Answer approvals and report progress until nothing is left to do.

        Raises
        ------
        MigrationFailedError
            A run failed, or `timeout_s` seconds have passed.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            runs = {dag: self._api.runs(dag) for dag in DAGS}
            self.states = {dag: runs[dag][0]["state"] for dag in DAGS if runs[dag]}
            for dag, dag_runs in runs.items():
                for run in dag_runs:
                    if run["state"] == "failed":
                        raise MigrationFailedError(self._failure(dag, run["dag_run_id"]))
            for approval in self._api.pending_approvals():
                self._approve(approval)
            counts, transferred = self._ledger_facts()
            self._report(runs, counts, transferred)
            if self._is_done(runs, counts):
                return
            time.sleep(LOOK_SECONDS)  # between two looks at the condition
        raise MigrationFailedError(f"The migration was not done after {timeout_s:.0f} s.")

    def _approve(self, approval: dict[str, Any]) -> None:
        task = approval["task_instance"]
        asked_at = self._asked_at.setdefault(task["id"], time.monotonic())
        if time.monotonic() - asked_at < APPROVAL_SECONDS:
            return
        self._api.approve(approval)
        self._line(f"approved: {task['dag_id']}.{task['task_id']}: {approval['subject']}")

    def _ledger_facts(self) -> tuple[dict[str, int], int]:
        table = schema.study.c
        try:
            with self._ledger.read() as connection:
                rows = connection.execute(select(table.state, func.count()).group_by(table.state))
                counts = {str(row[0]): int(row[1]) for row in rows}
                transferred = connection.scalar(select(func.sum(table.bytes_stored)))
        except MigrationError:
            return {}, 0  # discovery's first task has not made the tables yet
        return counts, int(transferred or 0)

    def _report(
        self, runs: dict[str, list[dict[str, Any]]], counts: dict[str, int], stored: int
    ) -> None:
        active = [dag for dag in DAGS if any(run["state"] in ACTIVE for run in runs[dag])]
        studies = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        self._line(
            f"{' + '.join(active) or 'between phases':<22} {studies}"
            + (f", {human_bytes(stored)} stored" if stored else "")
        )

    def _line(self, text: str) -> None:
        if text != self._last:
            self._last = text
            self._say(f"{time.monotonic() - self._started:6.1f} s  {text}")

    @staticmethod
    def _is_done(runs: dict[str, list[dict[str, Any]]], counts: dict[str, int]) -> bool:
        everything = [run for dag_runs in runs.values() for run in dag_runs]
        if not runs["discovery"] or any(run["state"] in ACTIVE for run in everything):
            return False
        if any(count for state, count in counts.items() if state not in FINAL):
            return False
        verified, measured = runs["verification"], runs["retrieval_benchmark"]
        if not verified:  # nothing was planned: every study is excluded or quarantined
            return "planned" not in counts
        return bool(measured) and measured[0]["start_date"] >= verified[0]["start_date"]

    def _failure(self, dag: str, run: str) -> str:
        lines = [f"DAG {dag}, run {run} failed."]
        for task in self._api.task_instances(dag, run):
            if task["state"] == "failed":
                log = self._api.log(
                    dag, run, task["task_id"], task["try_number"], task["map_index"]
                )
                tail = "\n    ".join(log.strip().splitlines()[-12:])
                lines.append(f"  Task {task['task_id']}, try {task['try_number']}:\n    {tail}")
        return "\n".join(lines)
