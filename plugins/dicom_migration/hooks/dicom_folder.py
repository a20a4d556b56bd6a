"""A folder of DICOM files, from an Airflow connection of type ``dicom_folder``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk.bases.hook import BaseHook

from dicom_migration.hooks.connection_fields import ConnectionFields, tested

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from dicom_migration.archive.folder import FolderArchive, FolderSettings

FIELDS = frozenset({"path"})


class DicomFolderHook(BaseHook):
    """Opens the archive behind a connection of type ``dicom_folder``.

    :param dicom_folder_conn_id: Airflow connection: the absolute ``path`` of the folder, as every
        worker sees it, in the extra.
    """

    conn_name_attr = "dicom_folder_conn_id"
    default_conn_name = "dicom_folder_source"
    conn_type = "dicom_folder"
    hook_name = "DICOM folder"

    def __init__(self, dicom_folder_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.dicom_folder_conn_id = dicom_folder_conn_id

    def get_conn(self) -> FolderArchive:
        """Return the archive; nothing is read yet, and the caller closes it.

        Raises
        ------
        PermanentError
            The path is missing or not absolute.
        """
        from dicom_migration.archive.folder import FolderArchive

        return FolderArchive(folder_settings(self.get_connection(self.dicom_folder_conn_id)))

    def test_connection(self) -> tuple[bool, str]:
        """Read the headers of all files and say what was found."""
        return tested(self)


def folder_settings(connection: Connection) -> FolderSettings:
    """Read the settings of a folder from a connection.

    Raises
    ------
    PermanentError
        The path is missing or not absolute.
    """
    from dicom_migration.archive.folder import FolderSettings

    fields = ConnectionFields(connection, FIELDS)
    if not fields.given("path"):
        raise fields.wrong("path", "is missing")
    path = Path(fields.text("path"))
    if not path.is_absolute():
        raise fields.wrong("path", "must be absolute")
    return FolderSettings(path)
