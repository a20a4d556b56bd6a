"""How the instances of a study lie in the bucket: a layout stores what was examined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dicom_migration.cloud import CloudStore
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.manifest import ManifestRow
from dicom_migration.transfer.instance_pass import Examined, PassSettings


class Layout(Protocol):
    """Stores the instances of one study; called from several threads at once."""

    def keep(self, examined: Examined) -> Sequence[ManifestRow]:
        """Take an instance, and close its spool when done; return the rows of what is stored now.

        Raises
        ------
        TransientError
            The store is busy or away.
        PermanentError
            The store refuses.
        """

    def finish(self) -> Sequence[ManifestRow]:
        """Store what still waits, after the last instance; return its rows. Raises as `keep`."""

    def discard(self) -> None:
        """Forget what still waits; safe to call twice, and after :meth:`finish`."""


class InstanceLayout:
    """One object an instance: ``studies/<study>/<series>/<instance>.dcm``, a Part 10 file."""

    def __init__(self, store: CloudStore, settings: PassSettings) -> None:
        self._store = store
        self._settings = settings

    def keep(self, examined: Examined) -> Sequence[ManifestRow]:
        """Create the object; where other bytes hold the key, under a key of its own."""
        with examined.stored as spool:
            study, uid = self._settings.study_instance_uid, examined.sop_instance_uid
            series, digest = examined.series_instance_uid, examined.object_sha256
            for key in (
                object_key(study, series, uid),
                object_key(study, series, uid, digest),
            ):
                try:
                    self._store.put(
                        key,
                        spool.body(),
                        size=spool.size,
                        sha256=digest,
                        storage_class=self._settings.storage_class,
                        content_type="application/dicom",
                    )
                except PermanentError as error:
                    if error.reason is not ReasonCode.INSTANCE_CONFLICT:
                        raise
                else:
                    return (examined.row(self._settings, key),)
        raise PermanentError(
            f"Instance {uid}: the key made of its own hash holds other bytes.",
            reason=ReasonCode.INSTANCE_CONFLICT,
            next_step="Somebody wrote into the target's prefix; compare the object with its name.",
        )

    def finish(self) -> Sequence[ManifestRow]:
        """Nothing waits."""
        return ()

    def discard(self) -> None:
        """Nothing waits."""


def object_key(study: str, series: str, instance: str, content_sha256: str = "") -> str:
    """Return the key of an instance's object; `content_sha256` tells apart what shares a UID."""
    distinct = f".{content_sha256[:16]}" if content_sha256 else ""
    return f"studies/{study}/{series}/{instance}{distinct}.dcm"
