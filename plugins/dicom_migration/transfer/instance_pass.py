"""One instance's way from received bytes to a stored object and its manifest row."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dicom_migration.archive import InstanceIdentity
from dicom_migration.cloud import CloudStore
from dicom_migration.datasets import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    deflate,
    inflate,
    read_header,
)
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.header_facts import read_header_facts
from dicom_migration.manifest import ManifestRow
from dicom_migration.transfer.correcting import Correction, correct_header
from dicom_migration.transfer.part10 import part10_header
from dicom_migration.transfer.pixel_data import (
    PixelValue,
    locate_pixel_value,
    missing_pixel_bytes,
    pixel_sha256,
)
from dicom_migration.transfer.splicing import ElementsApart
from dicom_migration.transfer.spool import Spool
from dicom_migration.uids import checked_uid

Facts = dict[str, str | int | None]
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class PassSettings:
    """What every instance of a study has in common."""

    study_instance_uid: str
    source: str
    storage_class: str
    corrections: tuple[Correction, ...]
    spool_memory_bytes: int
    spool_folder: Path | None = None
    #: What the source's own database promised at discovery, None when it did not tell.
    promised_instances: int | None = None


def object_key(study: str, series: str, instance: str, content_sha256: str = "") -> str:
    """Return the key of an instance's object; `content_sha256` tells apart what shares a UID."""
    distinct = f".{content_sha256[:16]}" if content_sha256 else ""
    return f"studies/{study}/{series}/{instance}{distinct}.dcm"


def pass_instance(
    store: CloudStore, identity: InstanceIdentity, received: Spool, settings: PassSettings
) -> ManifestRow:
    """Judge, correct where approved, store, and describe one received instance.

    Raises
    ------
    PermanentError
        ``instance_truncated``, ``pixel_data_invalid``, ``header_unreadable``, ``uid_invalid``,
        ``instance_unexpected`` (of another study) or ``correction_failed``: a person decides.
    TransientError
        The store is busy or away.
    """
    uid = identity.sop_instance_uid
    plain, start = _plain_dataset(identity, received)
    header = read_header(plain, identity.transfer_syntax_uid, sop_instance_uid=uid)
    pixels_start = plain.tell()
    end = plain.seek(0, io.SEEK_END)
    pixels = locate_pixel_value(plain, pixels_start, end, identity.transfer_syntax_uid)
    if pixels and (missing := missing_pixel_bytes(header, pixels)):
        raise PermanentError(
            f"Instance {uid} lacks {missing} bytes of pixel data by its own Rows and Columns.",
            reason=ReasonCode.PIXEL_DATA_INVALID,
            next_step="Restore the instance at the source from its backup, or exclude the study.",
        )
    series = _checked_place(
        header.get("StudyInstanceUID"),
        header.get("SeriesInstanceUID"),
        header.get("SOPInstanceUID"),
        uid,
        settings,
    )
    plain.seek(start)
    head = plain.read(pixels_start - start)
    ElementsApart(head, identity.transfer_syntax_uid)  # or it is truncated
    facts = read_header_facts(header)
    corrections = [
        c for c in settings.corrections if c.applies_to(series, uid) and c.expects(facts)
    ]
    stored = received
    if corrections:
        stored, facts = _corrected(identity, head, plain, facts, corrections, settings)
    try:
        key = _store(store, stored, series, uid, settings)
        return ManifestRow(
            study_instance_uid=settings.study_instance_uid,
            series_instance_uid=series,
            sop_instance_uid=uid,
            sop_class_uid=identity.sop_class_uid,
            transfer_syntax_uid=identity.transfer_syntax_uid,
            dataset_bytes=received.dataset_bytes,
            dataset_sha256=received.dataset_sha256,
            object_bytes=stored.size,
            object_sha256=stored.object_sha256,
            pixel_bytes=pixels.length if pixels else None,
            pixel_sha256=_hash(plain, pixels),
            object_key=key,
            source=settings.source,
            corrections=tuple(sorted(c.correction_id for c in corrections)),
            facts=facts,
        )
    finally:
        if stored is not received:
            stored.close()


def _corrected(
    identity: InstanceIdentity,
    head: bytes,
    plain: BinaryIO,
    facts: Facts,
    corrections: Sequence[Correction],
    settings: PassSettings,
) -> tuple[Spool, Facts]:
    """Return the corrected object and its facts; `plain` stands where the header ends."""
    syntax = identity.transfer_syntax_uid
    corrected = correct_header(
        head, syntax, str(facts["specific_character_set"] or ""), corrections
    )
    spool = Spool(part10_header(identity), settings.spool_memory_bytes, settings.spool_folder)
    if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        spool.write(deflate(corrected + plain.read()))
    else:
        spool.write(corrected)
        while piece := plain.read(_PIECE):
            spool.write(piece)
    header = read_header(io.BytesIO(corrected), syntax, sop_instance_uid=identity.sop_instance_uid)
    return spool, read_header_facts(header)


def _plain_dataset(identity: InstanceIdentity, received: Spool) -> tuple[BinaryIO, int]:
    """Return the dataset's bytes, inflated when deflated, positioned at the start; and where."""
    file, start = received.file, received.header_bytes
    file.seek(start)
    if identity.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        return io.BytesIO(inflate(file.read())), 0
    return file, start


def _checked_place(
    study: object, series: object, instance: object, uid: str, settings: PassSettings
) -> str:
    """Return the Series Instance UID after checking that the header is of this instance."""
    found_study = checked_uid(study or "", "Study Instance UID")
    if found_study != settings.study_instance_uid:
        raise PermanentError(
            f"Instance {uid} came with study {settings.study_instance_uid} but its header names "
            f"study {found_study}.",
            reason=ReasonCode.INSTANCE_UNEXPECTED,
            next_step="Reconcile the study at the source (its database and headers disagree).",
        )
    if (found := checked_uid(instance or "", "SOP Instance UID")) != uid:
        raise PermanentError(
            f"Instance {uid} has another SOP Instance UID, {found}, in its header.",
            reason=ReasonCode.INSTANCE_UNEXPECTED,
            next_step="Reconcile the instance at the source (its database and header disagree).",
        )
    return checked_uid(series or "", "Series Instance UID")


def _store(store: CloudStore, stored: Spool, series: str, uid: str, settings: PassSettings) -> str:
    """Create the object; where other bytes hold the key, under a key of its own."""
    study, digest = settings.study_instance_uid, stored.object_sha256
    key = object_key(study, series, uid)
    for candidate in (key, object_key(study, series, uid, digest)):
        stored.file.seek(0)
        try:
            store.put(
                candidate,
                stored.file,
                size=stored.size,
                sha256=digest,
                storage_class=settings.storage_class,
                content_type="application/dicom",
            )
        except PermanentError as error:
            if error.reason is not ReasonCode.INSTANCE_CONFLICT:
                raise
        else:
            return candidate
    raise PermanentError(
        f"Instance {uid}: the key made of its own hash holds other bytes.",
        reason=ReasonCode.INSTANCE_CONFLICT,
        next_step="Somebody wrote into the target's prefix; compare the object with its name.",
    )


def _hash(file: BinaryIO, pixels: PixelValue | None) -> str:
    return pixel_sha256(file, pixels) if pixels else ""
