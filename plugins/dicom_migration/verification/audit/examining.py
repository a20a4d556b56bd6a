"""One instance of the sample: retrieved again from the source, read from the cloud, compared."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicom_migration.archive import ImageArchive, InstanceRecord
from dicom_migration.archive.sinks import MemorySink
from dicom_migration.cloud import CloudStore
from dicom_migration.datasets import parse_dataset
from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError, ReasonCode
from dicom_migration.manifest import ManifestRow
from dicom_migration.policies.verification import MIB, VerificationPolicy
from dicom_migration.verification.audit.allowed import Approved, not_allowed
from dicom_migration.verification.audit.drawing import Stratum
from dicom_migration.verification.audit.headers import Difference, comparing, differences
from dicom_migration.verification.audit.pixels import (
    PixelComparison,
    PixelOutcome,
    compare_pixels,
)
from dicom_migration.verification.comparison import about
from dicom_migration.verification.findings import Finding, Remedy

if TYPE_CHECKING:
    from pydicom import Dataset

#: Attributes of a difference that an exception names one by one.
MAX_NAMED = 12
#: A source that delivers more than this many times what it delivered is refused.
_SLACK = 2
_NOT_A_REPAIR = (
    "Look at both copies in a viewer and keep them as they are; another transfer is no answer."
)


@dataclass(slots=True)
class Examined:
    """What was found on one instance; None for what was not compared."""

    row: ManifestRow
    stratum: Stratum
    delivered: bool = True
    pixels: PixelComparison | None = None
    headers: tuple[Difference, ...] | None = None
    findings: list[Finding] = field(default_factory=list)
    datasets: tuple[Dataset, Dataset] | None = None

    @property
    def pixels_clean(self) -> bool:
        """Whether the pixels are proved to be the source's, decoded or byte by byte."""
        return self.pixels is not None and self.pixels.outcome is not PixelOutcome.DIFFERENT

    @property
    def failed(self) -> bool:
        """Whether something differs that may not."""
        return (self.pixels is not None and not self.pixels_clean) or bool(self.headers)


def examine(
    archive: ImageArchive,
    store: CloudStore,
    row: ManifestRow,
    stratum: Stratum,
    policy: VerificationPolicy,
    approved: Sequence[Approved],
) -> Examined:
    """Compare both copies of one instance.

    Raises
    ------
    TransientError
        Source or store did not answer.
    PermanentError
        One of them refuses everybody.
    """
    found = Examined(row, stratum)
    try:
        delivered, syntax = _delivered(archive, row, policy)
    except PermanentError as error:
        _pass_on(error)
        found.delivered = False
        found.findings.append(about(row, error.reason, error.message, Remedy.NONE, error.next_step))
        return found
    try:
        stored = _stored_dataset(store, row)
    except PermanentError as error:
        _pass_on(error)
        found.headers = () if policy.header_audit.enabled else None
        found.pixels = PixelComparison(PixelOutcome.DIFFERENT, "the copy cannot be read")
        found.findings.append(
            about(row, error.reason, error.message, Remedy.RETRANSFER, error.next_step)
        )
        return found
    _compare(found, (delivered, syntax), stored, policy, approved)
    return found


def _compare(
    found: Examined,
    delivered: tuple[bytes, str],
    stored: bytes,
    policy: VerificationPolicy,
    approved: Sequence[Approved],
) -> None:
    row = found.row
    data, syntax = delivered
    identical = data == stored and syntax == row.object_transfer_syntax_uid
    try:
        source = _parsed(data, syntax)
    except PermanentError as error:
        if identical:
            found.findings.append(_undecodable(row, "its header cannot be read"))
            found.headers = () if policy.header_audit.enabled else None
            if row.pixel_bytes and policy.pixel_audit.enabled:
                found.pixels = PixelComparison(PixelOutcome.UNDECODABLE, error.reason.value)
        else:
            found.delivered = False
            found.findings.append(
                about(row, error.reason, error.message, Remedy.NONE, error.next_step)
            )
        return
    try:
        cloud = _parsed(stored, row.object_transfer_syntax_uid)
    except PermanentError:
        found.headers = (Difference((), "unreadable in the cloud"),)
        found.findings.append(_header_mismatch(row, found.headers, data))
        return
    found.datasets = (source, cloud)
    if policy.header_audit.enabled:
        ignored = policy.header_audit.tags
        found.headers = () if identical else _differences(found, syntax, approved, ignored)
        if found.headers:
            found.findings.append(_header_mismatch(row, found.headers, data))
    if row.pixel_bytes and policy.pixel_audit.enabled:
        found.pixels = compare_pixels(source, cloud)
        found.findings += _pixel_findings(row, found.pixels)


