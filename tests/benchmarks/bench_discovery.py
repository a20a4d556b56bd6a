"""The inventory at scale, and one query of ours against DCMTK's findscu.

``python -m tests.benchmarks.bench_discovery [STUDIES]`` (default 1,000,000; ``make
bench-discovery``) does two things.

**Scale.** A synthetic source (see ``synthetic_source.py``) of so many studies stops at 500 answers
without a word. Two processes take its inventory, as two mapped tasks would, on SQLite and on
PostgreSQL. Then a source that never stops answers one query with all of its studies, as often as
it is asked. Shown and required: every study is in the ledger and none was recorded twice; no
process needs more than 500 MB. Results are left in ``.bench/discovery_scale.json``.

**Decoding.** An Orthanc is filled with small studies, and asked for all of them at study level,
with the same keys, by our adapter and by ``findscu`` (quiet: it prints nothing). Each side asks
ten times over one association; ours runs in this process, findscu in one of its own, whose start
(some milliseconds) counts. In ``.bench/discovery.json``, in microseconds a row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from sqlalchemy import func, select

from dicom_migration.archive import StudyQuery
from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.archive.dimse_identifier import encode_identifier
from dicom_migration.archive.dimse_query import study_keys
from dicom_migration.archive.presentation_contexts import EXPLICIT_VR_LITTLE_ENDIAN
from dicom_migration.discovery.inventory import InventoryCounts, take_inventory
from dicom_migration.discovery.windows import open_inventory
from dicom_migration.ledger import Ledger, open_exception_counts, schema
from dicom_migration.policies.discovery import DiscoveryPolicy
from include.peers import Orthanc
from include.peers.postgres import Postgres
from tests.benchmarks.harness import RESULTS, compare, report
from tests.benchmarks.synthetic_source import CAP, LAST_DAY, UID_ROOT

PROCESSES = 2
RSS_LIMIT_MB = 500
QUERIES = 10
_DEBIAN = "/usr/bin:/usr/local/bin"
TODAY = date(2025, 11, 1)
CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True)
class Scale:
    """The inventory of one source on one database; `cap` is where the source stops."""

    ledger: str
    cap: int | None
    studies: int
    missing: int
    recorded_twice: int
    queries: int
    seconds: float
    rows_a_second: float
    peak_rss_mb: float
    exceptions: dict[str, int]

    @property
    def holds(self) -> bool:
        """Tell whether it is complete and within its memory."""
        return not (self.missing or self.recorded_twice) and self.peak_rss_mb < RSS_LIMIT_MB


def policy(cap: int | None = CAP) -> DiscoveryPolicy:
    """Return the policy: the cap is not told, it has to be suspected.

    Without a cap a single window holds the whole archive, and no size is suspected.
    """
    flood: dict[str, Any] = {"window_days": 36_500, "suspicious_multiple": 0}
    return DiscoveryPolicy(
        earliest_study_date=date(2000, 1, 1),
        parallel_tasks=PROCESSES,
        list_series=False,
        count_instances="never",
        window_queries=1_000_000,
        undated_queries=100,
        **({} if cap else {**flood, "suspicious_counts": ()}),
    )


@contextlib.contextmanager
def synthetic_source(studies: int, cap: int | None = CAP) -> Iterator[int]:
    """Serve so many studies from a process of its own; give its port."""
    command = [sys.executable, "-m", "tests.benchmarks.synthetic_source", str(studies)]
    with subprocess.Popen(
        [*command, "--cap", str(cap or studies + 1)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


def work(url: str, port: int, windows: list[str], cap: int | None) -> tuple[dict[str, int], float]:
    """Take the inventory of some windows; return the counts and the peak memory in MB."""
    settings = DimseSettings("127.0.0.1", port, "SYNTHETIC")
    with Ledger(url) as ledger, DimseArchive(settings) as archive:
        counts = take_inventory(ledger, archive, windows, policy(cap))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return counts.summary(), peak


def take(name: str, url: str, studies: int, port: int, cap: int | None = CAP) -> Scale:
    """Take the whole inventory, in processes that start from nothing."""
    with Ledger(url) as ledger:
        ledger.upgrade()
        tasks = open_inventory(ledger, "I0000000001", policy(cap), TODAY)
        context = multiprocessing.get_context("spawn")
        began = time.perf_counter()
        with context.Pool(PROCESSES, maxtasksperchild=1) as pool:
            done = pool.starmap(work, [(url, port, windows, cap) for windows in tasks])
        seconds = time.perf_counter() - began
        total = InventoryCounts()
        for counts, _ in done:
            total.add(InventoryCounts(**counts))
        missing = absent(ledger, studies)
        with ledger.read() as connection:
            known = connection.scalar(select(func.count()).select_from(schema.study)) or 0
            exceptions = open_exception_counts(connection)
    return Scale(
        name,
        cap,
        studies,
        missing,
        total.new - known,
        total.queries,
        round(seconds, 2),
        round(studies / seconds, 1),
        round(max(peak for _, peak in done), 1),
        exceptions,
    )


def absent(ledger: Ledger, studies: int) -> int:
    """Return how many studies of the source the ledger lacks, looked for one by one."""
    column = schema.study.c.study_instance_uid
    with ledger.read() as connection:
        rows = connection.execution_options(yield_per=10_000).scalars(
            select(column).order_by(column)
        )
        known = iter(rows)
        lacking = 0
        current = next(known, None)
        for index in range(studies):
            wanted = f"{UID_ROOT}{index:010}"
            while current is not None and current < wanted:
                current = next(known, None)
            lacking += current != wanted
        return lacking


def scale(studies: int, scratch: Path) -> list[Scale]:
    """Run on every database that is there, and once on a source that does not stop."""
    outcomes = []
    with synthetic_source(studies) as port:
        outcomes.append(take("SQLite", f"sqlite:///{scratch / 'ledger.db'}", studies, port))
        if Postgres.available():
            with Postgres(scratch) as server:
                outcomes.append(take("PostgreSQL", server.url, studies, port))
    with synthetic_source(studies, cap=None) as port:
        url = f"sqlite:///{scratch / 'flood.db'}"
        outcomes.append(take("SQLite, one answer", url, studies, port, cap=None))
    return outcomes


def small_studies(folder: Path, count: int) -> None:
    """Write so many studies of one instance without pixels."""
    folder.mkdir()
    for index in range(count):
        dataset = Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SOPClassUID, dataset.SOPInstanceUID = CT, f"{UID_ROOT}{index}.1.1"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{UID_ROOT}{index}", f"{UID_ROOT}1"
        dataset.SeriesInstanceUID = f"{UID_ROOT}{index}.1"
        dataset.StudyDate, dataset.StudyTime, dataset.Modality = "20240102", "120000", "CT"
        dataset.PatientID, dataset.PatientName = f"{index:010}", f"SYNTHETIC^{index:010}"
        dataset.PatientBirthDate, dataset.PatientSex = "19500101", "F"
        dataset.AccessionNumber, dataset.StudyID = f"{index:010}", "1"
        dataset.StudyDescription = "Thorax with contrast agent"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN
        dataset.save_as(folder / f"{index}.dcm", enforce_file_format=True)


def decode(scratch: Path, studies: int) -> int:
    """Compare our C-FIND with findscu's on an Orthanc of so many studies."""
    findscu = shutil.which("findscu", path=_DEBIAN)  # pynetdicom installs one by that name, too
    if not Orthanc.available() or findscu is None:
        print("Orthanc and DCMTK are not installed: no comparison", file=sys.stderr)
        return 0
    small_studies(scratch / "files", studies)
    query = StudyQuery(date_from="20200101", date_to=f"{LAST_DAY:%Y%m%d}")
    identifier = scratch / "query.dcm"
    identifier.write_bytes(_file_of(study_keys(query)))
    with Orthanc(scratch / "orthanc") as peer:
        loaded = peer.load(scratch / "files").loaded
        archive = DimseArchive(DimseSettings("127.0.0.1", peer.port, peer.ae_title))
        command = [findscu, "-q", "-S", "-aec", peer.ae_title, "127.0.0.1", str(peer.port)]
        command += [str(identifier)] * QUERIES

        def ours() -> float:
            began = time.perf_counter()
            for _ in range(QUERIES):
                found = sum(1 for _ in archive.find_studies(query))
                assert found == loaded, (found, loaded)
            return (time.perf_counter() - began) / (QUERIES * loaded) * 1e6

        def theirs() -> float:
            began = time.perf_counter()
            subprocess.run(command, check=True, env={**os.environ, "TCP_NODELAY": "1"})
            return (time.perf_counter() - began) / (QUERIES * loaded) * 1e6

        with archive:
            case = f"C-FIND of {loaded} studies / DCMTK findscu, Orthanc"
            report("discovery", [compare(case, ours, theirs, runs=5, unit="us/row")])
    return 0


def _file_of(keys: dict[int, str]) -> bytes:
    """Return an identifier as the Part 10 file that findscu reads."""
    meta = encode_identifier({}, EXPLICIT_VR_LITTLE_ENDIAN)
    syntax = EXPLICIT_VR_LITTLE_ENDIAN.encode()
    syntax += b"\0" * (len(syntax) % 2)
    meta += b"\x02\x00\x10\x00UI" + len(syntax).to_bytes(2, "little") + syntax
    length = b"\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little")
    return bytes(128) + b"DICM" + length + meta + encode_identifier(keys, EXPLICIT_VR_LITTLE_ENDIAN)


def main() -> int:
    """Run both parts; fail when the inventory is incomplete or takes too much memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--orthanc-studies", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-discovery-") as folder:
        scratch = Path(folder)
        outcomes = scale(options.studies, scratch)
        for outcome in outcomes:
            print(json.dumps(asdict(outcome)))
        RESULTS.mkdir(parents=True, exist_ok=True)
        results = json.dumps([asdict(outcome) for outcome in outcomes], indent=2)
        (RESULTS / "discovery_scale.json").write_text(results + "\n")
        decode(scratch, options.orthanc_studies)
    return 0 if all(outcome.holds for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
