"""A shard's worth of small studies whose patients are canaries."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from tests.archives import HeldInstance, held_from, real_file

CANARY = "CANARY^"
ROOT = "1.2.826.0.1.3680043.8.498.7"
#: Three studies that arrive whole: two instances, two, and two of which one is large enough to
#: pass through a file; transferred in this order.
FIRST, VICTIM, LAST = (f"{ROOT}.{number}" for number in (1, 2, 3))
WHOLE = (FIRST, VICTIM, LAST)
#: Of this one the ledger was promised more instances than the source lists.
SHRUNK = f"{ROOT}.4"
PROMISED = 99
_LARGE_SIDE = 800


@dataclass(frozen=True)
class Sample:
    """The studies, as files for a source to load and as what must be in the bucket."""

    folder: Path
    instances: tuple[HeldInstance, ...]

    def of(self, study: str) -> list[HeldInstance]:
        """Return the instances of a study."""
        return [held for held in self.instances if held.record.study_instance_uid == study]


def write_sample(folder: Path) -> Sample:
    """Write the studies' files into `folder`."""
    folder.mkdir(parents=True)
    held = []
    for study, sides in (
        (FIRST, (0, 0)),
        (VICTIM, (0, 0)),
        (LAST, (0, _LARGE_SIDE)),
        (SHRUNK, (0,)),
    ):
        for number, side in enumerate(sides, start=1):
            file = _instance(study, number, side)
            (folder / f"{study}.{number}.dcm").write_bytes(file)
            held.append(held_from(file))
    return Sample(folder, tuple(held))


def _instance(study: str, number: int, side: int) -> bytes:
    """Return a real CT image under UIDs of its own; `side` makes it larger (rows = columns)."""
    dataset = dcmread(BytesIO(real_file("CT_small.dcm")))
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = f"{study}.1"
    dataset.SOPInstanceUID = f"{study}.1.{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName = f"{CANARY}FAULTS^{study[-1]}"
    dataset.PatientID = f"{CANARY}{study[-1]}"
    dataset.AccessionNumber = f"{CANARY}A{study[-1]}"
    dataset.InstanceNumber = number
    del dataset[0xFFFC, 0xFFFC]  # padding at the end, which DCMTK's senders leave out
    if side:
        dataset.Rows = dataset.Columns = side
        pattern = bytes(range(256)) * (side * side * 2 // 256)
        dataset.PixelData = pattern
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()
