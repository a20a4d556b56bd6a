"""Our transfer against DCMTK and s5cmd: the same studies, the same source, the same bucket.

Source is Orthanc, target ``rclone serve s3``, all on loopback. The peer retrieves with ``movescu``
into ``storescp``, or with ``getscu`` (for our DICOMweb too: it has no such client), then uploads
with ``s5cmd``. We do more in the same time: three hashes, header facts, manifest and ledger of
every study. Our workers are processes that run before the clock does, as Airflow's tasks have
started before they work; the peer's programs start within it, some milliseconds each.

``make bench-transfer`` runs everything; ``ARGS="ct small"`` only those data (ct, small,
multi-frame), ``ROUNDS=1`` fewer rounds. Leaves ``.bench/transfer.json``, ``.md`` and ``.svg``.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.harness import RESULTS, seconds
from tests.benchmarks.transfer.data import DATA, DataSet
from tests.benchmarks.transfer.ends import Ends, running_ends
from tests.benchmarks.transfer.figures import Figures, write
from tests.benchmarks.transfer.limit import copy_and_put
from tests.benchmarks.transfer.ours import Run, transfer
from tests.benchmarks.transfer.peers import missing_programs, retrieve_and_upload

ROUNDS = int(os.environ.get("ROUNDS", "3"))
INSTANCE, PACKED = "instance", "series-zip"
BARS = {INSTANCE: 0.8, PACKED: 0.6}


@dataclass(frozen=True)
class Case:
    """How we transfer, and with how many associations (of ours, each a process, and the peer's)."""

    method: str
    associations: int
    layout: str = INSTANCE

    @property
    def peer_method(self) -> str:
        """How the peer retrieves."""
        return "C-MOVE" if self.method == "C-MOVE" else "C-GET"

    def name(self, data: DataSet) -> str:
        """Return what the case is called in tables."""
        packed = ", packed" if self.layout == PACKED else ""
        return f"{data.name}, {self.method} × {self.associations}{packed}"


CASES: Sequence[Case] = (
    Case("C-GET", 1),
    Case("C-GET", 2),
    Case("C-GET", 4),
    Case("C-MOVE", 1),
    Case("C-MOVE", 4),
    Case("DICOMweb", 1),
    Case("DICOMweb", 4),
    Case("C-GET", 1, PACKED),
    Case("C-GET", 4, PACKED),
)


def main() -> None:
    """Run every case on every set of data."""
    if missing := missing_programs():
        raise SystemExit(f"not installed: {', '.join(missing)} (make peers, make venv)")
    chosen = sys.argv[1:] or list(DATA)
    figures: list[Figures] = []
    for name in chosen:
        with running_ends(DATA[name], landings=4) as ends:
            for case in CASES:
                figures.append(measure(ends, case))
                print(figures[-1], file=sys.stderr, flush=True)
    write("transfer", figures, RESULTS)


def measure(ends: Ends, case: Case) -> Figures:
    """Run ours, the peer and the bare bytes in turn."""
    data = ends.data
    policy = {"layout": case.layout}
    peer_side = seconds(lambda: retrieve_and_upload(ends, case.peer_method, case.associations))
    limit_side = seconds(lambda: copy_and_put(ends))
    runs: list[Run] = []
    peer: list[float] = []
    limit: list[float] = []
    for _ in range(ROUNDS):
        runs.append(transfer(ends, case.method, case.associations, policy))
        peer.append(peer_side())
        limit.append(limit_side())
    ours = [run.seconds for run in runs]
    median = statistics.median(ours)
    return Figures(
        case=case.name(data),
        target_ratio=BARS[case.layout],
        ours_s=median,
        peer_s=statistics.median(peer),
        ratio=statistics.median(a / b for a, b in zip(ours, peer, strict=True)),
        limit_s=statistics.median(limit),
        limit_ratio=statistics.median(a / b for a, b in zip(ours, limit, strict=True)),
        mb_per_s=data.total_bytes / median / 1e6,
        instances_per_s=data.total_instances / median,
        cpu_ms=statistics.median(1000 * run.cpu_s / data.total_instances for run in runs),
        peak_mib=max(run.peak_mib for run in runs),
        rounds=ROUNDS,
    )


if __name__ == "__main__":
    main()
