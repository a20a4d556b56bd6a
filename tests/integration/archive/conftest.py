"""Real sources with real files, started once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from include.peers import Dcmqrscp, Orthanc, Qrscp
from include.peers.process import free_port
from tests.conftest import require
from tests.integration.archive.real_files import RealFile, write_real_files

OUR_AE_TITLE = "DICOM_MIGRATION"


@pytest.fixture(scope="session")
def archive_files(session_tmp: Path) -> tuple[RealFile, ...]:
    return write_real_files(session_tmp / "real_files")


@pytest.fixture(scope="session")
def landing_port() -> int:
    """The port to which all peers send: their tables of destinations are read at start."""
    return free_port()


@pytest.fixture(scope="session")
def orthanc(
    session_tmp: Path, archive_files: tuple[RealFile, ...], landing_port: int
) -> Iterator[Orthanc]:
    require(Orthanc.available(), "orthanc")
    destinations = {OUR_AE_TITLE: ("127.0.0.1", landing_port)}
    with Orthanc(session_tmp / "orthanc", move_destinations=destinations) as peer:
        report = peer.load(archive_files[0].path.parent)
        assert report.loaded == len(archive_files), report.skipped
        yield peer


@pytest.fixture(scope="session")
def dcmqrscp(
    session_tmp: Path, archive_files: tuple[RealFile, ...], landing_port: int
) -> Iterator[Dcmqrscp]:
    require(Dcmqrscp.available(), "dcmtk")
    destinations = {OUR_AE_TITLE: ("127.0.0.1", landing_port)}
    peer = Dcmqrscp(session_tmp / "dcmqrscp", move_destinations=destinations)
    report = peer.load(archive_files[0].path.parent)
    assert report.loaded == len(archive_files), report.skipped
    with peer:
        yield peer


@pytest.fixture(scope="session")
def qrscp(
    session_tmp: Path, archive_files: tuple[RealFile, ...], landing_port: int
) -> Iterator[Qrscp]:
    destinations = {OUR_AE_TITLE: ("127.0.0.1", landing_port)}
    peer = Qrscp(session_tmp / "qrscp", move_destinations=destinations)
    report = peer.load(archive_files[0].path.parent)
    assert report.loaded == len(archive_files), report.skipped
    with peer:
        yield peer
