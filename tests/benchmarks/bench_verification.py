"""Our read-back against ``rclone check --download``: the same objects on the same server.

Target is ``rclone serve s3`` on loopback. The peer downloads everything and compares it with a
folder that holds the same files. Ours is whole verification as Airflow runs it: the source asked
again, four witnesses compared, every object read and hashed, its header read, ledger and events
written; it needs no second copy. Workers are processes that run before the clock does; the peer
starts within it, some milliseconds.

``make bench-verification`` runs everything; ``ARGS="ct small"`` only those data (ct, small,
multi-frame), ``ROUNDS=1`` fewer rounds, ``PROFILE=1`` one profiled run of ours and no comparison.
Leaves ``.bench/verification.json`` (seconds) and ``.bench/verification.md`` (everything).
"""

from __future__ import annotations

import os
import statistics
import sys

from tests.benchmarks.harness import RESULTS, Comparison, compare, report, seconds
from tests.benchmarks.transfer.data import DATA
from tests.benchmarks.verification.sides import Run, rclone_check, verify
from tests.benchmarks.verification.wave import TransferredWave, transferred_wave

ROUNDS = int(os.environ.get("ROUNDS", "3"))
LAYOUTS = {"instance": "", "series-zip": ", packed"}
PROCESSES = (1, 2)
#: What our time may be of the peer's.
TARGET_RATIO = 1.0

HEAD = """\
| case | ours s | peer s | ratio | bar | MB/s | objects/s | CPU ms an instance | peak MiB |
|---|--:|--:|--:|--:|--:|--:|--:|--:|"""


def main() -> None:
    """Run every case on every set of data."""
    chosen = sys.argv[1:] or list(DATA)
    comparisons: list[Comparison] = []
    rows = [HEAD]
    for name in chosen:
        for layout in LAYOUTS:
            with transferred_wave(DATA[name], layout) as wave:
                if os.environ.get("PROFILE"):
                    print(verify(wave, 1, profile=True))
                    continue
                for processes in PROCESSES:
                    comparison, row = measure(wave, processes)
                    comparisons.append(comparison)
                    rows.append(row)
                    print(row, file=sys.stderr, flush=True)
    if comparisons:
        report("verification", comparisons)
        (RESULTS / "verification.md").write_text("\n".join(rows) + "\n")


def measure(wave: TransferredWave, processes: int) -> tuple[Comparison, str]:
    """Run ours and the peer in turn; return the comparison and its row of the table."""
    runs: list[Run] = []

    def ours() -> float:
        runs.append(verify(wave, processes))
        return runs[-1].seconds

    case = f"{wave.data.name} × {processes}{LAYOUTS[wave.layout]}"
    found = compare(case, ours, seconds(lambda: rclone_check(wave)), runs=ROUNDS)
    instances = wave.data.total_instances
    cpu = statistics.median(1000 * run.cpu_s / instances for run in runs[1:])
    cells = (
        case,
        f"{found.ours:.2f}",
        f"{found.peer:.2f}",
        f"**{found.ratio:.2f}**",
        f"{TARGET_RATIO:.1f}",
        f"{wave.stored_bytes / found.ours / 1e6:.0f}",
        f"{instances / found.ours:.0f}",
        f"{cpu:.2f}",
        f"{max(run.peak_mib for run in runs):.0f}",
    )
    return found, "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
