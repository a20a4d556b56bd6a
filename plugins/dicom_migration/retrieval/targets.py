"""What a viewer knows before it asks: the instances of a study, in the order it shows them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from dicom_migration.archive import InstanceRecord
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.manifest import ManifestRow, decode_manifest
from dicom_migration.retrieval.sample import SampledStudy


@dataclass(frozen=True, slots=True)
class Target:
    """A study and what a viewer's index knows of it: the rows of its manifest, in order.

    Attributes
    ----------
    prior
        Its latest relevant prior, where it has one.
    cloud_only
        The source is not asked for it.
    """

    study: SampledStudy
    rows: tuple[ManifestRow, ...]
    prior: Target | None = None
    cloud_only: bool = False

    @property
    def records(self) -> tuple[InstanceRecord, ...]:
        """The instances, as the source is asked for them."""
        return tuple(
            InstanceRecord(
                r.study_instance_uid, r.series_instance_uid, r.sop_instance_uid, r.sop_class_uid
            )
            for r in self.rows
        )


def open_target(store: CloudStore, study: SampledStudy) -> Target:
    """Read a study's manifest, which is outside the clock: a viewer has its index already.

    Raises
    ------
    PermanentError
        With reason ``manifest_corrupt`` when the manifest is not the ledger's,
        ``object_missing`` when it is not there.
    """
    data = store.read(study.manifest_key)
    if hashlib.sha256(data).hexdigest() != study.manifest_sha256:
        raise PermanentError(
            f"The manifest of study {study.study_instance_uid} is not the one the ledger sealed.",
            reason=ReasonCode.MANIFEST_CORRUPT,
            next_step="Verify the study's wave again.",
            study_instance_uid=study.study_instance_uid,
        )
    return Target(study, tuple(sorted(decode_manifest(data), key=_reading_order)))


def _reading_order(row: ManifestRow) -> tuple[bool, int, str, int, str]:
    """Order instances as a viewer shows them: images first, by series and instance number."""
    return (
        row.pixel_bytes is None,
        _number(row.facts.get("series_number")),
        row.series_instance_uid,
        _number(row.facts.get("instance_number")),
        row.sop_instance_uid,
    )


def _number(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 1 << 30
