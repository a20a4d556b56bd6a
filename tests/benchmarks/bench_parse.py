"""How long Airflow's DAG processor needs to parse each of our DAG files, against a stock DAG.

What is timed: loading and executing the file, with everything it imports, the way Airflow's own
importer does it, in a process of its own that has imported ``airflow.sdk`` and nothing else of
ours or the peer's: like the DAG processor, the benchmark forks one for each parse. What is not
timed: the start of Python and the import of ``airflow.sdk``. Byte code is cached on both sides, as
it is in production after the first parse.

The peer is, for each of our files, the example DAG in the Airflow distribution (``airflow`` itself
and its standard and amazon providers) whose number of tasks is nearest to ours, if one is within a
quarter of it; otherwise a DAG written here that has as many tasks as ours, uses nothing but stock
operators, and is about the least that a TaskFlow DAG can be. An example that asks for an optional
package or cannot be parsed alone is passed over. Among equals the one with the file size nearest
to ours is taken, so that the choice does not depend on what is fast.

A ratio of 1 says that our DAG costs the DAG processor what a stock DAG of its size costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.benchmarks.harness import Comparison, Side, compare, report

ROOT = Path(__file__).resolve().parents[2]
RUNS = 7

# Reads a path a line; answers each with its seconds and number of tasks, or with the error, from
# a fork, so that no parse finds imported what another one imported.
SERVER = """\
import importlib.machinery, importlib.util, json, os, sys, time
import airflow.sdk
from airflow.sdk.definitions._internal.contextmanager import DagContext

def load(path):
    DagContext.current_autoregister_module_name = "dag_file"
    started = time.perf_counter()
    loader = importlib.machinery.SourceFileLoader("dag_file", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("dag_file", loader))
    sys.modules["dag_file"] = module
    loader.exec_module(module)
    elapsed = time.perf_counter() - started
    dags = {id(dag): dag for dag in vars(module).values() if isinstance(dag, airflow.sdk.DAG)}
    dags |= {id(dag): dag for dag, _ in DagContext.autoregistered_dags}
    return {"seconds": elapsed, "tasks": sum(len(dag.tasks) for dag in dags.values())}

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            answer = load(line.strip())
        except BaseException as error:
            answer = {"error": repr(error)}
        answers.write(json.dumps(answer) + "\\n")
        answers.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""

STOCK_DAG = """\
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import dag, task


@dag(schedule=None)
def stock():
    @task
    def first():
        return 1

    previous = first()
    for number in range({tasks} - 1):
        kind = (BashOperator, PythonOperator)[number % 2]
        work = {{"bash_command": "true"}} if kind is BashOperator else {{"python_callable": print}}
        following = kind(task_id=f"task_{{number}}", **work)
        previous >> following
        previous = following


stock()
"""


@dataclass(frozen=True)
class DagFile:
    """A file that was parsed once: where it is and how many tasks its DAGs have."""

    path: Path
    tasks: int


class Parser:
    """Parses DAG files, each in a fresh fork of a process that has imported ``airflow.sdk``."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")
        } | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # Airflow has its home (for include/) and plugins/ on the path.
            "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
        }

    def __enter__(self) -> Self:
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.server.communicate()

    def parse(self, path: Path) -> dict[str, float]:
        """Return the seconds that `path` took and its number of tasks.

        Raises
        ------
        ValueError
            When it cannot be parsed.
        """
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(f"{path}\n")
        self.server.stdin.flush()
        answer = json.loads(self.server.stdout.readline())
        if "error" in answer:
            raise ValueError(f"{path} cannot be parsed: {answer['error']}")
        return dict(answer)

    def read(self, path: Path) -> DagFile:
        """Parse `path` once, for its number of tasks."""
        return DagFile(path, int(self.parse(path)["tasks"]))

    def side(self, path: Path) -> Side:
        """Return what measures one parse of `path`, in milliseconds."""
        return lambda: self.parse(path)["seconds"] * 1000


def shipped_examples(parser: Parser) -> list[DagFile]:
    """Return the example DAG files of the installed Airflow distribution that hold a task."""
    packages = ("airflow", "airflow.providers.standard", "airflow.providers.amazon.aws")
    folders = [
        Path(location) / "example_dags"
        for package in packages
        if (spec := find_spec(package)) is not None
        for location in spec.submodule_search_locations or []
    ]
    examples = []
    for path in sorted({path for folder in folders for path in folder.glob("example_*.py")}):
        try:
            example = parser.read(path)
        except ValueError:
            continue
        if example.tasks:
            examples.append(example)
    return examples


def choose_peer(ours: DagFile, examples: list[DagFile], scratch: Path) -> DagFile:
    """Return the example nearest in tasks to `ours`, or a stock DAG with as many tasks."""
    near = [each for each in examples if abs(each.tasks - ours.tasks) <= ours.tasks / 4]
    if near:
        size = ours.path.stat().st_size
        return min(
            near,
            key=lambda each: (
                abs(each.tasks - ours.tasks),
                abs(each.path.stat().st_size - size),
                each.path.name,
            ),
        )
    path = scratch / f"stock_dag_of_{ours.tasks}.py"
    path.write_text(STOCK_DAG.format(tasks=ours.tasks))
    return DagFile(path, ours.tasks)


def compare_all(paths: list[Path], scratch: Path) -> list[Comparison]:
    """Compare each of the DAG files `paths` with its peer."""
    comparisons = []
    with Parser(scratch / "airflow") as parser:
        examples = shipped_examples(parser)
        for path in paths:
            ours = parser.read(path)
            peer = choose_peer(ours, examples, scratch)
            case = f"{path.stem} ({ours.tasks} tasks) / {peer.path.stem} ({peer.tasks})"
            sides = parser.side(path), parser.side(peer.path)
            comparisons.append(compare(case, *sides, runs=RUNS, unit="ms"))
    return comparisons


def main() -> int:
    """Compare every DAG file of the project."""
    paths = sorted((ROOT / "dags").glob("*.py"))
    if not paths:
        print("dags/ holds no DAG file: there is nothing to parse yet", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-parse-") as scratch:
        report("parse", compare_all(paths, Path(scratch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
