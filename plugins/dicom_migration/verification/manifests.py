"""Manifests downloaded, and believed only when their hash is the ledger's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyarrow as pa

from dicom_migration.cloud import CloudStore
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.manifest import ManifestRow, decode_manifest, decode_table
from dicom_migration.verification.claims import StudyClaim


def manifest_bytes(store: CloudStore, claim: StudyClaim) -> bytes:
    """Return the manifest file of a study.

    Raises
    ------
    PermanentError
        With reason ``manifest_corrupt``: missing, or its SHA-256 is not the ledger's.
    """
    try:
        # As a stream: no checksum of the store's is asked for, the ledger's is better.
        data = b"".join(store.stream(claim.manifest_key)) if claim.manifest_key else b""
    except PermanentError as error:
        if error.reason is not ReasonCode.OBJECT_MISSING:
            raise
        data = b""
    if not data:
        raise _corrupt(claim, "is not in the cloud")
    if hashlib.sha256(data).hexdigest() != claim.manifest_sha256:
        raise _corrupt(claim, "is not the one the ledger sealed: its SHA-256 differs")
    return data


def manifest_rows(
    store: CloudStore, claim: StudyClaim, *, facts: bool = True
) -> tuple[ManifestRow, ...]:
    """Return the rows of a study's manifest, with or without facts.

    See :func:`manifest_bytes` for errors.
    """
    return tuple(decode_manifest(manifest_bytes(store, claim), facts=facts))


def manifest_table(store: CloudStore, claim: StudyClaim) -> pa.Table:
    """Return a study's manifest as an Arrow table; see :func:`manifest_bytes` for errors."""
    return decode_table(manifest_bytes(store, claim))


def foreign_rows(rows: Sequence[ManifestRow], claim: StudyClaim) -> bool:
    """Tell whether a manifest holds rows of another study, or keys outside the study's prefix."""
    prefix = f"studies/{claim.study_instance_uid}/"
    return any(
        row.study_instance_uid != claim.study_instance_uid or not row.object_key.startswith(prefix)
        for row in rows
    )


def _corrupt(claim: StudyClaim, problem: str) -> PermanentError:
    return PermanentError(
        f"The manifest of study {claim.study_instance_uid} {problem}.",
        reason=ReasonCode.MANIFEST_CORRUPT,
        next_step="Nothing: the study is transferred again by itself.",
        study_instance_uid=claim.study_instance_uid,
    )
