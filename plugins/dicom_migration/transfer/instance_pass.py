"""One instance's way from received bytes to what will be stored of it, and its manifest row."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicom_migration.archive import InstanceIdentity
from dicom_migration.datasets import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, deflate, inflate
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.manifest import ManifestRow
from dicom_migration.policies.transfer import Recompression
from dicom_migration.transfer.correcting import Correction, correct_header
from dicom_migration.transfer.earlier_copy import EarlierCopy
from dicom_migration.transfer.hashing import ObjectHashes, hash_object, sha256_of
from dicom_migration.transfer.header_reading import (
    Facts,
    HeaderReading,
    read_closely,
    read_quickly,
)
from dicom_migration.transfer.part10 import part10_header
from dicom_migration.transfer.pixel_data import (
    PixelValue,
    locate_pixel_value,
    missing_pixel_bytes,
)
from dicom_migration.transfer.recompressing import recompress
from dicom_migration.transfer.spool import MemoryBudget, Spool
from dicom_migration.uids import checked_uid
from dicom_migration.units import MIB


@dataclass(frozen=True, slots=True)
class PassSettings:
    """What every instance of a study has in common.

    Attributes
    ----------
    promised_instances
        What the source's own database promised at discovery, None when it did not tell.
    layout
        ``instance`` or ``series-zip``.
    max_packed_bytes
        Of the latter: see :class:`~dicom_migration.policies.transfer.TransferPolicy`.
    earlier
        What an earlier transfer stored of the study, None when there was none.
    """

    study_instance_uid: str
    source: str
    storage_class: str
    corrections: tuple[Correction, ...]
    spool_folder: Path | None = None
    promised_instances: int | None = None
    recompression: Recompression = field(default_factory=Recompression)
    layout: str = "instance"
    max_packed_bytes: int = 4096 * MIB
    earlier: EarlierCopy | None = None

    @property
    def stored_keys(self) -> frozenset[str]:
        """Keys of an earlier transfer's objects; those that may hold the same bytes."""
        return self.earlier.keys if self.earlier else frozenset()


@dataclass(frozen=True, slots=True)
class Examined:
    """An instance that was judged, corrected where approved, and hashed; not yet stored.

    Attributes
    ----------
    stored
        The object to be stored, a Part 10 file; whoever keeps the instance closes it.
    object_sha256
        Of that object, hexadecimal.
    recompression, stored_transfer_syntax_uid, source_pixel_sha256
        As the manifest has them.
    """

    identity: InstanceIdentity
    series_instance_uid: str
    stored: Spool
    object_sha256: str
    dataset_bytes: int
    dataset_sha256: str
    pixel_bytes: int | None
    pixel_sha256: str
    corrections: tuple[str, ...]
    facts: Facts
    recompression: str = ""
    stored_transfer_syntax_uid: str = ""
    source_pixel_sha256: str = ""

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return self.identity.sop_instance_uid

    def row(self, settings: PassSettings, object_key: str = "") -> ManifestRow:
        """Return the manifest row of the instance, stored alone under `object_key`."""
        return ManifestRow(
            study_instance_uid=settings.study_instance_uid,
            series_instance_uid=self.series_instance_uid,
            sop_instance_uid=self.identity.sop_instance_uid,
            sop_class_uid=self.identity.sop_class_uid,
            transfer_syntax_uid=self.identity.transfer_syntax_uid,
            dataset_bytes=self.dataset_bytes,
            dataset_sha256=self.dataset_sha256,
            object_bytes=self.stored.size,
            object_sha256=self.object_sha256,
            pixel_bytes=self.pixel_bytes,
            pixel_sha256=self.pixel_sha256,
            object_key=object_key,
            source=settings.source,
            corrections=self.corrections,
            recompression=self.recompression,
            stored_transfer_syntax_uid=self.stored_transfer_syntax_uid,
            source_pixel_sha256=self.source_pixel_sha256,
            facts=self.facts,
        )


def examine(
    identity: InstanceIdentity, received: Spool, settings: PassSettings, budget: MemoryBudget
) -> Examined:
    """Judge one received instance, correct it where that is approved, and hash it.

    `received` belongs to what is returned, or is closed when it was replaced; after an error it
    is the caller's.

    Raises
    ------
    PermanentError
        ``instance_truncated``, ``pixel_data_invalid``, ``header_unreadable``, ``uid_invalid``,
        ``instance_unexpected`` (of another study) or ``correction_failed``: a person decides.
    TransientError
        The disk is full.
    """
    plain = _Plain(identity, received)
    header = plain.header
    uid = identity.sop_instance_uid
    pixels = locate_pixel_value(plain.data, header.end, identity.transfer_syntax_uid)
    if pixels and (missing := missing_pixel_bytes(header.facts, pixels)):
        raise PermanentError(
            f"Instance {uid} lacks {missing} bytes of pixel data by its own Rows and Columns.",
            reason=ReasonCode.PIXEL_DATA_INVALID,
            next_step="Restore the instance at the source from its backup, or exclude the study.",
        )
    series = _checked_place(header, uid, settings)
    hashes = plain.hashes(pixels)
    applied = [
        c for c in settings.corrections if c.applies_to(series, uid) and c.expects(header.facts)
    ]
    stored, object_sha256, facts = received, hashes.whole, header.facts
    notes: tuple[str, ...] = ()
    if applied:
        stored, facts, notes = _corrected(plain, applied, settings, budget)
        received_bytes = received.dataset_bytes
        received.close()
        object_sha256 = hash_object(stored).whole
    else:
        received_bytes = received.dataset_bytes
    examined = Examined(
        identity=identity,
        series_instance_uid=series,
        stored=stored,
        object_sha256=object_sha256,
        dataset_bytes=received_bytes,
        dataset_sha256=hashes.dataset,
        pixel_bytes=pixels.length if pixels else None,
        pixel_sha256=hashes.pixels,
        corrections=(*sorted(c.correction_id for c in applied), *notes),
        facts=facts,
    )
    return _recompressed(examined, settings, budget)


