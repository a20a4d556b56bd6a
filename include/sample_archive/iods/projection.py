"""CR images and digital mammograms: projections (Part 3, A.2 and A.27)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
)

from include.sample_archive.iods.modules import code, monochrome_pixels, pixel_noise, start_instance
from include.sample_archive.phantoms import mammogram, radiograph
from include.sample_archive.studies import Place

_MAMMOGRAPHY_VIEWS = {
    "CC": code("399162004", "SCT", "cranio-caudal"),
    "MLO": code("399368009", "SCT", "medio-lateral oblique"),
}


def cr_image(place: Place) -> Dataset:
    """Return one 640 x 512 computed radiograph."""
    dataset = start_instance(place, ComputedRadiographyImageStorage)
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.ViewPosition = place.plan.variant
    dataset.PatientOrientation = ["A", "F"] if place.plan.variant == "LL" else ["L", "F"]
    dataset.KVP = "110"
    dataset.PlateType = ""
    dataset.ImagerPixelSpacing = ["0.5", "0.5"]
    noise = pixel_noise(place)
    pixels = radiograph.projection(place.plan.region, place.plan.variant, 640, 512, noise)
    monochrome_pixels(dataset, pixels, bits_stored=12)
    return dataset


def mg_image(place: Place) -> Dataset:
    """Return one 896 x 512 mammogram for presentation."""
    dataset = start_instance(place, DigitalMammographyXRayImageStorageForPresentation)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.PresentationIntentType = "FOR PRESENTATION"
    _breast_anatomy(dataset, place)
    _digital_x_ray(dataset)
    pixels = mammogram.projection(
        place.plan.laterality, place.plan.variant, 896, 512, pixel_noise(place)
    )
    monochrome_pixels(dataset, pixels, bits_stored=12)
    return dataset


def _breast_anatomy(dataset: Dataset, place: Place) -> None:
    side, view = place.plan.laterality, place.plan.variant
    dataset.ImageLaterality = side
    dataset.OrganExposed = "BREAST"
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.PositionerPrimaryAngle = "0" if view == "CC" else "45"
    dataset.PositionerSecondaryAngle = "0"
    dataset.BreastImplantPresent = "NO"
    towards_feet = {"CC": "R" if side == "L" else "L", "MLO": "FL" if side == "R" else "FR"}
    dataset.PatientOrientation = ["A" if side == "L" else "P", towards_feet[view]]
    dataset.AnatomicRegionSequence = Sequence([code("76752008", "SCT", "Breast")])
    view_item = Dataset()
    view_item.update(_MAMMOGRAPHY_VIEWS[view])
    view_item.ViewModifierCodeSequence = Sequence()
    dataset.ViewCodeSequence = Sequence([view_item])
    dataset.ViewPosition = view


def _digital_x_ray(dataset: Dataset) -> None:
    dataset.KVP = "28"
    dataset.DetectorType = "DIRECT"
    dataset.DetectorDescription = "SYNTHETIC"
    dataset.ImagerPixelSpacing = ["0.25", "0.25"]
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1
    dataset.RescaleIntercept = "0"
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.AcquisitionContextSequence = Sequence()
    dataset.DistanceSourceToDetector = "650"
    dataset.DistanceSourceToPatient = "600"
    dataset.EstimatedRadiographicMagnificationFactor = "1.083333"
    dataset.BodyPartThickness = "52"
    dataset.CompressionForce = "110"
    dataset.AnodeTargetMaterial = "TUNGSTEN"
    dataset.Exposure = "100"
    dataset.ExposureTime = "1200"
    dataset.XRayTubeCurrent = "83"
