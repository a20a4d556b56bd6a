"""Signatures of what an auditor is given: ed25519 (RFC 8032) over the canonical JSON of a body."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger.events import canonical_json

ALGORITHM = "ed25519"


def read_private_key(pem: bytes) -> Ed25519PrivateKey:
    """Return the key in a PEM file (PKCS #8, without a passphrase).

    Raises
    ------
    PermanentError
        With reason ``configuration_invalid``; the message does not quote the key.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None  # the cause may quote the key
    if not isinstance(key, Ed25519PrivateKey):
        raise PermanentError(
            "The signing key is not an ed25519 private key in PEM without a passphrase.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Make one: openssl genpkey -algorithm ed25519 -out certificate.pem",
        )
    return key


def read_public_key(pem: bytes) -> str:
    """Return the raw public key (hexadecimal) of a PEM file.

    Raises
    ------
    ValueError
        It is not an ed25519 public key.
    """
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an ed25519 public key")
    return _raw(key)


def signed(document: dict[str, Any], body: str, key: Ed25519PrivateKey | None) -> dict[str, Any]:
    """Return `document` with the signature over its member `body`, or as it is without a key.

    The same key and body give the same signature.
    """
    if key is None:
        return document
    public = _raw(key.public_key())
    signature = key.sign(canonical_json(document[body]).encode("ascii")).hex()
    told = {"algorithm": ALGORITHM, "public_key": public, "signature": signature}
    return {**document, "signature": told}


def signature_problem(document: dict[str, Any], body: str, trusted: str = "") -> str:
    """Return what is wrong with the signature, "" when nothing is or there is none to be had.

    Parameters
    ----------
    trusted
        The public key (hexadecimal) that must have signed; "" believes the one in the document,
        which proves only that both fit.
    """
    told = document.get("signature")
    if not told:
        return "It is not signed, and a public key was given." if trusted else ""
    if not isinstance(told, dict) or told.get("algorithm") != ALGORITHM:
        return "Its signature is not ed25519."
    if trusted and told.get("public_key") != trusted:
        return "It was signed by another key than the one given."
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(told["public_key"]))
        public.verify(
            bytes.fromhex(told["signature"]), canonical_json(document[body]).encode("ascii")
        )
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return "Its signature does not fit: it was changed after it was signed."
    return ""


def key_id(document: dict[str, Any]) -> str:
    """Return a short name of the key that signed (SHA-256 of the raw key), "" when unsigned."""
    told = document.get("signature")
    if not told:
        return ""
    return hashlib.sha256(bytes.fromhex(told["public_key"])).hexdigest()[:16]


def _raw(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
