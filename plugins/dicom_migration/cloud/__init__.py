"""The target port: object stores that keep the copy."""

from dicom_migration.cloud.protocol import CloudStore, PutResult, StoredObject

__all__ = ["CloudStore", "PutResult", "StoredObject"]
