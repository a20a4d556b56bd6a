"""From an Airflow connection to a study archive, whatever it speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from dicom_migration.archive.protocol import ImageArchive

DEFAULT_CONNECTION = "pacs_source"


def open_archive(conn_id: str = DEFAULT_CONNECTION) -> ImageArchive:
    """Open the archive that a connection of type dicom, dicomweb or dicom_folder describes.

    Nothing is connected yet; the caller closes the archive.

    Raises
    ------
    PermanentError
        There is no such connection, it is of another type, or one of its fields is malformed.
    """
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
        return DicomHook(conn_id).get_conn()
    if conn_type == DicomWebHook.conn_type:
        return DicomWebHook(conn_id).get_conn()
    if conn_type == DicomFolderHook.conn_type:
        return DicomFolderHook(conn_id).get_conn()
    raise PermanentError(
        f"The Airflow connection {conn_id} is of type {conn_type}, not dicom, dicomweb or "
        "dicom_folder.",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step="Create it again with one of these types. `airflow connections add` silently "
        "makes an unknown type generic: it knows ours where this package is installed.",
    )
