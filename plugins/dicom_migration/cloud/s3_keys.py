"""Which keys we write: a small alphabet, so that a key is safe in a URL, a path and a log."""

from __future__ import annotations

import re

from dicom_migration.errors import PermanentError, ReasonCode

MAX_KEY_BYTES = 1024  # limit of the S3 API for the whole key, prefix included

_SEGMENT = re.compile(r"[A-Za-z0-9._=+@-]+")
_LISTING_PREFIX = re.compile(r"[A-Za-z0-9._=+@/-]*")


def _refused(what: str, why: str) -> PermanentError:
    # The value itself is left out: a hostile key may carry a patient's name.
    return PermanentError(
        f"{what} refused: {why}",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step="Build keys from validated UIDs and fixed names only: letters, digits and "
        "._=+@- in segments divided by single slashes, at most 1024 bytes with the prefix.",
    )


def checked_key(key: str, what: str = "object key") -> str:
    """Return `key` when it is relative, plain and short enough.

    Raises
    ------
    PermanentError
        Empty, too long, an empty or dotted segment, or a character outside the alphabet.
    """
    if not key:
        raise _refused(what, "it is empty")
    if len(key) > MAX_KEY_BYTES:
        raise _refused(what, f"it is longer than {MAX_KEY_BYTES} bytes")
    for segment in key.split("/"):
        if segment in ("", ".", ".."):
            raise _refused(what, "it has an empty, '.' or '..' segment")
        if not _SEGMENT.fullmatch(segment):
            raise _refused(what, "it has a character outside the allowed alphabet")
    return key


def checked_listing_prefix(prefix: str) -> str:
    """Return `prefix`, which may be empty and may end anywhere within a key.

    Raises
    ------
    PermanentError
        It is too long, or has a character that no key of ours can have.
    """
    if len(prefix) > MAX_KEY_BYTES or not _LISTING_PREFIX.fullmatch(prefix):
        raise _refused("listing prefix", "no key can start with it")
    return prefix


class KeyRoot:
    """The prefix all keys of a store live under; keys outside this class are relative to it.

    Parameters
    ----------
    prefix
        Leading and trailing slashes do not matter; "" is the bucket itself.
    """

    def __init__(self, prefix: str = "") -> None:
        stripped = prefix.strip("/")
        self.prefix = f"{checked_key(stripped, 'prefix')}/" if stripped else ""

    def full(self, key: str) -> str:
        """Return the key in the bucket.

        Raises
        ------
        PermanentError
            The key is refused, see :func:`checked_key`.
        """
        full = self.prefix + checked_key(key)
        if len(full) > MAX_KEY_BYTES:
            raise _refused("object key", f"with the prefix it exceeds {MAX_KEY_BYTES} bytes")
        return full

    def relative(self, full_key: str) -> str:
        """Return the key as the rest of the project knows it."""
        return full_key.removeprefix(self.prefix)
