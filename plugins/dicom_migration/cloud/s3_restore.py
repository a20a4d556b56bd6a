"""Objects in archive tiers: ask for a restore, and how it stands.

Source: Amazon S3 API reference, RestoreObject and the ``x-amz-restore`` header of HeadObject.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from botocore.exceptions import ClientError

from dicom_migration.cloud.s3_access import S3Access
from dicom_migration.cloud.s3_errors import error_code, translate, translated

#: Storage classes whose objects cannot be read before a restore.
ARCHIVED_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
_HEADER = re.compile(r'ongoing-request="(true|false)"(?:,\s*expiry-date="([^"]+)")?')
_UNDER_WAY = ("RestoreAlreadyInProgress", "OperationAborted")


@dataclass(frozen=True, slots=True)
class RestoreState:
    """How an object stands.

    Attributes
    ----------
    stage
        ``readable``: of no archive tier; ``archived``: nobody asked, or what was restored has
        expired; ``restoring``; ``restored``: can be read until `expires_at` (UTC).
    """

    stage: Literal["readable", "archived", "restoring", "restored"]
    expires_at: datetime | None = None

    @property
    def can_be_read(self) -> bool:
        """Whether a GET would be answered."""
        return self.stage in ("readable", "restored")


def restore_state(access: S3Access, key: str, now: datetime) -> RestoreState:
    """Ask how an object stands (HeadObject); a copy whose expiry has passed counts as gone.

    Raises
    ------
    PermanentError
        There is no such object.
    """
    address = access.address(key)
    with translated("HeadObject", address):
        told = access.client.head_object(Bucket=address.bucket, Key=address.key)
    if told.get("StorageClass", "STANDARD") not in ARCHIVED_CLASSES:
        return RestoreState("readable")
    found = _HEADER.search(told.get("Restore") or "")
    if found is None:
        return RestoreState("archived")
    if found[1] == "true":
        return RestoreState("restoring")
    expires = parsedate_to_datetime(found[2]) if found[2] else None
    if expires is not None and expires <= now:
        return RestoreState("archived")
    return RestoreState("restored", expires)


def request_restore(access: S3Access, key: str, *, days: int, tier: str) -> None:
    """Ask for a copy that can be read for `days`; one that is on its way is as good.

    Raises
    ------
    PermanentError
        There is no such object, or the tier is not offered for its storage class.
    TransientError
        Worth trying again.
    """
    address = access.address(key)
    try:
        access.client.restore_object(
            Bucket=address.bucket,
            Key=address.key,
            RestoreRequest={"Days": days, "GlacierJobParameters": {"Tier": tier}},
        )
    except ClientError as error:
        if error_code(error) not in _UNDER_WAY:
            raise translate(error, "RestoreObject", address) from error
