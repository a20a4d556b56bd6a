"""A certificate checked from files alone: its hash, signature, sums, manifests and objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dicom_migration.cloud import CloudStore
from dicom_migration.ledger.events import canonical_json
from dicom_migration.manifest import ManifestRow, decode_manifest
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.merkle import (
    LEAF_COLUMNS,
    leaf_data,
    leaf_hash,
    merkle_root,
    sort_key,
)
from dicom_migration.verification.readback import read_back
from dicom_migration.verification.signing import signature_problem


def body_hash(body: dict[str, Any]) -> str:
    """Return the SHA-256 (hexadecimal) of the canonical JSON of a certificate's body."""
    return hashlib.sha256(canonical_json(body).encode("ascii")).hexdigest()


def verify_document(
    document: dict[str, Any], manifests: Path | None = None, public_key: str = ""
) -> list[str]:
    """Return what is wrong with a certificate; an empty list means that it holds.

    Parameters
    ----------
    manifests
        A folder with the wave's compacted files or with the manifests of all its studies.
    public_key
        The raw ed25519 key (hexadecimal) that must have signed; "" for no such demand.
    """
    body = document.get("certificate")
    if not isinstance(body, dict) or "sha256" not in document:
        return ["This is not a certificate."]
    problems = []
    if body_hash(body) != document["sha256"]:
        problems.append("The certificate was changed: its hash is not the one it carries.")
    if problem := signature_problem(document, "certificate", public_key):
        problems.append(f"Signature: {problem}")
    problems += _sums(body)
    if manifests is not None:
        problems += _objects(body, manifests)
    return problems


def sealed_rows(body: dict[str, Any], manifests: Path) -> list[ManifestRow]:
    """Return the rows of all manifests that the certificate seals, in the order of the leaves."""
    rows: dict[tuple[str, str, int], ManifestRow] = {}
    for path, sealed in _files(body, manifests):
        for row in decode_manifest(path.read_bytes()) if sealed else ():
            rows[sort_key(_leaf(row))] = row
    return [rows[key] for key in sorted(rows)]


def verify_objects(store: CloudStore, rows: list[ManifestRow], threads: int = 8) -> Iterator[str]:
    """Read every object of `rows` from the bucket and yield what is wrong, naming each instance.

    Raises
    ------
    MigrationError
        The bucket did not answer or refuses us.
    """
    policy = VerificationPolicy()
    studies: dict[str, list[ManifestRow]] = {}
    for row in rows:
        studies.setdefault(row.study_instance_uid, []).append(row)
    with ThreadPoolExecutor(threads, thread_name_prefix="certificate") as pool:
        for uid, members in studies.items():
            objects = {stored.key: stored for stored in store.list(f"studies/{uid}/")}
            for row in members:
                if row.object_key not in objects:
                    yield f"{row.object_key} of instance {row.sop_instance_uid} is missing."
            present = [row for row in members if row.object_key in objects]
            for finding in read_back(store, present, objects, policy, pool).findings:
                named = finding.sop_instance_uid or finding.series_instance_uid
                yield f"Study {uid}, {named}: {finding.reason}: {finding.detail}"


def checksum_lines(rows: list[ManifestRow]) -> Iterator[str]:
    """Yield a line for each object as ``sha256sum -c`` reads it, with the key as its file name."""
    sums: Mapping[str, str] = {
        row.object_key: row.container_sha256 if row.packed else row.object_sha256 for row in rows
    }
    for key in sorted(sums):
        yield f"{sums[key]}  {key}\n"


def _sums(body: dict[str, Any]) -> list[str]:
    counts, studies = body["counts"], body["studies"]
    verified = [study for study in studies if study["state"] == "verified"]
    sums = {
        "studies": (counts["studies"], len(studies)),
        "studies by state": (counts["studies"], sum(counts["by_state"].values())),
        "instances": (counts["instances"], sum(s["instances"] for s in verified)),
        "bytes stored": (counts["bytes_stored"], sum(s["bytes_stored"] for s in verified)),
        "instances in manifests": (counts["instances"], body["objects"]["instances"]),
        "rows of parts": (
            body["objects"]["instances"],
            sum(part["rows"] for part in body["objects"]["manifest_parts"]),
        ),
    }
    return [f"The {name} do not add up: {a} and {b}." for name, (a, b) in sums.items() if a != b]


def _files(body: dict[str, Any], manifests: Path) -> Iterator[tuple[Path, str]]:
    """Yield each Parquet file with its hash, "" when the certificate does not seal it."""
    sealed = _sealed_parts(body).keys() | _sealed_studies(body).keys()
    for path in sorted(manifests.rglob("*.parquet")):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield path, digest if digest in sealed else ""


def _sealed_parts(body: dict[str, Any]) -> dict[str, str]:
    return {part["sha256"]: part["key"] for part in body["objects"]["manifest_parts"]}


def _sealed_studies(body: dict[str, Any]) -> dict[str, str]:
    return {
        study["manifest_sha256"]: study["study_instance_uid"]
        for study in body["studies"]
        if study["state"] == "verified"
    }


def _objects(body: dict[str, Any], manifests: Path) -> list[str]:
    import pyarrow.parquet as pq

    records: dict[tuple[str, str, int], dict[str, Any]] = {}
    problems, found = [], set()
    for path, digest in _files(body, manifests):
        if not digest:
            problems.append(f"{path.name} is not a file that the certificate seals.")
            continue
        found.add(digest)
        for record in pq.read_table(path, columns=list(LEAF_COLUMNS)).to_pylist():
            records[sort_key(record)] = record
    problems += _missing(body, found)
    leaves = [leaf_hash(leaf_data(records[key])) for key in sorted(records)]
    if merkle_root(leaves) != body["objects"]["merkle_root"]:
        problems.append("The Merkle root over the manifests' objects is another one.")
    return problems


def _missing(body: dict[str, Any], found: set[str]) -> list[str]:
    """Name what is missing of whichever set of manifests was begun: compacted, or by study."""
    parts, studies = _sealed_parts(body), _sealed_studies(body)
    if parts.keys() <= found or studies.keys() <= found:
        return []
    if found & studies.keys():
        return [
            f"The manifest of study {uid} is missing."
            for digest, uid in studies.items()
            if digest not in found
        ]
    return [
        f"The manifest part {key} is missing."
        for digest, key in parts.items()
        if digest not in found
    ]


def _leaf(row: ManifestRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in LEAF_COLUMNS}