def _differences(
    found: Examined, syntax: str, approved: Sequence[Approved], ignored: frozenset[int]
) -> tuple[Difference, ...]:
    assert found.datasets is not None  # noqa: S101 - both were read
    mine = [one for one in approved if one.concerns(found.row)]
    charset = next((one.text_charset for one in mine if one.text_charset), None)
    how = comparing(
        syntax,
        found.row.object_transfer_syntax_uid,
        derived=bool(mine),
        ignored=ignored,
        text_charset=charset,
    )
    source, cloud = found.datasets
    return tuple(not_allowed(differences(source, cloud, how), source, cloud, mine))


def _header_mismatch(row: ManifestRow, found: Sequence[Difference], delivered: bytes) -> Finding:
    named = "; ".join(str(difference) for difference in found[:MAX_NAMED])
    more = f"; and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    as_received = hashlib.sha256(delivered).hexdigest() == row.dataset_sha256
    since = (
        "The source delivers what was received."
        if as_received
        else "The source delivers other bytes than were received."
    )
    return about(
        row,
        ReasonCode.HEADER_MISMATCH,
        f"{len(found)} attributes differ between source and cloud beyond the approved "
        f"corrections: {named}{more}. {since}",
        Remedy.DECIDE,
        "Compare both copies; take the inventory again when the source was changed on purpose."
        if not as_received
        else _NOT_A_REPAIR,
    )


def _pixel_findings(row: ManifestRow, pixels: PixelComparison) -> list[Finding]:
    if pixels.outcome is PixelOutcome.UNDECODABLE:
        return [_undecodable(row, f"decoder: {pixels.why}")]
    if pixels.outcome is PixelOutcome.EQUAL:
        return []
    at = f", first in frame {pixels.first_different}" if pixels.first_different else ""
    return [
        about(
            row,
            ReasonCode.PIXEL_MISMATCH,
            f"Decoded pixels of source and cloud differ: {pixels.why}{at}.",
            Remedy.DECIDE,
            _NOT_A_REPAIR,
        )
    ]


def _undecodable(row: ManifestRow, why: str) -> Finding:
    return about(
        row,
        ReasonCode.PIXEL_DATA_INVALID,
        f"The image cannot be decoded as the source delivers it ({why}); the copy's bytes are "
        "the same.",
        Remedy.NONE,
        "Look at it in the source's viewer; the migration did not cause this.",
    )


def _pass_on(error: PermanentError) -> None:
    if error.reason in CONCERNS_EVERYBODY:
        raise error


def _stored_dataset(store: CloudStore, row: ManifestRow) -> bytes:
    """Return the dataset of the stored Part 10 file: what follows group 0002 (PS3.10 7.1)."""
    if row.packed:
        stored = store.read(row.object_key, row.offset, row.object_bytes)
    else:
        stored = store.read(row.object_key)
    if stored[128:132] != b"DICM" or len(stored) < 144:
        raise PermanentError(
            "A stored object is not a DICOM file.",
            reason=ReasonCode.OBJECT_CORRUPT,
            next_step="Nothing: the study is transferred again by itself.",
            study_instance_uid=row.study_instance_uid,
        )
    return stored[144 + int.from_bytes(stored[140:144], "little") :]


def _delivered(
    archive: ImageArchive, row: ManifestRow, policy: VerificationPolicy
) -> tuple[bytes, str]:
    """Return the dataset as the source delivers it now, and its transfer syntax."""
    sink = MemorySink(max_bytes=_SLACK * policy.pixel_audit.max_instance_mib * MIB)
    record = InstanceRecord(
        row.study_instance_uid, row.series_instance_uid, row.sop_instance_uid, row.sop_class_uid
    )
    archive.retrieve_instance(record, sink)
    if not sink.instances:
        raise PermanentError(
            "The source lists the instance and did not deliver it again for the audit.",
            reason=ReasonCode.SOURCE_FAILED,
            next_step="Look for the instance at the source; the cloud holds a verified copy.",
            study_instance_uid=row.study_instance_uid,
        )
    identity, data = sink.instances[0]
    return data, identity.transfer_syntax_uid


def _parsed(data: bytes, transfer_syntax_uid: str) -> Dataset:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parsers quote values of the header (PHI)
        dataset = parse_dataset(data, transfer_syntax_uid, stop_before_pixels=False)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    return dataset
