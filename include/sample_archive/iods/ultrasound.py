"""Ultrasound images and multi-frame clips (Part 3, A.6 and A.7)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from include.sample_archive.iods.modules import monochrome_pixels, pixel_noise, start_instance
from include.sample_archive.phantoms import ultrasound
from include.sample_archive.studies import Place


def us_image(place: Place) -> Dataset:
    """Return a 360 x 480 still image, or a 240 x 320 clip at 25 frames a second."""
    if place.plan.variant == "CLIP":
        return _clip(place)
    dataset = start_instance(place, UltrasoundImageStorage)
    _ultrasound_module(dataset, rows=360, columns=480)
    monochrome_pixels(dataset, ultrasound.still(360, 480, pixel_noise(place)), bits_stored=8)
    return dataset


def _clip(place: Place) -> Dataset:
    frames = place.plan.images
    dataset = start_instance(place, UltrasoundMultiFrameImageStorage)
    _ultrasound_module(dataset, rows=240, columns=320)
    dataset.NumberOfFrames = str(frames)
    dataset.FrameTime = "40"
    dataset.FrameIncrementPointer = Tag("FrameTime")
    dataset.CineRate = "25"
    dataset.HeartRate = "125"
    pixels = ultrasound.clip(frames, 240, 320, pixel_noise(place))
    monochrome_pixels(dataset, pixels, bits_stored=8)
    return dataset


def _ultrasound_module(dataset: Dataset, rows: int, columns: int) -> None:
    examined = "ABDOMINAL" if dataset.BodyPartExamined == "ABDOMEN" else "CHEST"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", examined, "0001"]
    dataset.PatientOrientation = ""
    dataset.LossyImageCompression = "00"
    dataset.UltrasoundColorDataPresent = 0
    region = Dataset()
    region.RegionSpatialFormat = 1
    region.RegionDataType = 1
    region.RegionFlags = 2
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = columns - 1, rows - 1
    region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = 3, 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.04, 0.04
    dataset.SequenceOfUltrasoundRegions = Sequence([region])
