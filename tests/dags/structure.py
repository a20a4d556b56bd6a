"""What the tests of all DAG files need: the DAG as Airflow parses it, and what parsing costs."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("great_expectations", "pydicom", "pynetdicom", "pandas", "pyarrow", "boto3")


@cache
def parsed(name: str) -> DAG:
    """Return the one DAG of ``dags/<name>.py``."""
    bag = DagBag(str(ROOT / "dags" / f"{name}.py"))
    assert not bag.import_errors, bag.import_errors
    (dag,) = bag.dags.values()
    return dag


def edges(dag: DAG) -> set[tuple[str, str]]:
    """Return the dependencies as pairs of task ids."""
    return {(task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids}


def heavy_imports(name: str) -> list[str]:
    """Return the heavy packages that parsing the file adds to what Airflow itself imports."""
    program = (
        "import sys, runpy, airflow.sdk\n"
        "airflow.sdk.Asset('x://y')  # loads every provider's kinds of assets, amazon's too\n"
        "from airflow.providers.standard.operators import hitl\n"
        "before = set(sys.modules)\n"
        f"runpy.run_path({str(ROOT / 'dags' / f'{name}.py')!r})\n"
        f"print([m for m in {HEAVY!r} if m in set(sys.modules) - before])\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    found: list[str] = eval(finished.stdout.splitlines()[-1])  # noqa: S307 - our own output
    return found


def seconds_to_parse(name: str) -> float:
    """Return what the file's own parsing takes in a process that has Airflow loaded."""
    program = (
        "import time, runpy, airflow.sdk\n"
        "from airflow.sdk import *\n"
        "airflow.sdk.Asset('x://y')\n"
        "from airflow.providers.standard.operators import hitl\n"
        "began = time.perf_counter()\n"
        f"runpy.run_path({str(ROOT / 'dags' / f'{name}.py')!r})\n"
        "print(time.perf_counter() - began)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return float(finished.stdout.splitlines()[-1])
