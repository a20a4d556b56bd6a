"""The source port: study archives that are searched and read, never written."""

from dicom_migration.archive.protocol import (
    ArchiveCheck,
    ImageArchive,
    InstanceFailure,
    InstanceIdentity,
    InstanceRecord,
    InstanceSink,
    InstanceWriter,
    ProbedArchive,
    RetrieveOutcome,
    SearchableArchive,
    SeriesRecord,
    StudyQuery,
    StudyRecord,
    result_cap_of,
)

__all__ = [
    "ArchiveCheck",
    "ImageArchive",
    "InstanceFailure",
    "InstanceIdentity",
    "InstanceRecord",
    "InstanceSink",
    "InstanceWriter",
    "ProbedArchive",
    "RetrieveOutcome",
    "SearchableArchive",
    "SeriesRecord",
    "StudyQuery",
    "StudyRecord",
    "result_cap_of",
]
