"""How the instances of a study lie in the bucket: a layout stores what was examined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dicom_migration.archive import InstanceRecord
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.manifest import ManifestRow
from dicom_migration.transfer.instance_pass import Examined, PassSettings
from dicom_migration.transfer.never_overwrite import create_beside
from dicom_migration.transfer.series_layout import SeriesZipLayout
from dicom_migration.transfer.spool import MemoryBudget


class Layout(Protocol):
    """Stores the instances of one study; called from several threads at once."""

    def expect(self, instances: Sequence[InstanceRecord]) -> None:
        """Learn what the source lists of the study, between two instances.

        Without it the source's count was met, and whatever came is the study.
        """

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

    def expect(self, instances: Sequence[InstanceRecord]) -> None:
        """Nothing depends on it."""

    def keep(self, examined: Examined) -> Sequence[ManifestRow]:
        """Create the object; where other bytes hold the key, under a key of its own."""
        study, series = self._settings.study_instance_uid, examined.series_instance_uid
        with examined.stored as spool:
            key = create_beside(
                self._store,
                f"studies/{study}/{series}/{examined.sop_instance_uid}",
                ".dcm",
                spool.body,
                size=spool.size,
                sha256=examined.object_sha256,
                storage_class=self._settings.storage_class,
                content_type="application/dicom",
                stored=self._settings.stored_keys,
            )
            return (examined.row(self._settings, key),)

    def finish(self) -> Sequence[ManifestRow]:
        """Nothing waits."""
        return ()

    def discard(self) -> None:
        """Nothing waits."""


def layout_for(store: CloudStore, settings: PassSettings, packed: MemoryBudget) -> Layout:
    """Return the layout that the study's settings name; `packed` is for series in the making.

    Raises
    ------
    PermanentError
        With reason ``configuration_invalid``: the ledger names a layout that is not known.
    """
    if settings.layout == "instance":
        return InstanceLayout(store, settings)
    if settings.layout == "series-zip":
        return SeriesZipLayout(store, settings, packed)
    raise PermanentError(
        f"Study {settings.study_instance_uid} has the layout {settings.layout!r}, which this "
        "release does not know.",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step="Use the release that planned the study, or plan it again.",
    )
