"""A real PACS is measured by its own protocol, beside the bucket that holds the same studies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from dicom_migration.archive import ImageArchive
from dicom_migration.archive.dicomweb import DicomWebArchive
from dicom_migration.archive.dicomweb_settings import DicomWebSettings
from dicom_migration.archive.dimse import DimseArchive
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.policies.slas import BusyHour, SlaPolicy, SourceLoad
from dicom_migration.policies.slas import Sample as SampleSize
from dicom_migration.retrieval.benchmark import run_benchmark
from dicom_migration.retrieval.samples import load_samples
from include.peers import Orthanc
from include.peers.process import free_port
from tests.conftest import require
from tests.integration.verification.conftest import (  # noqa: F401
    all_real_instances,
    client,
    endpoint,
    ledger,
    store,
)
from tests.integration.verification.written_wave import part10, write_wave

pytestmark = pytest.mark.peers
POLICY = SlaPolicy(
    sample=SampleSize(studies=3, warm_repeats=0),
    busy_hour=BusyHour(
        enabled=True,
        arrivals_per_minute=120,
        duration_seconds=1,
        source=SourceLoad(enabled=True, arrivals_per_minute=240, duration_seconds=1),
    ),
)


@pytest.fixture
def pacs(tmp_path: Path, all_real_instances):  # noqa: F811
    require(Orthanc.available(), "orthanc")
    small = [i for i in all_real_instances if len(i.dataset) < 200_000 and i.pixels]
    uids = sorted({i.record.study_instance_uid for i in small if i.modality in ("CT", "MR")})[:3]
    chosen = [i for i in small if i.record.study_instance_uid in uids]
    (tmp_path / "files").mkdir()
    for instance in chosen:
        file = tmp_path / "files" / f"{instance.record.sop_instance_uid}.dcm"
        file.write_bytes(part10(instance))
    landing = free_port()
    with Orthanc(
        tmp_path / "orthanc", move_destinations={"DICOM_MIGRATION": ("127.0.0.1", landing)}
    ) as peer:
        report = peer.load(tmp_path / "files")
        assert report.loaded == len(chosen), report.skipped
        yield peer, landing, chosen


def dimse(peer: Orthanc, landing: int, method: str) -> Callable[[], ImageArchive]:
    settings = DimseSettings(
        host="127.0.0.1",
        port=peer.port,
        called_ae_title=peer.ae_title,
        landing_host="127.0.0.1",
        landing_port=landing,
        dimse_timeout_s=30,
        network_timeout_s=10,
        move_quiet_s=2,
    )
    return lambda: DimseArchive(replace(settings, retrieve_method=method))


def test_each_protocol_is_timed_and_named(pacs, store, ledger):  # noqa: F811
    peer, landing, chosen = pacs
    wave = write_wave(store, ledger, chosen, state="verified")
    openers = {method: dimse(peer, landing, method) for method in ("C-GET", "C-MOVE")}
    if Orthanc.dicomweb_available():
        openers["WADO-RS"] = lambda: DicomWebArchive(DicomWebSettings(peer.dicomweb_url))
    for method, opened in openers.items():
        with opened() as archive:
            told = run_benchmark(
                archive, store, ledger, POLICY, method, date(2025, 3, 1), open_source=opened
            )
        assert told["failed"] == 0
        with ledger.read() as connection:
            samples = load_samples(connection, method)
        source = [s for s in samples if s.side == "source"]
        assert {s.access for s in source} == {method}
        assert {s.operation for s in source} == {"first_image", "whole_study"}
        assert all(s.stages.first_byte_s > 0 for s in source)
        assert len([s for s in source if s.temperature == "cold"]) == 2 * len(wave.studies)
        assert [s for s in source if s.temperature == "busy"]
