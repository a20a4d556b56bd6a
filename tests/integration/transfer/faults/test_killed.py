"""SIGKILL of the process at work: the next run ends where an undisturbed one does.

The end state is compared as a whole: keys, sizes and SHA-256 of everything in the bucket, the
manifests' bytes with them, and the ledger's states, counters, exceptions and events. One study of
the shard has to be quarantined, so that this path is cut, too.
"""

from __future__ import annotations

import itertools
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dicom_migration.ledger import Ledger, schema
from include.peers import Orthanc
from include.peers.postgres import Postgres
from tests.conftest import require
from tests.integration.archive.pdu_proxy import PduFault, PduProxy
from tests.integration.cloud.conftest import StoreFactory
from tests.integration.cloud.fault_proxy import FaultProxy
from tests.integration.cloud.http_faults import Fault
from tests.integration.transfer.faults.killable import KILLED, Job, Workers
from tests.integration.transfer.faults.migration import EndState, Migration, put_wave
from tests.integration.transfer.faults.sample import SHRUNK, WHOLE, Sample

pytestmark = pytest.mark.peers

STUDIES = (*WHOLE, SHRUNK)
LAYOUTS = ("instance", "series-zip")
#: Each is killed twice: at a PDU, and at a moment.
RANDOM_RUNS = 25
SEED = 20_260_101


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers() as opened:
        yield opened


@dataclass
class Run:
    """A fresh shard, the job that works on it, and what became of it."""

    job: Job
    migration: Migration

    def check_after_a_kill(self) -> None:
        """Check that what looks done is done: every study called transferred is whole."""
        done = [study for study in WHOLE if self.migration.state(study) == "transferred"]
        self.migration.check_moved(*done)
        self.job.check_no_trace()

    def check_the_end(self, expected: EndState, kills: int) -> None:
        """Finish undisturbed and compare with a run that was never disturbed."""
        before = [self.migration.state(study) for study in STUDIES]
        summary = self.job.finish()["summary"]
        assert self.migration.end() == expected
        waiting = sum(state in ("cleansed", "transferring") for state in before)
        assert summary["studies"] == waiting, "no study is counted twice"
        for study in WHOLE:
            outcomes = [outcome for outcome, _ in self.migration.attempts(study)]
            assert outcomes[-1] == "transferred"
            assert set(outcomes[:-1]) <= {"interrupted"}
            assert len(outcomes) <= 1 + kills
        self.job.check_no_trace()


Fresh = Callable[..., Run]
Sources = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require(Postgres.available(), "postgresql")
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        with Ledger(server.url) as ledger:
            ledger.upgrade()
        yield server.url


@pytest.fixture
def fresh(
    workers: Workers,
    tmp_path: Path,
    empty_ledger: Path,
    open_store: StoreFactory,
    bucket: str,
    proxy: FaultProxy,
    sample: Sample,
) -> Iterator[Fresh]:
    """Build runs: ``fresh(source)`` on a SQLite file each, with ``url`` elsewhere."""
    numbers = itertools.count(1)
    opened: list[Ledger] = []

    def build(source: dict[str, Any], url: str = "", layout: str = "instance") -> Run:
        name = f"run-{next(numbers):03d}"
        if url:
            ledger = Ledger(url)
            with ledger.write() as connection:
                for table in reversed(schema.metadata.sorted_tables):
                    connection.execute(table.delete())
        else:
            path = tmp_path / f"{name}.db"
            shutil.copyfile(empty_ledger, path)
            url = f"sqlite:///{path}"
            ledger = Ledger(url)
        opened.append(ledger)
        put_wave(ledger, STUDIES)
        store = open_store(prefix=name)
        what = {
            "ledger": url,
            "source": source,
            "endpoint": proxy.url,
            "bucket": bucket,
            "prefix": name,
            "layout": layout,
        }
        return Run(Job(workers, tmp_path / name, what), Migration(ledger, store, store, sample))

    yield build
    workers.end()
    for ledger in opened:
        ledger.close()


@pytest.fixture(params=["C-GET", "C-MOVE", "DICOMweb"])
def source(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.getfixturevalue("sources")[request.param])


