"""Synthetic studies for the transfer benchmark: real headers, random pixels, from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom import dcmread

#: Multi-frame Grayscale Word Secondary Capture Image Storage.
MULTI_FRAME_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"
ROOT_UID = "1.2.826.0.1.3680043.8.498.99"


@dataclass(frozen=True)
class DataSet:
    """So many studies of so many CT instances of rows x columns 16-bit pixels."""

    name: str
    studies: int
    instances: int
    rows: int
    columns: int
    frames: int = 1

    @property
    def total_instances(self) -> int:
        """Instances in all studies."""
        return self.studies * self.instances

    @property
    def total_bytes(self) -> int:
        """Pixel bytes in all studies."""
        return self.total_instances * self.bytes_an_instance

    @property
    def bytes_an_instance(self) -> int:
        """Pixel bytes of one instance."""
        return self.rows * self.columns * 2 * self.frames

    def study_uids(self) -> list[str]:
        """Return the Study Instance UIDs."""
        return [f"{ROOT_UID}.{study + 1}" for study in range(self.studies)]


DATA = {
    "ct": DataSet("1,000 x 0.5 MB", studies=10, instances=100, rows=512, columns=512),
    "small": DataSet("10,000 x 50 kB", studies=20, instances=500, rows=160, columns=160),
    "multi-frame": DataSet(
        "20 x 200 MB", studies=20, instances=1, rows=1000, columns=1000, frames=100
    ),
}


def write(data: DataSet, folder: Path, seed: int = 11) -> None:
    """Write all instances as Part 10 files below `folder`."""
    template = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
    dataset = dcmread(template)
    dataset.Rows, dataset.Columns = data.rows, data.columns
    dataset.pop("DataSetTrailingPadding", None)
    if data.frames > 1:
        dataset.NumberOfFrames = data.frames
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MULTI_FRAME_CAPTURE
    noise = random.Random(seed)
    for number, study in enumerate(data.study_uids()):
        target = folder / str(number)
        target.mkdir(parents=True, exist_ok=True)
        dataset.StudyInstanceUID = study
        dataset.SeriesInstanceUID = f"{study}.1"
        for index in range(data.instances):
            dataset.SOPInstanceUID = f"{study}.1.{index + 1}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.InstanceNumber = index + 1
            dataset.PixelData = noise.randbytes(data.bytes_an_instance)
            dataset.save_as(target / f"{index}.dcm", enforce_file_format=True)
