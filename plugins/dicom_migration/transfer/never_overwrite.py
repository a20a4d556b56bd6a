"""Creating an object beside what may already hold its key; nothing is ever overwritten."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import BinaryIO

from dicom_migration.cloud import CloudStore
from dicom_migration.errors import PermanentError, ReasonCode


def create_beside(
    store: CloudStore,
    stem: str,
    suffix: str,
    body: Callable[[], BinaryIO | memoryview],
    *,
    size: int,
    sha256: str,
    storage_class: str,
    content_type: str,
    stored: Container[str] = (),
) -> str:
    """Create the object and return its key: `stem` and `suffix`, where that key is free.

    `body` returns the object's bytes from their beginning, each time it is asked.
    Where other bytes hold it, the key gets the first 16 digits of the object's own hash between
    the two. Identical bytes under either key are taken for the object; a key among `stored` is
    asked for its hash first, so that they are not sent once more to be refused.

    Raises
    ------
    PermanentError
        ``instance_conflict``: even the key made of the hash holds other bytes.
    TransientError
        The store is busy or away.
    """
    for key in (f"{stem}{suffix}", f"{stem}.{sha256[:16]}{suffix}"):
        there = store.head(key) if key in stored else None
        if there is not None and there.sha256:
            if (there.size, there.sha256) == (size, sha256):
                return key
            continue
        try:
            store.put(
                key,
                body(),
                size=size,
                sha256=sha256,
                storage_class=storage_class,
                content_type=content_type,
            )
        except PermanentError as error:
            if error.reason is not ReasonCode.INSTANCE_CONFLICT:
                raise
        else:
            return key
    raise PermanentError(
        f"{stem}{suffix}: the key made of the object's own hash holds other bytes.",
        reason=ReasonCode.INSTANCE_CONFLICT,
        next_step="Somebody wrote into the target's prefix; compare the object with its name.",
    )
