"""What an auditor runs: a wave's certificate checked without Airflow and without the ledger.

``python -m dicom_migration.certificate verify CERT [--manifests DIR] [--bucket s3://…]
[--public-key FILE]`` and ``… export-sums CERT --manifests DIR``; see ``docs/certificate.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicom_migration.errors import MigrationError
from dicom_migration.verification.certificate_check import (
    checksum_lines,
    sealed_rows,
    verify_document,
    verify_objects,
)
from dicom_migration.verification.signing import key_id, read_public_key, signature_problem

if TYPE_CHECKING:
    from dicom_migration.cloud.s3 import S3Store

HOLDS, FAILED, UNREADABLE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: 0 the certificate holds, 1 it does not, 2 something cannot be read."""
    options = _parser().parse_args(arguments)
    try:
        document = json.loads(options.file.read_text(encoding="utf-8"))
        if options.command == "verify-list":
            return _check_list(document, options)
        if options.command == "export-sums":
            return _export(document, options.manifests)
        public_key = read_public_key(options.public_key.read_bytes()) if options.public_key else ""
        problems = verify_document(document, options.manifests, public_key)
        if options.bucket and not problems:
            problems = list(_in_bucket(document, options))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(f"{options.file.name} cannot be checked: {error!r}\n")
        return UNREADABLE
    except MigrationError as error:
        sys.stderr.write(f"The bucket cannot be read: {error}\n")
        return UNREADABLE
    for problem in problems:
        sys.stdout.write(f"FAILED  {problem}\n")
    if problems:
        return FAILED
    _tell(document, trusted=bool(public_key))
    return HOLDS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dicom_migration.certificate")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="check a certificate without the ledger")
    verify.add_argument("file", type=Path)
    verify.add_argument("--manifests", type=Path, help="folder with the wave's Parquet files")
    verify.add_argument("--public-key", type=Path, help="PEM of the key that must have signed")
    verify.add_argument("--bucket", help="s3://bucket/prefix: read every object, too")
    verify.add_argument("--endpoint-url", help="of an S3 service that is not AWS")
    export = commands.add_parser("export-sums", help="write a list for sha256sum -c")
    export.add_argument("file", type=Path)
    export.add_argument("--manifests", type=Path, required=True)
    purge = commands.add_parser("verify-list", help="check the signature of a purge list")
    purge.add_argument("file", type=Path)
    purge.add_argument("--public-key", type=Path, required=True)
    purge.add_argument("--csv", type=Path, help="the same list as CSV, to be checked with it")
    return parser


def _check_list(document: dict[str, Any], options: argparse.Namespace) -> int:
    public_key = read_public_key(options.public_key.read_bytes())
    if problem := signature_problem(document, "purge_list", public_key):
        sys.stdout.write(f"FAILED  Signature: {problem}\n")
        return FAILED
    body = document["purge_list"]
    if options.csv and hashlib.sha256(options.csv.read_bytes()).hexdigest() != body["csv_sha256"]:
        sys.stdout.write("FAILED  The CSV is not the one that was signed.\n")
        return FAILED
    sys.stdout.write(f"OK  {len(body['studies'])} studies, approved by {body['approved_by']}\n")
    return HOLDS


def _export(document: dict[str, Any], manifests: Path) -> int:
    problems = verify_document(document, manifests)
    for problem in problems:
        sys.stderr.write(f"FAILED  {problem}\n")
    if problems:
        return FAILED
    sys.stdout.writelines(checksum_lines(sealed_rows(document["certificate"], manifests)))
    return HOLDS


def _in_bucket(document: dict[str, Any], options: argparse.Namespace) -> Iterator[str]:
    if options.manifests is None:
        raise ValueError("--bucket needs --manifests")
    rows = sealed_rows(document["certificate"], options.manifests)
    return verify_objects(_store(options.bucket, options.endpoint_url), rows)


def _store(address: str, endpoint_url: str | None) -> S3Store:
    """Open a bucket with the credentials of the environment, as the AWS command line does."""
    import boto3

    from dicom_migration.cloud.s3 import S3Store

    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    return S3Store(boto3.client("s3", endpoint_url=endpoint_url), bucket, prefix)


def _tell(document: dict[str, Any], *, trusted: bool) -> None:
    body = document["certificate"]
    sys.stdout.write(
        f"OK  wave {body['wave']['wave_id']}, {body['status']}: "
        f"{body['counts']['instances']} instances of "
        f"{body['counts']['by_state'].get('verified', 0)} verified studies, "
        f"Merkle root {body['objects']['merkle_root']}\n"
    )
    if not document.get("signature"):
        sys.stdout.write("NOTE  It is UNSIGNED: nothing says who issued it.\n")
    elif not trusted:
        sys.stdout.write(
            f"NOTE  Signed by key {key_id(document)}, taken from the file itself: "
            "give --public-key to know whose it is.\n"
        )


if __name__ == "__main__":
    raise SystemExit(main())
