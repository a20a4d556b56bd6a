"""The ledger: what is known of every study and what was done to it, outside Airflow."""

from dicom_migration.ledger import schema
from dicom_migration.ledger.clock import utc_now
from dicom_migration.ledger.database import Ledger
from dicom_migration.ledger.events import EventChain
from dicom_migration.ledger.exceptions import (
    EXCLUDED_BY_A_PERSON,
    ExceptionNote,
    note_exceptions,
    open_exception_counts,
    resolve_exceptions,
)
from dicom_migration.ledger.requests import RequestedStudy, request_studies
from dicom_migration.ledger.states import FINAL, StudyState, move_studies, move_where

__all__ = [
    "EXCLUDED_BY_A_PERSON",
    "FINAL",
    "EventChain",
    "ExceptionNote",
    "Ledger",
    "RequestedStudy",
    "StudyState",
    "move_studies",
    "move_where",
    "note_exceptions",
    "open_exception_counts",
    "request_studies",
    "resolve_exceptions",
    "schema",
    "utc_now",
]
