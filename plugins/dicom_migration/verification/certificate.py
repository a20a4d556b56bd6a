"""The certificate of a wave: issued from the ledger, verified by anybody from the file alone.

``python -m dicom_migration.verification.certificate verify FILE [--manifests DIR]`` recomputes
the hash, checks that the sums add up, and, given the wave's manifests (the compacted files or
those of the studies), recomputes the Merkle root over the objects.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from dicom_migration.ledger import EventChain, Ledger, schema, utc_now
from dicom_migration.ledger.events import canonical_json
from dicom_migration.verification.evidence import gather
from dicom_migration.verification.merkle import (
    LEAF_COLUMNS,
    leaf_data,
    leaf_hash,
    merkle_root,
    sort_key,
)


def body_hash(body: dict[str, Any]) -> str:
    """Return the SHA-256 (hexadecimal) of the canonical JSON of a certificate's body."""
    return hashlib.sha256(canonical_json(body).encode("ascii")).hexdigest()


def issue_certificate(
    ledger: Ledger, wave_id: str, policy_sha256: str, now: datetime | None = None
) -> dict[str, Any]:
    """Return the wave's certificate, written to the ledger; unchanged evidence gives the old one.

    The document is ``{"certificate": body, "sha256": hash of the body's canonical JSON}``.

    Raises
    ------
    PermanentError
        With reason ``ledger_tampered`` when the event chains do not fit.
    """
    with ledger.write() as connection:
        evidence = {**gather(connection, wave_id), "policy_sha256": policy_sha256}
        identity = body_hash(evidence)
        table = schema.certificate.c
        earlier = connection.scalar(select(table.body).where(table.certificate_id == identity))
        if earlier:
            return dict(json.loads(earlier))
        issued_at = now or utc_now()
        body = {**evidence, "issued_at": issued_at.isoformat(timespec="seconds")}
        document = {"certificate": body, "sha256": body_hash(body)}
        connection.execute(
            insert(schema.certificate).values(
                certificate_id=identity,
                wave_id=wave_id,
                created_at=issued_at,
                object_key="",
                body=canonical_json(document),
            )
        )
        EventChain(f"certificates:{wave_id}").append(
            connection,
            [("certificate.issued", "", {"sha256": document["sha256"], "status": body["status"]})],
        )
    return document


def verify_document(document: dict[str, Any], manifests: Path | None = None) -> list[str]:
    """Return what is wrong with a certificate; an empty list means that it holds.

    Parameters
    ----------
    manifests
        A folder with the wave's compacted files or with the manifests of all its studies.
    """
    body = document.get("certificate")
    if not isinstance(body, dict) or "sha256" not in document:
        return ["This is not a certificate."]
    problems = []
    if body_hash(body) != document["sha256"]:
        problems.append("The certificate was changed: its hash is not the one it carries.")
    problems += _sums(body)
    if manifests is not None:
        problems += _objects(body, manifests)
    return problems


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


def _objects(body: dict[str, Any], manifests: Path) -> list[str]:
    import pyarrow.parquet as pq

    sealed_parts = {part["sha256"] for part in body["objects"]["manifest_parts"]}
    sealed_studies = {
        study["manifest_sha256"] for study in body["studies"] if study["state"] == "verified"
    }
    records: dict[tuple[str, str, int], dict[str, Any]] = {}
    problems, found = [], set()
    for path in sorted(manifests.rglob("*.parquet")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest not in sealed_parts | sealed_studies:
            problems.append(f"{path.name} is not a file that the certificate seals.")
            continue
        found.add(digest)
        for record in pq.read_table(path, columns=list(LEAF_COLUMNS)).to_pylist():
            records[sort_key(record)] = record
    if not (sealed_parts <= found or sealed_studies <= found):
        problems.append(f"Manifests are missing: {manifests.name} holds {len(found)} that fit.")
    leaves = [leaf_hash(leaf_data(records[key])) for key in sorted(records)]
    if merkle_root(leaves) != body["objects"]["merkle_root"]:
        problems.append("The Merkle root over the manifests' objects is another one.")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when the certificate holds, 1 when not, 2 when it cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m dicom_migration.verification.certificate")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="check a certificate without the ledger")
    verify.add_argument("file", type=Path)
    verify.add_argument("--manifests", type=Path, help="folder with the wave's Parquet files")
    options = parser.parse_args(arguments)
    try:
        document = json.loads(options.file.read_text(encoding="utf-8"))
        problems = verify_document(document, options.manifests)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{options.file.name} cannot be read as a certificate: {error!r}\n")
        return 2
    for problem in problems:
        sys.stdout.write(f"FAILED  {problem}\n")
    if not problems:
        body = document["certificate"]
        sys.stdout.write(
            f"OK  wave {body['wave']['wave_id']}, {body['status']}: "
            f"{body['counts']['instances']} instances of "
            f"{body['counts']['by_state'].get('verified', 0)} verified studies, "
            f"Merkle root {body['objects']['merkle_root']}\n"
        )
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
