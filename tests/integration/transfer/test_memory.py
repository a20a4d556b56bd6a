"""A worker's memory does not grow with what it transfers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicom_migration.cloud.s3_settings import MIB, S3Client
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shards import cut_shards
from tests.archives import WHEEL, MemoryArchive, held_from

BOUND_MIB = 400
PIXEL_MIB = 600


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One multi-frame image that is larger than the bound, of nothing but zeros."""
    dataset = dcmread(WHEEL / "CT_small.dcm")
    dataset.pop("DataSetTrailingPadding", None)
    dataset.Rows = dataset.Columns = 1024
    dataset.NumberOfFrames = PIXEL_MIB // 2
    dataset.PixelData = b""
    place = tmp_path / "archive"
    place.mkdir()
    path = place / "large.dcm"
    dataset.save_as(path, enforce_file_format=True)
    length = PIXEL_MIB * MIB
    with path.open("r+b") as file:  # the length of Pixel Data is the file's last four bytes
        file.seek(-4, 2)
        file.write(length.to_bytes(4, "little"))
        file.truncate(file.tell() + length)
    return place


@pytest.fixture
def archive() -> MemoryArchive:
    return MemoryArchive([held_from((WHEEL / "CT_small.dcm").read_bytes())])


@pytest.mark.parametrize(
    ("layout", "threshold_mib"), [("instance", 1024), ("instance", 64), ("series-zip", 1024)]
)
def test_a_worker_stays_small_with_an_object_larger_than_its_bound(
    ledger: Ledger,
    wave: str,
    folder: Path,
    endpoint: str,
    bucket: str,
    s3: S3Client,
    layout: str,
    threshold_mib: int,
) -> None:
    """In one PUT, in parts, and packed."""
    cut_shards(ledger, wave, TransferPolicy())
    job: dict[str, Any] = {
        "ledger": str(ledger.engine.url),
        "folder": str(folder),
        "endpoint": endpoint,
        "bucket": bucket,
        "layout": layout,
        "multipart_threshold_mib": threshold_mib,
        "wave_id": wave,
    }
    worker = subprocess.run(
        [sys.executable, "-m", "tests.integration.transfer.memory_worker", json.dumps(job)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert worker.returncode == 0, worker.stderr[-2000:]
    told = json.loads(worker.stdout.splitlines()[-1])
    assert told["transferred"] == 1
    assert told["peak_mib"] < BOUND_MIB
    sizes = [entry["Size"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert max(sizes) > PIXEL_MIB * MIB
    with ledger.read() as connection:
        assert connection.scalar(schema.study.select().with_only_columns(schema.study.c.state)) == (
            "transferred"
        )