@pytest.fixture
def sources(
    source_proxy: PduProxy, landing_proxy: PduProxy, landing_port: int, orthanc: Orthanc
) -> Iterator[Sources]:
    """Orthanc as a source, by each method."""
    dimse = {
        "host": "127.0.0.1",
        "port": source_proxy.port,
        "called_ae_title": "ORTHANC",
        "landing_host": "127.0.0.1",
        "landing_port": landing_port,
        "move_quiet_s": 0.3,
    }
    yield {
        "C-GET": dimse,
        "C-MOVE": {**dimse, "retrieve_method": "C-MOVE"},
        "DICOMweb": {"base_url": orthanc.dicomweb_url},
    }
    source_proxy.clear()
    landing_proxy.clear()


def test_a_process_killed_at_every_transition_of_the_ledger_is_gone_on_with(
    fresh: Fresh, source: dict[str, Any]
) -> None:
    check_every_commit(fresh, source)


def test_the_same_holds_for_a_ledger_on_postgresql(
    fresh: Fresh, sources: Sources, postgres: str
) -> None:
    check_every_commit(fresh, sources["C-GET"], postgres)


def check_every_commit(fresh: Fresh, source: dict[str, Any], *url: str) -> None:
    """Kill before and after each writing transaction, each time in a fresh run."""
    undisturbed = fresh(source, *url)
    commits = undisturbed.job.finish()["commits"]
    assert commits >= 2 * len(STUDIES), "an intent and an outcome each"
    expected = undisturbed.migration.end()
    for when, number in itertools.product(("die_before", "die_after"), range(commits)):
        run = fresh(source, *url)
        assert run.job.run(**{when: number}) == KILLED
        run.check_after_a_kill()
        run.check_the_end(expected, kills=1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_process_killed_around_every_request_to_the_bucket_is_gone_on_with(
    fresh: Fresh, sources: Sources, proxy: FaultProxy, workers: Workers, layout: str
) -> None:
    undisturbed = fresh(sources["C-GET"], layout=layout)
    undisturbed.job.finish()
    requests, expected = len(proxy.requests), undisturbed.migration.end()
    assert requests >= 2 * len(WHOLE), "an object at least and a manifest a study"
    for forward, number in itertools.product((False, True), range(requests)):
        run = fresh(sources["C-GET"], layout=layout)
        proxy.clear()
        proxy.script(Fault.calling(workers.kill, forward=forward), skip=number)
        assert run.job.run() == KILLED
        proxy.clear()
        run.check_after_a_kill()
        run.check_the_end(expected, kills=1)


def test_a_process_killed_at_random_points_is_gone_on_with_every_time(
    fresh: Fresh,
    sources: Sources,
    source_proxy: PduProxy,
    landing_proxy: PduProxy,
    workers: Workers,
) -> None:
    chance = random.Random(SEED)
    proxies = {"C-GET": source_proxy, "C-MOVE": landing_proxy}
    ways = list(itertools.product(LAYOUTS, proxies))
    expected: list[EndState] = []
    pdus: list[int] = []
    seconds: list[float] = []
    for layout, method in ways:
        proxies[method].clear()
        undisturbed = fresh(sources[method], layout=layout)
        began = time.monotonic()
        undisturbed.job.finish()
        seconds.append(time.monotonic() - began)
        pdus.append(proxies[method].pdus)
        expected.append(undisturbed.migration.end())
    assert expected[0] == expected[1]
    assert expected[2] == expected[3]

    def kill_at_a_pdu(run: Run, way: int) -> int:
        proxy = proxies[ways[way][1]]
        at = chance.randrange(pdus[way])
        proxy.script(PduFault("call", at=at, action=workers.kill))
        code = run.job.run()
        proxy.clear()
        return code

    def kill_at_a_time(run: Run, way: int) -> int:
        run.job.start()
        timer = threading.Timer(chance.uniform(0, seconds[way]), workers.kill)
        timer.start()
        code = workers.wait()
        timer.cancel()
        return code

    killed = 0
    for number in range(RANDOM_RUNS):
        way = number % len(ways)
        layout, method = ways[way]
        run = fresh(sources[method], layout=layout)
        for strike in (kill_at_a_pdu, kill_at_a_time):
            code = strike(run, way)
            assert code in (0, KILLED)
            killed += code == KILLED
            run.check_after_a_kill()
        run.check_the_end(expected[way], kills=2)
    assert killed > RANDOM_RUNS, "most of them hit a process at work"