class _Plain:
    """A received dataset as it is without deflation, and its header.

    Attributes
    ----------
    data, start
        Bytes that hold the dataset from `start` to their end.
    """

    def __init__(self, identity: InstanceIdentity, received: Spool) -> None:
        self.identity = identity
        self.received = received
        self.deflated = identity.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
        view = received.contents()
        self.data: bytes | memoryview = view
        self.start = received.header_bytes
        if self.deflated:
            self.data, self.start = inflate(view[self.start :]), 0
        syntax = identity.transfer_syntax_uid
        self.header: HeaderReading = read_quickly(self.data, self.start, syntax) or read_closely(
            io.BytesIO(self.data) if self.deflated else received.file(),
            self.start,
            syntax,
            identity.sop_instance_uid,
        )

    def head(self) -> bytes:
        """Return the header's bytes."""
        return bytes(self.data[self.start : self.header.end])

    def hashes(self, pixels: PixelValue | None) -> ObjectHashes:
        """Return the hashes of the object as received, and of the Pixel Data value."""
        if not self.deflated:
            return hash_object(self.received, pixels)
        hashes = hash_object(self.received)
        value = sha256_of(self.data, pixels) if pixels else ""
        return ObjectHashes(hashes.whole, hashes.dataset, value)


def _corrected(
    plain: _Plain,
    corrections: Sequence[Correction],
    settings: PassSettings,
    budget: MemoryBudget,
) -> tuple[Spool, Facts, tuple[str, ...]]:
    """Return the corrected object, its facts, and what is to be noted beside the corrections."""
    syntax = plain.identity.transfer_syntax_uid
    charset = str(plain.header.facts["specific_character_set"] or "")
    made = correct_header(plain.head(), syntax, charset, corrections, settings.source)
    corrected = made.header
    spool = Spool(part10_header(plain.identity), budget, settings.spool_folder)
    try:
        if plain.deflated:
            spool.write(deflate(corrected + plain.data[plain.header.end :]))
        else:
            spool.write(corrected)
            for piece in plain.received.pieces(plain.header.end):
                spool.write(piece)
        spool.seal()
        header = read_closely(io.BytesIO(corrected), 0, syntax, plain.identity.sop_instance_uid)
    except BaseException:
        spool.close()
        raise
    return spool, header.facts, made.notes


def _recompressed(examined: Examined, settings: PassSettings, budget: MemoryBudget) -> Examined:
    """Return the instance with a smaller object where the policy and the proof allow one."""
    try:
        outcome, smaller = recompress(
            examined.identity,
            examined.stored,
            settings.recompression,
            lambda head: Spool(head, budget, settings.spool_folder),
        )
    except BaseException:
        examined.stored.close()
        raise
    if smaller is None:
        return replace(examined, recompression=outcome.value)
    examined.stored.close()
    return replace(
        examined,
        stored=smaller.stored,
        object_sha256=smaller.hashes.whole,
        pixel_bytes=smaller.pixel_bytes,
        pixel_sha256=smaller.hashes.pixels,
        recompression=outcome.value,
        stored_transfer_syntax_uid=smaller.transfer_syntax_uid,
        source_pixel_sha256=smaller.source_pixel_sha256,
    )


def _checked_place(header: HeaderReading, uid: str, settings: PassSettings) -> str:
    """Return the Series Instance UID after checking that the header is of this instance."""
    found_study = checked_uid(header.study_instance_uid, "Study Instance UID")
    if found_study != settings.study_instance_uid:
        raise PermanentError(
            f"Instance {uid} came with study {settings.study_instance_uid} but its header names "
            f"study {found_study}.",
            reason=ReasonCode.INSTANCE_UNEXPECTED,
            next_step="Reconcile the study at the source (its database and headers disagree).",
        )
    if (found := checked_uid(header.sop_instance_uid, "SOP Instance UID")) != uid:
        raise PermanentError(
            f"Instance {uid} has another SOP Instance UID, {found}, in its header.",
            reason=ReasonCode.INSTANCE_UNEXPECTED,
            next_step="Reconcile the instance at the source (its database and header disagree).",
        )
    return checked_uid(header.series_instance_uid, "Series Instance UID")
