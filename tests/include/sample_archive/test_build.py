"""Whoever builds the archive gets the same hospital as everybody else."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydicom import dcmread

from include.sample_archive import ArchiveIndex, build
from include.sample_archive.__main__ import main


def digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(path.relative_to(folder).as_posix().encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def test_equal_seeds_give_equal_bytes(small_archive: Path, tmp_path: Path) -> None:
    build(tmp_path / "again", scale="small")
    assert digest_of(tmp_path / "again") == digest_of(small_archive)


def test_the_archive_is_as_large_as_promised(archive: Path) -> None:
    index = ArchiveIndex.read(archive)
    assert index.instances >= 600
    assert index.bytes >= 100_000_000
    dates = sorted(study.study_date or "" for study in index.studies if study.origin == "synthetic")
    assert int(dates[-1][:4]) - int(dates[2][:4]) >= 18
    modalities = {study.modality for study in index.studies}
    assert modalities >= {"CT", "MR", "CR", "US", "MG", "SR", "ECG", "RTDOSE", "RTSTRUCT", "SEG"}


def test_it_holds_compressed_and_retired_transfer_syntaxes(archive: Path) -> None:
    syntaxes = {
        dcmread(path, specific_tags=["SOPClassUID"], force=True).file_meta.get("TransferSyntaxUID")
        for path in archive.rglob("*.dcm")
    }
    names = {syntax.name for syntax in syntaxes if syntax}
    for expected in ("RLE", "JPEG Baseline", "JPEG Lossless", "JPEG-LS", "JPEG 2000", "Big Endian"):
        assert any(expected in name for name in names), expected


def test_the_index_names_every_file_and_no_other(archive: Path) -> None:
    index = ArchiveIndex.read(archive)
    listed = {path for study in index.studies for path in study.files}
    found = {path.relative_to(archive).as_posix() for path in archive.rglob("*.dcm")}
    assert listed == found
    assert len(found) == index.instances
    assert sum((archive / path).stat().st_size for path in found) == index.bytes


def test_files_as_found_are_byte_identical_to_the_published_ones(archive: Path) -> None:
    published = set()
    for package in ("pydicom", "data_store"):
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        for path in Path(spec.origin).parent.rglob("*"):
            if path.is_file():
                published.add(hashlib.sha256(path.read_bytes()).digest())
    for study in ArchiveIndex.read(archive).studies:
        if study.origin == "as_found":
            for file in study.files:
                assert hashlib.sha256((archive / file).read_bytes()).digest() in published, file


def test_a_rebuild_with_another_seed_replaces_everything_synthetic(tmp_path: Path) -> None:
    first = build(tmp_path, seed=1, scale="small")
    second = build(tmp_path, seed=2, scale="small")
    assert len(list(tmp_path.rglob("*.dcm"))) == second.instances
    one, other = (
        {study.study_instance_uid for study in index.studies if study.origin == "synthetic"}
        for index in (first, second)
    )
    assert not one & other


def test_somebody_elses_files_are_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("keep me")
    with pytest.raises(FileExistsError, match="choose an empty directory"):
        build(tmp_path)
    assert [precious] == list(tmp_path.iterdir())


def test_files_added_to_an_archive_survive_the_refusal_to_rebuild(tmp_path: Path) -> None:
    build(tmp_path, scale="small")
    (tmp_path / "mine.dcm").write_text("keep me")
    with pytest.raises(FileExistsError):
        build(tmp_path, scale="small")
    assert (tmp_path / "mine.dcm").read_text() == "keep me"


def test_the_command_line_says_what_it_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "out"), "--small"]) == 0
    assert "planted defects" in capsys.readouterr().out
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    assert main([str(tmp_path / "other")]) == 1
