"""What a packed study holds on to while its series wait to be whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from dicom_migration.archive import InstanceIdentity
from dicom_migration.cloud import PutResult, StoredObject
from dicom_migration.transfer.instance_pass import Examined, PassSettings
from dicom_migration.transfer.series_layout import SeriesZipLayout
from dicom_migration.transfer.spool import MemoryBudget, Spool

SETTINGS = PassSettings("1.2", "test", "STANDARD", (), layout="series-zip")
NO_MEMORY = MemoryBudget(0)  # every instance is as one that is too large for it


@dataclass
class Shelf:
    """A store that keeps what it is given; no more than the layout asks of one."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def put(self, key, body, *, size, sha256, **_):  # type: ignore[no-untyped-def]
        self.objects[key] = body.read()
        assert hashlib.sha256(self.objects[key]).hexdigest() == sha256
        return PutResult(StoredObject(key, size, sha256, "STANDARD", ""), created=True)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def instance(series: int, number: int) -> Examined:
    data = f"instance {number} of series {series}".encode() * 40
    spool = Spool(data, NO_MEMORY)
    spool.seal()
    uid = f"1.2.{series}.{number}"
    digest = hashlib.sha256(data).hexdigest()
    identity = InstanceIdentity("1.3", uid, "1.2.840.10008.1.2.1")
    return Examined(identity, f"1.2.{series}", spool, digest, 0, digest, None, "", (), {})


def test_a_study_of_many_series_of_large_instances_takes_few_file_descriptors() -> None:
    shelf = Shelf()
    layout = SeriesZipLayout(shelf, SETTINGS, NO_MEMORY)  # type: ignore[arg-type]
    before = open_files()
    for series in range(5):
        for number in range(60):
            layout.keep(instance(series, number))
    assert open_files() - before < 100
    rows = layout.finish()
    assert len(rows) == 300
    for row in rows:
        assert row.offset is not None
        stored = shelf.objects[row.object_key][row.offset : row.offset + row.object_bytes]
        assert hashlib.sha256(stored).hexdigest() == row.object_sha256
    layout.discard()
    assert open_files() == before
