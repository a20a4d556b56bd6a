"""DICOM unique identifiers, checked before one becomes a path, a key or a query.

Source: DICOM PS3.5 section 9.1 (UID encoding) and 6.2 (VR UI). The check is laxer than the
standard where archives are (components with leading zeros exist) and strict where it protects:
only digits and dots, 64 characters at most, never empty, never a path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from dicom_migration.errors import PermanentError, ReasonCode

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
MAX_LENGTH = 64


def is_valid_uid(value: str) -> bool:
    """Tell whether `value` is safe and well-formed as a UID."""
    return len(value) <= MAX_LENGTH and _UID.fullmatch(value) is not None


def checked_uid(value: object, what: str = "UID") -> str:
    """Return `value` as a clean UID string.

    Trailing NUL and space padding is removed, as PS3.5 section 9.1 allows it on the wire.

    Raises
    ------
    PermanentError
        With reason ``uid_invalid`` when it is not a UID; hostile text is not echoed.
    """
    text = str(value).rstrip("\0 ").strip()
    if not is_valid_uid(text):
        raise PermanentError(
            f"{what} of {len(text)} characters is not a valid DICOM UID.",
            reason=ReasonCode.UID_INVALID,
            next_step="Correct the identifier at the source, or exclude the study.",
        )
    return text


def uid_set_sha256(uids: Iterable[str]) -> str:
    """Return the SHA-256 (hexadecimal) of a set of UIDs: sorted, joined by newlines.

    Order and repetition do not show in it; two sets of equal size and other members differ.
    """
    return hashlib.sha256("\n".join(sorted(set(uids))).encode()).hexdigest()
