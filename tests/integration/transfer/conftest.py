"""A ledger, a bucket, and a wave of real files that waits for its transfer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.ledger import Ledger, schema
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.stopping import StopFlag
from dicom_migration.pacing.task_pacing import TaskPacing
from dicom_migration.policies.throttle import ThrottlePolicy
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shard_transfer import transfer_shard
from dicom_migration.transfer.shards import Shard
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
POLICY = TransferPolicy(studies_per_shard=100)
THROTTLE = ThrottlePolicy(max_associations=4)
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


def states(ledger: Ledger) -> dict[str, str]:
    with ledger.read() as connection:
        rows = connection.execute(select(schema.study.c.study_instance_uid, schema.study.c.state))
        return {row.study_instance_uid: row.state for row in rows}


def in_order_of_transfer(ledger: Ledger) -> list[str]:
    table = schema.event.c
    with ledger.read() as connection:
        return list(
            connection.scalars(
                select(table.study_instance_uid)
                .where(table.kind == "study.transferred")
                .order_by(table.at)
            )
        )


@pytest.fixture
def transfer(
    store: S3Store,  # noqa: F811 - the fixture
    ledger: Ledger,
) -> Callable[..., dict[str, int | float]]:
    """Run a shard as one of several workers would."""

    def run(
        archive: MemoryArchive,
        shard: Shard,
        *,
        holder: str = "one",
        stop: StopFlag | None = None,
        last_try: bool = False,
    ) -> dict[str, int | float]:
        stop = stop or StopFlag()
        leases = Leases(ledger, holder)
        with TaskPacing(ledger, THROTTLE, archive.name, leases, stop) as pacing:
            return transfer_shard(
                archive, store, ledger, shard, POLICY, last_try=last_try, pacing=pacing
            )

    return run
