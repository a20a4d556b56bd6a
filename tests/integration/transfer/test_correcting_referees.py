"""The standard's referee on corrected instances: never more errors than before."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_migration.policies.corrections import RuleSet, load_ruleset
from include.sample_archive import build
from include.sample_archive.index import ArchiveIndex
from tests.archives import HeldInstance, held_from
from tests.conftest import require
from tests.correction import WHEN, before_and_after
from tests.integration.transfer.test_correcting import Correction, real_instances

pytestmark = pytest.mark.peers
ANY = Correction("c-any", "StudyDescription", "CORRECTED", "", "any", WHEN)


@pytest.fixture(scope="module")
def ruleset() -> RuleSet:
    return load_ruleset()


def errors(program: str, *files: Path) -> Counter[str]:
    """Return the referee's errors, without where in the file they are."""
    run = subprocess.run([program, *map(str, files)], capture_output=True, check=False, timeout=60)
    lines = (run.stdout + run.stderr).decode("latin-1").splitlines()
    return Counter(line for line in lines if line.startswith("Error"))


def planted(folder: Path) -> Iterator[tuple[str, HeldInstance]]:
    """Yield the first instance of every study that carries a defect."""
    for study in ArchiveIndex.read(folder).studies:
        for path in study.files[:1] if study.defects else []:
            try:
                yield "+".join(study.defects), held_from((folder / path).read_bytes())
            except Exception:  # noqa: BLE001, S112 - some defects are that it cannot be read
                continue


def test_no_corrected_real_file_has_more_errors(tmp_path: Path, ruleset: RuleSet) -> None:
    require(shutil.which("dciodvfy"), "dicom3tools")
    compared = 0
    for name, held in real_instances():
        both = before_and_after(held, ruleset, (ANY,))
        assert both is not None
        before, after = tmp_path / f"b-{name}", tmp_path / f"a-{name}"
        before.write_bytes(both[0])
        after.write_bytes(both[1])
        assert not errors("dciodvfy", after) - errors("dciodvfy", before), name
        compared += 1
    assert compared > 100


def test_a_planted_defect_is_fewer_errors_or_as_many_once_corrected(
    tmp_path: Path, ruleset: RuleSet
) -> None:
    require(shutil.which("dciodvfy"), "dicom3tools")
    build(tmp_path / "archive", 7, "full")
    better = set()
    for defects, held in planted(tmp_path / "archive"):
        both = before_and_after(held, ruleset)
        if both is None:
            continue
        before, after = tmp_path / "before.dcm", tmp_path / "after.dcm"
        before.write_bytes(both[0])
        after.write_bytes(both[1])
        told = errors("dciodvfy", before), errors("dciodvfy", after)
        assert not told[1] - told[0], defects
        if told[1] != told[0]:
            better.add(defects)
    assert {"overlong_body_part", "invalid_patient_sex"} <= better, better


def test_a_corrected_study_is_as_consistent_as_before(tmp_path: Path, ruleset: RuleSet) -> None:
    require(shutil.which("dcentvfy"), "dicom3tools")
    build(tmp_path / "archive", 7, "full")
    folder = tmp_path / "archive"
    judged = 0
    for study in ArchiveIndex.read(folder).studies:
        if not study.defects or {"invalid_patient_sex", "overlong_body_part"}.isdisjoint(
            study.defects
        ):
            continue
        sides: tuple[list[Path], list[Path]] = ([], [])
        for number, path in enumerate(study.files):
            both = before_and_after(held_from((folder / path).read_bytes()), ruleset)
            assert both is not None
            for side, content in zip(sides, both, strict=True):
                side.append(tmp_path / f"{len(sides[0])}-{number}-{side is sides[0]}.dcm")
                side[-1].write_bytes(content)
        assert not errors("dcentvfy", *sides[1]) - errors("dcentvfy", *sides[0])
        judged += 1
    assert judged >= 2
