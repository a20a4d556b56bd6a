"""DCMTK's dcmqrscp holds what was indexed and answers by DIMSE."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread

from include.peers.dcmqrscp import Dcmqrscp
from include.peers.process import is_listening, wait_until
from include.sample_archive import ArchiveIndex
from tests.conftest import require
from tests.include.peers.dimse_client import find_studies, get_study


def test_it_loads_finds_and_returns_a_study(small_archive: Path, tmp_path: Path) -> None:
    require(Dcmqrscp.available(), "dcmtk")
    index = ArchiveIndex.read(small_archive)
    with Dcmqrscp(tmp_path) as peer:
        report = peer.load(small_archive)
        assert report.loaded + len(report.skipped) == index.instances
        assert report.loaded == report.instances
        assert {skipped.reason for skipped in report.skipped} == {"dcmqridx cannot parse it"}
        found = find_studies(peer.port, peer.ae_title)
        assert {str(answer.StudyInstanceUID) for answer in found} == {
            study.study_instance_uid for study in index.studies if study.instances
        }
        study = next(study for study in index.studies if study.modality == "CT")
        headers = {path: dcmread(small_archive / path) for path in study.files}
        contexts = {(h.SOPClassUID, h.file_meta.TransferSyntaxUID) for h in headers.values()}
        status, received = get_study(peer.port, peer.ae_title, study.study_instance_uid, contexts)
        assert status == 0x0000
        assert len(received) == study.instances
    # The child that served the last association may hold the port a moment longer.
    assert wait_until(lambda: not is_listening(peer.port), 10)
