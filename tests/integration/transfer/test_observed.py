"""What a transfer tells a monitoring system, and that the documentation names it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.ledger import Ledger
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.stopping import StopFlag
from dicom_migration.pacing.task_pacing import TaskPacing
from dicom_migration.policies.throttle import ThrottlePolicy
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shard_transfer import transfer_shard
from dicom_migration.transfer.shards import cut_shards
from tests.archives import HeldInstance, MemoryArchive

ROOT = Path(__file__).parents[3]


class RecordingMetrics:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.durations: Counter[tuple[str, str]] = Counter()
        self.gauges: dict[str, float] = {}
        self.tags: set[str] = set()

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        self.counts[name] += amount
        self.tags |= set(tags.values())

    def gauge(self, name: str, value: float, **tags: str) -> None:
        self.gauges[name] = value

    def seconds(self, name: str, duration: float, **tags: str) -> None:
        self.durations[name, tags["phase"]] += duration  # type: ignore[assignment]


def test_studies_bytes_retries_and_seconds_are_counted(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    failed: list[str] = []

    def fail_once(held: HeldInstance) -> None:
        if not failed:
            failed.append(held.record.study_instance_uid)
            raise TransientError("The association broke.", reason=ReasonCode.SOURCE_FAILED)

    metrics = RecordingMetrics()
    (shard,) = cut_shards(ledger, wave, TransferPolicy(studies_per_shard=100))
    leases = Leases(ledger, "one")
    policy = ThrottlePolicy(bytes_per_second=250_000)
    with TaskPacing(ledger, policy, archive.name, leases, StopFlag(), metrics) as pacing:
        summary = transfer_shard(
            replace(archive, before_delivery=fail_once),
            store,
            ledger,
            shard,
            TransferPolicy(),
            last_try=False,
            pacing=pacing,
        )
    sent = {name.removeprefix("dicom_migration.transfer."): n for name, n in metrics.counts.items()}
    assert sent == {
        "studies": summary["transferred"],
        "instances": len(archive.instances),
        "bytes_received": sum(len(held.dataset) for held in archive.instances),
        "bytes_stored": summary["bytes_stored"],
        "retries": 1,
    }
    assert summary["retries"] == 1
    phases = {phase: seconds for (_, phase), seconds in metrics.durations.items()}
    assert set(phases) == {"query", "retrieve", "finish", "wait"}
    assert phases["retrieve"] >= phases["wait"] > 0, "a limit of bytes makes the retrieval wait"
    assert metrics.gauges["dicom_migration.transfer.workers"] == 1
    assert metrics.tags == {"transferred", "source_failed"}, "no identifier is a tag"


def test_every_name_in_the_code_is_in_the_documentation() -> None:
    package = ROOT / "plugins" / "dicom_migration"
    pattern = re.compile(r'f"\{PREFIX\}\.([a-z_.]+)"')
    used = {
        name
        for folder in ("pacing", "transfer", "operators")
        for path in (package / folder).glob("*.py")
        for name in pattern.findall(path.read_text())
    }
    page = (ROOT / "docs" / "observability.md").read_text()
    assert len(used) >= 10
    assert [name for name in sorted(used) if f"`dicom_migration.{name}`" not in page] == []
