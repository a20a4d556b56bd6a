"""The manifest: one Parquet file a study, one row an instance; writing it commits the study."""

from dicom_migration.manifest.delta import StudyDelta, delta_of_lists, delta_of_rows
from dicom_migration.manifest.parquet import (
    compact,
    decode_manifest,
    decode_table,
    encode_manifest,
    manifest_key,
)
from dicom_migration.manifest.rows import ManifestRow

__all__ = [
    "ManifestRow",
    "StudyDelta",
    "compact",
    "decode_manifest",
    "decode_table",
    "delta_of_lists",
    "delta_of_rows",
    "encode_manifest",
    "manifest_key",
]
