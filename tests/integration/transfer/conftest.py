"""A ledger, a bucket, and a wave of real files that waits for its transfer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from dicom_migration.ledger import Ledger, schema
from tests.archives import HeldInstance, MemoryArchive, held_from, real_file
from tests.integration.cloud.conftest import (  # noqa: F401 - fixtures
    bucket,
    endpoint,
    faulty_store,
    moto_server,
    open_store,
    proxy,
    s3,
    store,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WAVE = "Ptest-W0001"
FILES = (
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "JPEG2000.dcm",
    "ExplVR_BigEnd.dcm",
    "image_dfl.dcm",
    "rtplan.dcm",
    "SC_rgb_rle_2frame.dcm",
    "waveform_ecg.dcm",
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        opened.upgrade()
        yield opened


@pytest.fixture
def held() -> list[HeldInstance]:
    return [held_from(real_file(name)) for name in FILES]


@pytest.fixture
def archive(held: list[HeldInstance]) -> MemoryArchive:
    return MemoryArchive(held)


@pytest.fixture
def wave(ledger: Ledger, archive: MemoryArchive) -> str:
    """All studies of the archive, cleansed, in one wave."""
    uids = {held.record.study_instance_uid for held in archive.instances}
    with ledger.write() as connection:
        connection.execute(
            insert(schema.wave).values(
                wave_id=WAVE,
                plan_id="Ptest",
                ordinal=1,
                state="cleansed",
                approved_at=NOW,
                updated_at=NOW,
            )
        )
        connection.execute(
            insert(schema.study),
            [
                {
                    "study_instance_uid": uid,
                    "state": "cleansed",
                    "wave_id": WAVE,
                    "storage_class": "GLACIER_IR",
                    "first_seen_at": NOW,
                    "last_seen_at": NOW,
                    "updated_at": NOW,
                }
                for uid in sorted(uids)
            ],
        )
    return WAVE
