"""From an Airflow connection to a study archive, whatever it speaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from dicom_migration.archive.dimse_settings import LandingAddress
    from dicom_migration.archive.protocol import ImageArchive
    from dicom_migration.hooks.dicom import DicomHook
    from dicom_migration.hooks.dicom_folder import DicomFolderHook
    from dicom_migration.hooks.dicomweb import DicomWebHook

DEFAULT_CONNECTION = "pacs_source"


def open_archive(
    conn_id: str = DEFAULT_CONNECTION, landing: LandingAddress | None = None
) -> ImageArchive:
    """Open the archive that a connection of type dicom, dicomweb or dicom_folder describes.

    Nothing is connected yet; the caller closes the archive. `landing` is where C-MOVE shall send
    to, where there are several (:func:`landings_of`).

    Raises
    ------
    PermanentError
        There is no such connection, it is of another type, or one of its fields is malformed.
    """
    from dicom_migration.hooks.dicom import DicomHook

    hook = _hook(conn_id)
    return hook.get_conn(landing) if isinstance(hook, DicomHook) else hook.get_conn()


def probe_opener(conn_id: str, answer_within_s: float) -> Callable[[], ImageArchive] | None:
    """Return what opens an archive once more to ask how it is, with timeouts of that length.

    None for a folder: a file system has no other users whom we could disturb unseen.
    """
    from dicom_migration.hooks.dicom_folder import DicomFolderHook

    hook = _hook(conn_id)
    return None if isinstance(hook, DicomFolderHook) else hook.opener(answer_within_s)


def landings_of(conn_id: str) -> tuple[LandingAddress, ...]:
    """Return the landings of a connection that retrieves by C-MOVE; none of any other."""
    from dicom_migration.hooks.dicom import DicomHook

    hook = _hook(conn_id)
    return hook.landings() if isinstance(hook, DicomHook) else ()


def _hook(conn_id: str) -> DicomHook | DicomWebHook | DicomFolderHook:
    from airflow.exceptions import AirflowNotFoundException
    from airflow.sdk.bases.hook import BaseHook

    from dicom_migration.hooks.dicom import DicomHook
    from dicom_migration.hooks.dicom_folder import DicomFolderHook
    from dicom_migration.hooks.dicomweb import DicomWebHook

    try:
        conn_type = BaseHook.get_connection(conn_id).conn_type
    except AirflowNotFoundException as error:
        raise PermanentError(
            f"There is no Airflow connection {conn_id}.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Create it with type dicom, dicomweb or dicom_folder.",
        ) from error
    if conn_type == DicomHook.conn_type:
        return DicomHook(conn_id)
    if conn_type == DicomWebHook.conn_type:
        return DicomWebHook(conn_id)
    if conn_type == DicomFolderHook.conn_type:
        return DicomFolderHook(conn_id)
    raise PermanentError(
        f"The Airflow connection {conn_id} is of type {conn_type}, not dicom, dicomweb or "
        "dicom_folder.",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step="Create it again with one of these types. `airflow connections add` silently "
        "makes an unknown type generic: it knows ours where this package is installed.",
    )
