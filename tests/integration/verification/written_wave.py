"""A transferred wave, written by hand: source, objects, manifests and ledger rows that agree."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pydicom
from pydicom.filereader import dcmread
from pydicom.filewriter import write_file_meta_info
from sqlalchemy import insert

from dicom_migration.archive import (
    ArchiveCheck,
    InstanceIdentity,
    InstanceRecord,
    InstanceSink,
    RetrieveOutcome,
    SeriesRecord,
    StudyQuery,
    StudyRecord,
)
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.header_facts import read_header_facts
from dicom_migration.ledger import Ledger, schema, utc_now
from dicom_migration.manifest import ManifestRow, encode_manifest, manifest_key
from dicom_migration.transfer.series_zip import SeriesZip
from dicom_migration.transfer.zip_format import Entry

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
WAVE = "wave-0001"


@dataclass
class Instance:
    """One real file, taken apart: its identity and its dataset bytes as a source sends them."""

    record: InstanceRecord
    identity: InstanceIdentity
    dataset: bytes
    pixels: bytes | None
    facts: dict[str, Any]
    modality: str


def read_instance(path: Path, study: str = "") -> Instance | None:
    """Return the instance in a file, None when it is not a whole Part 10 instance."""
    try:
        parsed = dcmread(path)
        meta = parsed.file_meta
        syntax = str(meta.TransferSyntaxUID)
        uids = [
            str(parsed[k].value)
            for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        ]
        sop_class = str(parsed.SOPClassUID)
        modality = str(parsed.get("Modality", "OT"))
        pixels = bytes(parsed.PixelData) if "PixelData" in parsed else None
        undefined = "PixelData" in parsed and parsed["PixelData"].is_undefined_length
        facts = read_header_facts(dcmread(path, stop_before_pixels=True))
    except Exception:  # noqa: BLE001 - some of them are broken on purpose
        return None
    raw = path.read_bytes()
    start = 144 + int.from_bytes(raw[140:144], "little")
    if raw[128:132] != b"DICM" or not all(uids) or (study and uids[0] != study):
        return None
    if undefined and pixels is not None and pixels[-8:-4] == b"\xfe\xff\xdd\xe0":
        pixels = pixels[:-8]
    return Instance(
        InstanceRecord(*uids, sop_class_uid=sop_class),
        InstanceIdentity(sop_class, uids[2], syntax),
        raw[start:],
        pixels,
        facts,
        modality,
    )


def real_instances() -> list[Instance]:
    """Return every readable instance of the pydicom wheel, one a SOP Instance UID."""
    found = (read_instance(path) for path in sorted(TEST_FILES.rglob("*")) if path.is_file())
    return list({i.record.sop_instance_uid: i for i in found if i is not None}.values())


def part10(instance: Instance) -> bytes:
    """Return the stored object of an instance."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = instance.identity.sop_class_uid
    meta.MediaStorageSOPInstanceUID = instance.identity.sop_instance_uid
    meta.TransferSyntaxUID = instance.identity.transfer_syntax_uid
    meta.ImplementationClassUID = "1.2.3"
    buffer = io.BytesIO()
    write_file_meta_info(buffer, meta)
    return bytes(128) + b"DICM" + buffer.getvalue() + instance.dataset


