"""A shard of canaries, real sources that hold it, and as many fresh migrations as a test asks."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.ledger import Ledger
from include.peers import Orthanc
from include.peers.process import free_port
from tests.conftest import require
from tests.integration.archive.pdu_proxy import PduProxy
from tests.integration.cloud.conftest import StoreFactory, proxy  # noqa: F401 - a fixture
from tests.integration.transfer.faults.migration import Migration, put_wave
from tests.integration.transfer.faults.sample import WHOLE, Sample, write_sample

OUR_AE_TITLE = "DICOM_MIGRATION"

Begin = Callable[..., Migration]


@pytest.fixture(scope="session")
def sample(session_tmp: Path) -> Sample:
    return write_sample(session_tmp / "faults")


@pytest.fixture(scope="session")
def empty_ledger(session_tmp: Path) -> Path:
    """A ledger's file with all its tables: copying it is faster than migrating every time."""
    path = session_tmp / "empty-ledger.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.upgrade()
    return path


@pytest.fixture
def begin(
    tmp_path: Path, empty_ledger: Path, open_store: StoreFactory, sample: Sample
) -> Iterator[Begin]:
    """Build a migration with a ledger and a place in the bucket of its own.

    ``begin(studies=…, url=…, **S3 settings)``; `url` puts a proxy before the bucket.
    """
    numbers = itertools.count(1)
    opened: list[Ledger] = []

    def build(studies: tuple[str, ...] = WHOLE, url: str = "", **settings: object) -> Migration:
        name = f"run-{next(numbers):03d}"
        path = tmp_path / f"{name}.db"
        shutil.copyfile(empty_ledger, path)
        ledger = Ledger(f"sqlite:///{path}")
        opened.append(ledger)
        put_wave(ledger, studies)
        bucket = open_store(prefix=name)
        behind = {"url": url} if url else {}
        store = open_store(prefix=name, **behind, **settings) if url or settings else bucket
        return Migration(ledger, store, bucket, sample)

    yield build
    for ledger in opened:
        ledger.close()


@pytest.fixture(scope="session")
def landing_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def landing_proxy(landing_port: int) -> Iterator[PduProxy]:
    """Stands before our landing, where the sources' C-MOVE sub-operations arrive."""
    with PduProxy("127.0.0.1", landing_port, source_is_client=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def orthanc(session_tmp: Path, sample: Sample, landing_proxy: PduProxy) -> Iterator[Orthanc]:
    require(Orthanc.available(), "orthanc")
    destinations = {OUR_AE_TITLE: ("127.0.0.1", landing_proxy.port)}
    with Orthanc(session_tmp / "faults-orthanc", move_destinations=destinations) as peer:
        report = peer.load(sample.folder)
        assert report.loaded == len(sample.instances), report.skipped
        yield peer


@pytest.fixture(scope="session")
def source_proxy(orthanc: Orthanc) -> Iterator[PduProxy]:
    """Stands before Orthanc, where our own associations go."""
    with PduProxy("127.0.0.1", orthanc.port) as opened:
        yield opened


@pytest.fixture
def settings(
    source_proxy: PduProxy, landing_proxy: PduProxy, landing_port: int
) -> Iterator[DimseSettings]:
    """Settings of Orthanc behind the proxies, C-GET, with timeouts for a test."""
    yield DimseSettings(
        host="127.0.0.1",
        port=source_proxy.port,
        called_ae_title="ORTHANC",
        landing_host="127.0.0.1",
        landing_port=landing_port,
        acse_timeout_s=2,
        dimse_timeout_s=2,
        network_timeout_s=1,
        move_quiet_s=0.3,
    )
    source_proxy.clear()
    landing_proxy.clear()


@pytest.fixture
def by_get(settings: DimseSettings) -> Iterator[DimseArchive]:
    with DimseArchive(settings) as archive:
        yield archive
