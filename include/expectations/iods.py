"""The header suites: which SOP classes each is for, and which modalities where none is known."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import uid


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that a suite is for; see ``dicom_migration.quality.Suite``."""

    description: str
    sop_classes: tuple[uid.UID, ...] = ()
    modalities: tuple[str, ...] = ()
    both: bool = False


_CR = (uid.ComputedRadiographyImageStorage,)
_DX = (
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
)
_MG = (
    uid.DigitalMammographyXRayImageStorageForPresentation,
    uid.DigitalMammographyXRayImageStorageForProcessing,
)
_US = (uid.UltrasoundImageStorage, uid.UltrasoundMultiFrameImageStorage)
_XA = (uid.XRayAngiographicImageStorage, uid.XRayRadiofluoroscopicImageStorage)
_SC = (
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
)
_SR = (
    uid.BasicTextSRStorage,
    uid.EnhancedSRStorage,
    uid.ComprehensiveSRStorage,
    uid.Comprehensive3DSRStorage,
    uid.MammographyCADSRStorage,
    uid.ChestCADSRStorage,
    uid.XRayRadiationDoseSRStorage,
)

#: By the suite's short name, which the first column of attributes.csv has.
SELECTIONS = {
    "general": Selection(
        "Every header, whatever made it. Critical: the study is kept back until a person decides."
    ),
    "image": Selection(
        "Headers of images (PS3.3 C.7.6.1, C.7.6.3): nothing can be shown without these.",
        (
            *_CR,
            *_DX,
            *_MG,
            *_US,
            *_XA,
            *_SC,
            uid.CTImageStorage,
            uid.EnhancedCTImageStorage,
            uid.MRImageStorage,
            uid.EnhancedMRImageStorage,
            uid.NuclearMedicineImageStorage,
            uid.PositronEmissionTomographyImageStorage,
            uid.SegmentationStorage,
            uid.RTImageStorage,
            uid.BreastTomosynthesisImageStorage,
        ),
        ("CT", "MR", "CR", "DX", "MG", "US", "NM", "PT", "XA", "RF", "RTIMAGE"),
    ),
    "ct": Selection("Computed tomography (PS3.3 C.8.2.1).", (uid.CTImageStorage,), ("CT",)),
    "mr": Selection("Magnetic resonance (PS3.3 C.8.3.1).", (uid.MRImageStorage,), ("MR",)),
    "cr": Selection("Computed radiography (PS3.3 C.8.1).", _CR, ("CR",)),
    "dx": Selection("Digital radiography (PS3.3 C.8.11).", _DX, ("DX",)),
    "mg": Selection("Digital mammography (PS3.3 C.8.11.7).", _MG, ("MG",)),
    "breast_side": Selection(
        "Images of a breast, whatever took them: a breast without its side is a danger.",
        (*_MG, *_CR, *_DX, *_SC),
        ("MG",),
        both=True,
    ),
    "us": Selection("Ultrasound (PS3.3 C.8.5.6).", _US, ("US",)),
    "nm": Selection("Nuclear medicine (PS3.3 C.8.4).", (uid.NuclearMedicineImageStorage,), ("NM",)),
    "pt": Selection(
        "Positron emission tomography (PS3.3 C.8.9).",
        (uid.PositronEmissionTomographyImageStorage,),
        ("PT",),
    ),
    "xa": Selection("Angiography and radiofluoroscopy (PS3.3 C.8.7).", _XA, ("XA", "RF")),
    "sr": Selection("Structured reports (PS3.3 C.17).", _SR, ("SR",)),
    "sc": Selection("Secondary capture (PS3.3 C.8.6).", _SC),
    "seg": Selection("Segmentations (PS3.3 C.8.20).", (uid.SegmentationStorage,), ("SEG",)),
    "rtstruct": Selection(
        "RT structure sets (PS3.3 C.8.8.5).", (uid.RTStructureSetStorage,), ("RTSTRUCT",)
    ),
    "rtplan": Selection("RT plans (PS3.3 C.8.8.9).", (uid.RTPlanStorage,), ("RTPLAN",)),
    "rtdose": Selection("RT doses (PS3.3 C.8.8.3).", (uid.RTDoseStorage,), ("RTDOSE",)),
    "rtimage": Selection("RT images (PS3.3 C.8.8.2).", (uid.RTImageStorage,), ("RTIMAGE",)),
}

#: The modalities (0008,0060) that make a SOP class, as PS3.3 says or archives have them.
MODALITIES: dict[uid.UID, tuple[str, ...]] = {
    uid.CTImageStorage: ("CT",),
    uid.EnhancedCTImageStorage: ("CT",),
    uid.MRImageStorage: ("MR",),
    uid.EnhancedMRImageStorage: ("MR",),
    **dict.fromkeys(_CR, ("CR", "DX", "MG", "IO", "PX", "RG")),
    **dict.fromkeys(_DX, ("DX", "CR", "PX", "IO", "RG")),
    **dict.fromkeys(_MG, ("MG",)),
    **dict.fromkeys(_US, ("US", "IVUS")),
    **dict.fromkeys(_XA, ("XA", "RF", "DF", "DS")),
    **dict.fromkeys(_SR, ("SR",)),
    uid.NuclearMedicineImageStorage: ("NM", "PT"),
    uid.PositronEmissionTomographyImageStorage: ("PT",),
    uid.SegmentationStorage: ("SEG",),
    uid.RTStructureSetStorage: ("RTSTRUCT",),
    uid.RTPlanStorage: ("RTPLAN",),
    uid.RTDoseStorage: ("RTDOSE",),
    uid.RTImageStorage: ("RTIMAGE",),
    uid.KeyObjectSelectionDocumentStorage: ("KO",),
    uid.GrayscaleSoftcopyPresentationStateStorage: ("PR",),
}
