"""How far a shard is: a line in the task's log every few seconds, however long a study takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from dicom_migration.transfer.shards import Shard
from dicom_migration.transfer.study_transfer import StudyResult
from dicom_migration.units import human_bytes, human_seconds

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0


class Progress:
    """Counts what ended, adds what is under way, and says how long the rest will take.

    Parameters
    ----------
    studies, promised
        What the shard has to do: studies, and instances where the source told.
    under_way
        Returns instances and bytes received of the studies that are moved now.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        shard: Shard,
        studies: int,
        promised: int | None,
        under_way: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shard = shard
        self._studies = studies
        self._promised = promised
        self._under_way = under_way
        self._clock = clock
        self._began = clock()
        self._ended = 0
        self._instances = 0
        self._bytes = 0

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    def ended(self, result: StudyResult | None) -> None:
        """Count a study that came to its end, None for one that is left for another try."""
        self._ended += 1
        if result is not None:
            self._instances += result.instances
            self._bytes += result.bytes_received

    def log(self) -> None:
        """Write the line."""
        log.info("%s", self.line())

    def line(self) -> str:
        """Return the line: no patient, not even a study."""
        instances, received = self._under_way()
        instances += self._instances
        received += self._bytes
        seconds = max(self.seconds, 1e-3)
        told = (
            f"Wave {self._shard.wave_id} shard {self._shard.number}: "
            f"{self._ended} of {self._studies} studies, {instances} instances, "
            f"{human_bytes(received)}, {human_bytes(received / seconds)}/s"
        )
        done = self._share_done(instances)
        if 0 < done < 1:
            told += f", {human_seconds(seconds * (1 - done) / done)} to go"
        return told

    def _share_done(self, instances: int) -> float:
        if self._promised:
            return instances / self._promised
        return self._ended / self._studies if self._studies else 1.0