class MemoryArchive:
    """A source that keeps instances in memory and can be changed between two looks."""

    name = "memory"

    def __init__(self, instances: list[Instance]) -> None:
        self.instances = list(instances)
        self.failing: set[str] = set()

    def check(self) -> ArchiveCheck:
        return ArchiveCheck("memory", 0.0, {})

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        for uid in dict.fromkeys(i.record.study_instance_uid for i in self.instances):
            if not query.study_instance_uids or uid in query.study_instance_uids:
                yield StudyRecord(uid)

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        return iter(())

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        if study_instance_uid in self.failing:
            raise TransientError("no answer", reason=ReasonCode.SOURCE_UNREACHABLE)
        for instance in self.instances:
            if instance.record.study_instance_uid == study_instance_uid:
                yield instance.record

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        outcome = RetrieveOutcome()
        for record in self.find_instances(study_instance_uid):
            outcome.delivered += self.retrieve_instance(record, sink).delivered
        return outcome

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        for held in self.instances:
            if held.record.sop_instance_uid == instance.sop_instance_uid:
                writer = sink.open(held.identity)
                writer.write(held.dataset)
                writer.commit()
                return RetrieveOutcome(delivered=[instance.sop_instance_uid])
        return RetrieveOutcome()

    def close(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


@dataclass
class WrittenWave:
    """What was written: manifest rows by study, for a test to damage."""

    archive: MemoryArchive
    store: CloudStore
    ledger: Ledger
    rows: dict[str, list[ManifestRow]] = field(default_factory=dict)

    @property
    def studies(self) -> list[str]:
        return sorted(self.rows)


def put(store: CloudStore, key: str, data: bytes, storage_class: str = "STANDARD") -> str:
    digest = hashlib.sha256(data).hexdigest()
    store.put(key, data, size=len(data), sha256=digest, storage_class=storage_class)
    return digest


def row_of(instance: Instance, stored: bytes, source: str = "memory") -> ManifestRow:
    record = instance.record
    return ManifestRow(
        study_instance_uid=record.study_instance_uid,
        series_instance_uid=record.series_instance_uid,
        sop_instance_uid=record.sop_instance_uid,
        sop_class_uid=record.sop_class_uid,
        transfer_syntax_uid=instance.identity.transfer_syntax_uid,
        dataset_bytes=len(instance.dataset),
        dataset_sha256=hashlib.sha256(instance.dataset).hexdigest(),
        object_bytes=len(stored),
        object_sha256=hashlib.sha256(stored).hexdigest(),
        pixel_bytes=None if instance.pixels is None else len(instance.pixels),
        pixel_sha256="" if instance.pixels is None else hashlib.sha256(instance.pixels).hexdigest(),
        object_key=f"studies/{record.study_instance_uid}/{record.series_instance_uid}/"
        f"{record.sop_instance_uid}.dcm",
        source=source,
        facts=instance.facts,
    )


class _Held:
    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


def pack(files: dict[str, bytes]) -> tuple[bytes, tuple[int, ...]]:
    """Return a stored ZIP of `files` in order, and where each of them begins."""
    entries = [Entry(name, len(data), zlib.crc32(data)) for name, data in files.items()]
    packed = SeriesZip(entries, [_Held(data) for data in files.values()])
    return packed.read(), packed.offsets


def pack_series(
    store: CloudStore, rows: list[ManifestRow], files: dict[str, bytes], storage_class: str
) -> list[ManifestRow]:
    """Store the files of one series as one object and return its rows."""
    rows = sorted(rows, key=lambda row: row.sop_instance_uid)
    data, offsets = pack({f"{r.sop_instance_uid}.dcm": files[r.sop_instance_uid] for r in rows})
    key = f"studies/{rows[0].study_instance_uid}/{rows[0].series_instance_uid}.zip"
    digest = put(store, key, data, storage_class)
    return [
        row.at(key, offset, len(data), digest) for row, offset in zip(rows, offsets, strict=True)
    ]


def write_objects(
    store: CloudStore, instances: list[Instance], storage_class: str, *, packed: bool
) -> dict[str, list[ManifestRow]]:
    """Store instances, one object each or one a series, and return their rows by study."""
    files = {i.record.sop_instance_uid: part10(i) for i in instances}
    rows = [row_of(i, files[i.record.sop_instance_uid]) for i in instances]
    if packed:
        series: dict[tuple[str, str], list[ManifestRow]] = {}
        for row in rows:
            place = row.study_instance_uid, row.series_instance_uid
            series.setdefault(place, []).append(row)
        rows = [
            row
            for members in series.values()
            for row in pack_series(store, members, files, storage_class)
        ]
    else:
        for row in rows:
            put(store, row.object_key, files[row.sop_instance_uid], storage_class)
    studies: dict[str, list[ManifestRow]] = {}
    for row in rows:
        studies.setdefault(row.study_instance_uid, []).append(row)
    return studies


def write_wave(
    store: CloudStore,
    ledger: Ledger,
    instances: list[Instance],
    *,
    wave_id: str = WAVE,
    state: str = "transferred",
    storage_class: str = "STANDARD",
    packed: bool = False,
) -> WrittenWave:
    """Write what a transfer of `instances` leaves behind."""
    archive = MemoryArchive(instances)
    rows_by_study = write_objects(store, instances, storage_class, packed=packed)
    written = WrittenWave(archive, store, ledger, rows_by_study)
    add_wave(ledger, wave_id)
    for uid, rows in written.rows.items():
        data, digest = encode_manifest(rows)
        key = manifest_key(uid, digest)
        put(store, key, data)
        modality = next(i.modality for i in instances if i.record.study_instance_uid == uid)
        add_study(
            ledger,
            uid,
            wave_id,
            state,
            modalities=modality,
            storage_class=storage_class,
            number_of_instances=len(rows),
            received_instances=len(rows),
            stored_instances=len(rows),
            bytes_received=sum(r.dataset_bytes for r in rows),
            bytes_stored=sum(r.object_bytes for r in rows),
            manifest_key=key,
            manifest_sha256=digest,
        )
    return written


def add_wave(ledger: Ledger, wave_id: str) -> None:
    with ledger.write() as connection:
        connection.execute(
            insert(schema.wave).values(
                wave_id=wave_id,
                plan_id="plan-1",
                ordinal=1,
                state="transferred",
                ruleset_sha256="0" * 64,
                approved_by="",
                updated_at=utc_now(),
            )
        )


def add_study(ledger: Ledger, uid: str, wave_id: str, state: str, **columns: Any) -> None:
    now = utc_now()
    with ledger.write() as connection:
        connection.execute(
            insert(schema.study).values(
                study_instance_uid=uid,
                state=state,
                wave_id=wave_id,
                study_date="20190304",
                first_seen_at=now,
                last_seen_at=now,
                updated_at=now,
                **columns,
            )
        )
