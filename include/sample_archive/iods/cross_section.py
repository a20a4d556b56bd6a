"""CT and MR images: slices with a position in the patient (Part 3, A.3 and A.4)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage

from include.sample_archive.identifiers import derive_uid
from include.sample_archive.iods.modules import monochrome_pixels, pixel_noise, start_instance
from include.sample_archive.phantoms import ct, mr
from include.sample_archive.studies import Place

_AXIAL = ["1", "0", "0", "0", "1", "0"]
_SAGITTAL = ["0", "1", "0", "0", "0", "-1"]
_TIMING = {"T1": ("SE", "500", "12"), "T2": ("SE", "4200", "98"), "PD": ("SE", "2600", "28")}


def ct_image(place: Place) -> Dataset:
    """Return one 512 x 512 CT slice of 5 mm, in Hounsfield units after rescale."""
    dataset = start_instance(place, CTImageStorage)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    _image_plane(dataset, place, rows=512, spacing_mm=0.7, thickness_mm=5.0)
    dataset.KVP = "120"
    dataset.ExposureTime = "1000"
    dataset.XRayTubeCurrent = "250"
    dataset.Exposure = "250"
    dataset.ConvolutionKernel = "STANDARD"
    dataset.DataCollectionDiameter = "500"
    dataset.ReconstructionDiameter = "358.4"
    dataset.GantryDetectorTilt = "0"
    dataset.TableHeight = "150"
    dataset.RotationDirection = "CW"
    dataset.ContrastBolusAgent = "IOHEXOL" if "WITH CONTRAST" in dataset.StudyDescription else ""
    dataset.RescaleIntercept = str(ct.INTERCEPT)
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "HU"
    pixels = ct.slice_of(place.plan.region, 512, 512, place.depth, pixel_noise(place))
    monochrome_pixels(dataset, pixels, bits_stored=12)
    return dataset


def mr_image(place: Place) -> Dataset:
    """Return one 256 x 256 MR slice of 4 mm; knees are sagittal, brains axial."""
    dataset = start_instance(place, MRImageStorage)
    sequence, repetition_ms, echo_ms = _TIMING[place.plan.variant]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    _image_plane(dataset, place, rows=256, spacing_mm=0.9, thickness_mm=4.0)
    dataset.ScanningSequence = sequence
    dataset.SequenceVariant = "NONE"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime = repetition_ms
    dataset.EchoTime = echo_ms
    dataset.EchoTrainLength = "1"
    dataset.NumberOfAverages = "1"
    dataset.MagneticFieldStrength = "1.5"
    dataset.FlipAngle = "90"
    dataset.ImagedNucleus = "1H"
    dataset.SpacingBetweenSlices = "4.4"
    noise = pixel_noise(place)
    pixels = mr.slice_of(place.plan.region, place.plan.variant, 256, 256, place.depth, noise)
    monochrome_pixels(dataset, pixels, bits_stored=12)
    return dataset


def _image_plane(
    dataset: Dataset, place: Place, rows: int, spacing_mm: float, thickness_mm: float
) -> None:
    sagittal = place.plan.region == "KNEE"
    edge = round(-rows * spacing_mm / 2, 2)
    along = round((place.number - 1) * thickness_mm * 1.1, 2)
    position = [along, edge, -edge] if sagittal else [edge, edge, along]
    dataset.FrameOfReferenceUID = derive_uid(
        place.study.seed, "frame of reference", place.study.uid
    )
    dataset.PositionReferenceIndicator = ""
    dataset.PatientPosition = "HFS"
    dataset.PixelSpacing = [str(spacing_mm)] * 2
    dataset.ImageOrientationPatient = _SAGITTAL if sagittal else _AXIAL
    dataset.ImagePositionPatient = [str(value) for value in position]
    dataset.SliceThickness = str(thickness_mm)
    dataset.SliceLocation = str(along)
