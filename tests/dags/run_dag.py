"""Runs one DAG to its end in a process of its own, and answers its approvals as a person would.

``python tests/dags/run_dag.py DAG_FILE ANSWER OUT.json [PARAMS [MEANWHILE]]``: the environment
names AIRFLOW_HOME and the connections; PARAMS is what the form says (JSON); MEANWHILE is a Python
program that is run while the person has not answered yet; OUT.json tells the state and the result
of every task.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import handle_event_submit
from airflow.sdk import timezone
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from sqlalchemy import select

APPROVER = {"id": "ada", "name": "Ada Approver"}


def answer_approvals(answer: str, meanwhile: str) -> None:
    """Answer every approval, as the API does for a signed-in user (without its HTTP)."""
    while True:
        time.sleep(0.3)
        with create_session() as session:
            for detail in session.scalars(select(HITLDetail)):
                task = session.get(TaskInstance, detail.ti_id)
                if detail.response_received or task is None or task.state != "awaiting_input":
                    continue
                if meanwhile:
                    subprocess.run([sys.executable, "-c", meanwhile], check=True)
                detail.responded_by = APPROVER
                detail.responded_at = timezone.utcnow()
                detail.chosen_options = [answer]
                detail.params_input = {}
                handle_event_submit(
                    TriggerEvent(  # type: ignore[no-untyped-call]
                        detail.as_resume_event_payload()
                    ),
                    task_instance=task,
                    session=session,
                )


def result_of(task: TaskInstance) -> Any:
    value = task.xcom_pull(task_ids=task.task_id, map_indexes=task.map_index)
    return json.loads(json.dumps(value, default=str))


def main(dag_file: str, answer: str, out: str, params: str = "{}", meanwhile: str = "") -> None:
    bag = DagBag(dag_file, collect_dags=True)
    (dag,) = bag.dags.values()
    with create_session() as session:
        # Configures the mappers, with all they import, before a second thread could do so too:
        # the two would wait for one another's lock.
        session.scalars(select(HITLDetail)).all()
    threading.Thread(target=answer_approvals, args=(answer, meanwhile), daemon=True).start()
    run = dag.test(run_conf=json.loads(params))
    tasks: dict[str, list[dict[str, Any]]] = {}
    for task in run.get_task_instances():
        told = {"state": str(task.state), "result": result_of(task)}
        tasks.setdefault(task.task_id, []).append(told)
    Path(out).write_text(json.dumps({"state": str(run.state), "tasks": tasks}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
