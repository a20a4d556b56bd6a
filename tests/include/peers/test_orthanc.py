"""Orthanc holds what was uploaded and answers by DIMSE and DICOMweb."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from include.peers.orthanc import Orthanc
from include.peers.process import PeerError, is_listening
from include.sample_archive import ArchiveIndex
from tests.conftest import require
from tests.include.peers.dimse_client import find_studies, get_study


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    require(Orthanc.available(), "orthanc")
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running
    assert not is_listening(running.port)
    assert not is_listening(running.http_port)


def test_it_keeps_what_it_can_parse_and_reports_the_rest(
    peer: Orthanc, small_archive: Path
) -> None:
    report = peer.load(small_archive)
    index = ArchiveIndex.read(small_archive)
    truncated = next(p.file for p in index.planted if p.code == "truncated_file")
    assert [s.path for s in report.skipped] == [small_archive / truncated]
    assert report.loaded == report.instances == index.instances - 1
    # It has no study without an instance.
    assert report.studies == len(index.studies) - 1
    assert len(find_studies(peer.port, peer.ae_title)) == report.studies


def test_a_study_comes_back_byte_for_byte(peer: Orthanc, small_archive: Path) -> None:
    peer.load(small_archive)
    study = next(s for s in ArchiveIndex.read(small_archive).studies if s.modality == "CT")
    headers = {path: dcmread(small_archive / path) for path in study.files}
    contexts = {(h.SOPClassUID, h.file_meta.TransferSyntaxUID) for h in headers.values()}
    _, received = get_study(peer.port, peer.ae_title, study.study_instance_uid, contexts)
    assert len(received) == study.instances
    for path, header in headers.items():
        assert (small_archive / path).read_bytes().endswith(received[header.SOPInstanceUID])


def test_dicomweb_lists_the_studies(peer: Orthanc, small_archive: Path) -> None:
    require(Orthanc.dicomweb_available(), "orthanc-dicomweb")
    report = peer.load(small_archive)
    with urllib.request.urlopen(f"{peer.dicomweb_url}/studies") as answer:
        assert len(json.load(answer)) == report.studies


def test_a_move_destination_can_be_added_while_it_runs(peer: Orthanc) -> None:
    peer.add_move_destination("LANDING", "127.0.0.1", 11113)
    with urllib.request.urlopen(f"{peer.url}/modalities") as answer:
        assert "LANDING" in json.load(answer)


def test_other_files_are_refused_with_a_reason(peer: Orthanc, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear colleague,")
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + bytes(50))
    report = peer.load(tmp_path)
    assert report.loaded == 0
    assert all(skipped.reason for skipped in report.skipped)
    assert len(report.skipped) == 2


def test_loading_what_does_not_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="start Orthanc"):
        Orthanc(tmp_path).load(tmp_path)
