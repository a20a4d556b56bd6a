"""Compares ours with a peer so that a slow moment of the machine cannot decide.

Both sides run in turn (A B A B ...), after one round that is thrown away. A side is a callable
that does the work once and returns what it measured, in the unit of the case; :func:`seconds`
makes one out of a callable that returns nothing. What is reported is the median of each side and
the median of the ratios within a pair: below 1, ours is better (for a unit where less is better,
which is the only kind to use: seconds, bytes, seconds an instance).

A benchmark is a module ``bench_NAME.py`` with a ``main``; ``make bench-NAME`` runs it, and its
results are left in ``.bench/NAME.json`` as a list of
``{"case", "ours", "peer", "unit", "ratio"}``.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Side = Callable[[], float]

RESULTS = Path(__file__).resolve().parents[2] / ".bench"
COLUMNS = ("case", "ours", "peer", "unit", "ratio")


@dataclass(frozen=True)
class Comparison:
    """The outcome of one case: two medians in `unit`, and the median ratio ours/peer."""

    case: str
    ours: float
    peer: float
    unit: str
    ratio: float


def seconds(work: Callable[[], object]) -> Side:
    """Turn work into a side that measures its wall-clock seconds."""

    def measure() -> float:
        gc.collect()
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return measure


def compare(case: str, ours: Side, peer: Side, *, runs: int = 5, unit: str = "s") -> Comparison:
    """Run both sides in turn, `runs` pairs after one round to warm up.

    Parameters
    ----------
    case
        What is compared; names the peer.
    ours, peer
        Do the work once and return the measurement, in `unit`; less is better.
    runs
        How many pairs are measured, at least one.

    Raises
    ------
    ValueError
        When there is nothing to measure, or a side measured nothing.
    """
    if runs < 1:
        raise ValueError(f"{case}: at least one pair of runs is needed, not {runs}")
    ours()
    peer()
    pairs = [(ours(), peer()) for _ in range(runs)]
    if min(min(pair) for pair in pairs) <= 0:
        raise ValueError(f"{case}: a side measured nothing ({pairs})")
    return Comparison(
        case=case,
        ours=statistics.median(pair[0] for pair in pairs),
        peer=statistics.median(pair[1] for pair in pairs),
        unit=unit,
        ratio=statistics.median(pair[0] / pair[1] for pair in pairs),
    )


def table(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as text in aligned columns."""
    rows = [COLUMNS] + [
        (each.case, f"{each.ours:.4g}", f"{each.peer:.4g}", each.unit, f"{each.ratio:.2f}")
        for each in comparisons
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    left = (0, COLUMNS.index("unit"))
    return "\n".join(
        "  ".join(
            cell.ljust(widths[column]) if column in left else cell.rjust(widths[column])
            for column, cell in enumerate(row)
        ).rstrip()
        for row in rows
    )


def report(name: str, comparisons: Sequence[Comparison], folder: Path = RESULTS) -> Path:
    """Print the comparisons and leave them in `folder`/`name`.json; return that path."""
    print(table(comparisons))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps([asdict(each) for each in comparisons], indent=2) + "\n")
    return path
