"""The demonstration's signing key, and the check of its certificate as an auditor would do it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dicom_migration import certificate

PRIVATE, PUBLIC = "certificate.pem", "certificate.pub.pem"


def make_key(folder: Path) -> Path:
    """Make a key pair that only this run uses; return the file of the private key."""
    folder.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    private = folder / PRIVATE
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    )
    (folder / PUBLIC).write_bytes(
        key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    )
    return private


def manifest_keys(file: Path) -> list[str]:
    """Return the keys of the manifests that a certificate seals."""
    body = json.loads(file.read_text(encoding="utf-8"))["certificate"]
    return [part["key"] for part in body["objects"]["manifest_parts"]]


def check(file: Path, manifests: Path, keys: Path) -> tuple[bool, str]:
    """Check a certificate against its manifests; tell whether it holds, and the command for it."""
    paths = [os.path.relpath(path) for path in (file, manifests, keys / PUBLIC)]
    arguments = ["verify", paths[0], "--manifests", paths[1], "--public-key", paths[2]]
    sys.stdout.write("\n")
    holds = certificate.main(arguments) == certificate.HOLDS
    return holds, f"python -m dicom_migration.certificate {' '.join(arguments)}"
