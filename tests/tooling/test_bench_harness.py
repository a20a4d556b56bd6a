"""A benchmark's ratio has to mean what it says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.bench_parse import DagFile, Parser, choose_peer
from tests.benchmarks.harness import Comparison, compare, report, seconds, table


def replay(log: list[str], name: str, values: list[float]) -> Callable[[], float]:
    """Return a side that measures `values` one after the other and notes its turns in `log`."""
    remaining = iter(values)

    def side() -> float:
        log.append(name)
        return next(remaining)

    return side


def test_both_sides_run_in_turn_and_the_first_round_does_not_count() -> None:
    log: list[str] = []
    ours, peer = replay(log, "A", [900, 1, 2, 3]), replay(log, "B", [900, 4, 4, 4])
    outcome = compare("case", ours, peer, runs=3)
    assert log == ["A", "B"] * 4
    assert outcome == Comparison("case", ours=2, peer=4, unit="s", ratio=0.5)


def test_a_machine_that_slows_down_does_not_change_the_ratio() -> None:
    log: list[str] = []
    ours, peer = replay(log, "A", [1, 1, 10, 100]), replay(log, "B", [1, 2, 20, 200])
    assert compare("case", ours, peer, runs=3).ratio == 0.5


def test_a_side_that_measures_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="measured nothing"):
        compare("case", lambda: 0.0, lambda: 1.0)


def test_no_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        compare("case", lambda: 1.0, lambda: 1.0, runs=0)


def test_work_is_timed_in_seconds() -> None:
    done: list[int] = []
    assert seconds(lambda: done.append(1))() > 0
    assert done == [1]


def test_results_are_left_as_json_and_shown_as_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = [
        Comparison("long case / peer", 1.23456, 2.5, "s", 0.494),
        Comparison("b", 9, 3, "ms", 3),
    ]
    path = report("name", outcomes, tmp_path)
    assert json.loads(path.read_text())[1] == {
        "case": "b",
        "ours": 9,
        "peer": 3,
        "unit": "ms",
        "ratio": 3,
    }
    assert capsys.readouterr().out.splitlines() == [
        "case               ours  peer  unit  ratio",
        "long case / peer  1.235   2.5  s      0.49",
        "b                     9     3  ms     3.00",
    ]
    assert table([]).split() == ["case", "ours", "peer", "unit", "ratio"]


def test_the_peer_of_a_dag_is_the_example_with_the_nearest_number_of_tasks(tmp_path: Path) -> None:
    examples = [DagFile(tmp_path / f"example_{tasks}.py", tasks) for tasks in (3, 7, 20)]
    for example in examples:
        example.path.write_text("")
    (tmp_path / "ours.py").write_text("")
    assert choose_peer(DagFile(tmp_path / "ours.py", 8), examples, tmp_path) == examples[1]


def test_a_dag_of_a_size_that_nobody_ships_is_compared_with_a_stock_dag(tmp_path: Path) -> None:
    peer = choose_peer(DagFile(tmp_path / "ours.py", 60), [DagFile(tmp_path, 3)], tmp_path)
    with Parser(tmp_path / "airflow") as parser:
        assert parser.read(peer.path).tasks == 60
        with pytest.raises(ValueError, match="cannot be parsed"):
            parser.read(tmp_path / "missing.py")
        assert parser.side(peer.path)() > 0
