"""DCMTK as referee of recompression: pixels decoded and headers read by another implementation."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_migration.datasets import read_header
from dicom_migration.transfer.reencoding import explicit_little_endian
from tests.archives import HeldInstance, held_from
from tests.conftest import require
from tests.integration.transfer.test_correcting import real_instances
from tests.recompression import (
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    TARGETS,
    file_of,
    header_bytes,
    tried,
    uncompressed_instances,
)

REAL = dict(uncompressed_instances())


@pytest.mark.peers
def test_dcmdjpls_decodes_the_same_pixels(tmp_path: Path) -> None:
    require(shutil.which("dcmdjpls"), "dcmtk")
    source, target = tmp_path / "in.dcm", tmp_path / "out.dcm"
    compared = 0
    for name, instance in REAL.items():
        result = tried(instance)
        if result.new is None:
            continue
        source.write_bytes(result.stored)
        subprocess.run(["dcmdjpls", str(source), str(target)], check=True, timeout=60)
        before, after = dcmread(BytesIO(file_of(instance))), dcmread(target)
        assert np.array_equal(before.pixel_array, after.pixel_array), name
        compared += 1
    assert compared >= 40


@pytest.mark.peers
@pytest.mark.parametrize("target", TARGETS)
def test_dcmtk_sees_no_other_difference(target: str, tmp_path: Path) -> None:
    require(shutil.which("dcmconv") and shutil.which("dcmdump"), "dcmtk")
    compared = 0
    for name, instance in REAL.items():
        result = tried(instance, target=target)
        if result.new is None:
            continue
        new = held_from(result.stored)
        explicit = replace(_header_of(new), transfer_syntax_uid=EXPLICIT)
        before = _converted(_header_of(instance), tmp_path)
        assert _converted(explicit, tmp_path) == before, name
        if instance.transfer_syntax_uid == EXPLICIT:
            assert _dumped(result.stored, tmp_path) == _dumped(file_of(instance), tmp_path), name
        compared += before is not None
    assert compared >= 40


@pytest.mark.peers
@pytest.mark.parametrize("lengths", ["+e", "-e"])
def test_dcmtk_finds_every_real_header_the_same_after_implicit_became_explicit(
    lengths: str, tmp_path: Path
) -> None:
    require(shutil.which("dcmconv"), "dcmtk")
    compared = 0
    for name, instance in real_instances():
        implicit = _converted(_header_of(instance), tmp_path, lengths)
        if implicit is None:
            continue
        signed = bool(read_header(BytesIO(implicit.dataset), IMPLICIT).get("PixelRepresentation"))
        explicit = explicit_little_endian(implicit.dataset, IMPLICIT, signed=signed)
        again = replace(implicit, dataset=explicit, transfer_syntax_uid=EXPLICIT)
        assert _converted(again, tmp_path) == _converted(implicit, tmp_path), name
        compared += 1
    assert compared > 100


def _header_of(instance: HeldInstance) -> HeldInstance:
    """Return the instance without Pixel Data, inflated."""
    deflated = instance.transfer_syntax_uid == DEFLATED
    syntax = EXPLICIT if deflated else instance.transfer_syntax_uid
    return replace(instance, dataset=header_bytes(instance), transfer_syntax_uid=syntax)


def _converted(instance: HeldInstance, folder: Path, lengths: str = "+e") -> HeldInstance | None:
    """Return `instance` as dcmconv writes it: implicit little endian, without group lengths."""
    source, target = folder / "in.dcm", folder / "out.dcm"
    source.write_bytes(file_of(instance))
    target.unlink(missing_ok=True)
    command = ["dcmconv", "+ti", "-g", lengths, str(source), str(target)]
    run = subprocess.run(command, capture_output=True, check=False, timeout=60)
    if run.returncode or not target.exists():
        return None
    written = target.read_bytes()
    start = 144 + int.from_bytes(written[140:144], "little")
    return replace(instance, dataset=written[start:], transfer_syntax_uid=IMPLICIT)


def _dumped(file: bytes, folder: Path) -> list[str]:
    """Return dcmdump's lines of the dataset without Pixel Data at the top, which ends it."""
    source = folder / "dump.dcm"
    source.write_bytes(file)
    run = subprocess.run(
        ["dcmdump", "+L", str(source)], capture_output=True, check=True, timeout=60
    )
    lines = run.stdout.decode("latin-1").splitlines()
    top = [line for line in lines if line[:1] in "( " and line[:6] != "(0002,"]
    pixels = next(i for i, line in enumerate(top) if line.startswith("(7fe0,0010)"))
    after = [line for line in top[pixels:] if line.startswith(("(fffc", "(fffa"))]
    return [line for line in top[:pixels] if not line.startswith("(7fe0,0000)")] + after[:1]
