"""The defects that the archive is seeded with, each as real archives have it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from include.sample_archive.identifiers import PRIVATE_SOP_CLASS_UID, derive_uid
from include.sample_archive.iods.modules import sop_instance_uid
from include.sample_archive.part10 import Specimen
from include.sample_archive.studies import Study, places

Plant = Callable[[list[Specimen], Study], list[Specimen]]


@dataclass(frozen=True)
class Defect:
    """One kind of defect.

    Attributes
    ----------
    code : str
        Its name in the index.
    description : str
        What is wrong, for a reader of the index.
    plant : callable
        Damages the specimens of a study in place (it may append to them) and returns those that
        carry the defect; an empty list if the study as a whole does.
    mutual : bool
        Whether the partner study carries it as much: neither is more wrong than the other.
    """

    code: str
    description: str
    plant: Plant
    mutual: bool = False


def _set_everywhere(keyword: str, value: str) -> Plant:
    def plant(specimens: list[Specimen], study: Study) -> list[Specimen]:
        for specimen in specimens:
            setattr(specimen.dataset, keyword, value)
        return []

    return plant


def _remove_everywhere(keyword: str) -> Plant:
    def plant(specimens: list[Specimen], study: Study) -> list[Specimen]:
        for specimen in specimens:
            delattr(specimen.dataset, keyword)
        return []

    return plant


def _spell_name(actual: str, declared: str | None) -> Plant:
    """Encode the patient's name with codec `actual` while the header declares something else."""

    def plant(specimens: list[Specimen], study: Study) -> list[Specimen]:
        spelled = study.patient.name.encode(actual)
        spelled += b" " * (len(spelled) % 2)
        for specimen in specimens:
            dataset = specimen.dataset
            dataset.pop("SpecificCharacterSet", None)
            if declared:
                dataset.SpecificCharacterSet = declared
            # A raw element is written as it stands: pydicom would encode a string correctly.
            tag = Tag("PatientName")
            dataset[tag] = RawDataElement(tag, "PN", len(spelled), spelled, 0, False, True)
        return []

    return plant


def _share_accession_number(specimens: list[Specimen], study: Study) -> list[Specimen]:
    return _set_everywhere("AccessionNumber", _partner(study).accession_number)(specimens, study)


def _rename_patient_id(specimens: list[Specimen], study: Study) -> list[Specimen]:
    # The old system's number: the plan gives both studies the same patient.
    other = f"OLD-{study.patient.patient_id[-6:]}"
    return _set_everywhere("PatientID", other)(specimens, study)


def _reuse_sop_instance_uid(specimens: list[Specimen], study: Study) -> list[Specimen]:
    # The plan gives both studies the same protocol, so the first places correspond.
    first = next(places(_partner(study)))
    specimens[0].dataset.SOPInstanceUID = sop_instance_uid(first)
    return specimens[:1]


def _truncate(specimens: list[Specimen], study: Study) -> list[Specimen]:
    specimens[-1].cut = 0.4
    return specimens[-1:]


def _shorten_pixel_data(specimens: list[Specimen], study: Study) -> list[Specimen]:
    victim = specimens[1 % len(specimens)]
    dataset = victim.dataset
    row_bytes = int(dataset.Columns) * int(dataset.BitsAllocated) // 8
    dataset.PixelData = dataset.PixelData[: -3 * row_bytes]
    return [victim]


def _store_big_endian(specimens: list[Specimen], study: Study) -> list[Specimen]:
    specimens[0].syntax = ExplicitVRBigEndian
    return specimens[:1]


def _deflate(specimens: list[Specimen], study: Study) -> list[Specimen]:
    victim = specimens[2 % len(specimens)]
    victim.syntax = DeflatedExplicitVRLittleEndian
    return [victim]


def _drop_file_meta(specimens: list[Specimen], study: Study) -> list[Specimen]:
    specimens[0].bare = True
    return specimens[:1]


def _be_born_after_the_study(specimens: list[Specimen], study: Study) -> list[Specimen]:
    born = study.performed.date() + timedelta(days=1461)
    _remove_everywhere("PatientAge")(specimens, study)
    return _set_everywhere("PatientBirthDate", f"{born:%Y%m%d}")(specimens, study)


def _lose_every_instance(specimens: list[Specimen], study: Study) -> list[Specimen]:
    specimens.clear()
    return []


def _add_private_instance(specimens: list[Specimen], study: Study) -> list[Specimen]:
    """Append an instance of a private SOP class: a vendor's raw data beside the images."""
    model, private = specimens[0].dataset, Dataset()
    for element in model:
        if element.tag.group in (0x0008, 0x0010, 0x0020) and element.keyword not in _IMAGE_ONLY:
            private.add(deepcopy(element))
    private.SOPClassUID = PRIVATE_SOP_CLASS_UID
    private.SOPInstanceUID = derive_uid(study.seed, "private", model.SOPInstanceUID)
    private.SeriesInstanceUID = derive_uid(study.seed, "private", model.SeriesInstanceUID)
    private.SeriesNumber = 99
    private.SeriesDescription = "RAW DATA"
    private.Modality = "OT"
    block = private.private_block(0x0029, "SAMPLE ARCHIVE RAW", create=True)
    block.add_new(0x10, "OB", bytes(range(256)) * 64)
    specimens.append(Specimen(private))
    return specimens[-1:]


_IMAGE_ONLY = ("ImageType", "ImageOrientationPatient", "ImagePositionPatient", "SliceLocation")


def _partner(study: Study) -> Study:
    if study.partner is None:
        raise ValueError(f"study {study.number} carries a mutual defect and names no partner")
    return study.partner


def catalogue() -> dict[str, Defect]:
    """Return every defect by its code."""
    return {defect.code: defect for defect in (*_IDENTITY, *_TEXT, *_CONTENT)}


_IDENTITY = (
    Defect(
        "missing_study_date", "Study Date (0008,0020) is absent.", _remove_everywhere("StudyDate")
    ),
    Defect(
        "missing_accession_number",
        "Accession Number (0008,0050) is empty.",
        _set_everywhere("AccessionNumber", ""),
    ),
    Defect(
        "shared_accession_number",
        "Two studies of different patients carry the same Accession Number.",
        _share_accession_number,
        mutual=True,
    ),
    Defect(
        "patient_under_two_ids",
        "The same person (name, birth date, sex) is registered under two Patient IDs.",
        _rename_patient_id,
        mutual=True,
    ),
    Defect(
        "study_before_birth",
        "Patient's Birth Date is four years after Study Date.",
        _be_born_after_the_study,
    ),
    Defect(
        "absurd_study_date",
        "Study Date is 1899-12-30, the zero of a spreadsheet's calendar.",
        _set_everywhere("StudyDate", "18991230"),
    ),
    Defect(
        "invalid_patient_sex",
        "Patient's Sex is W, which the standard does not define.",
        _set_everywhere("PatientSex", "W"),
    ),
)
_TEXT = (
    Defect(
        "overlong_body_part",
        "Body Part Examined has 33 characters; CS allows 16.",
        _set_everywhere("BodyPartExamined", "LUMBAR SPINE AND SACROILIAC JOINT"),
    ),
    Defect(
        "overlong_study_description",
        "Study Description has 73 characters; LO allows 64.",
        _set_everywhere(
            "StudyDescription",
            "FOLLOW-UP EXAMINATION AFTER TREATMENT, COMPARISON WITH ALL EARLIER IMAGES",
        ),
    ),
    Defect(
        "overlong_institution_name",
        "Institution Name has 80 characters; LO allows 64.",
        _set_everywhere(
            "InstitutionName",
            "SAMPLE HOSPITAL, DEPARTMENT OF DIAGNOSTIC RADIOLOGY AND IMAGING, BUILDING 4 WEST",
        ),
    ),
    Defect(
        "charset_utf8_declared_latin1",
        "Patient's Name is UTF-8 while Specific Character Set says ISO_IR 100.",
        _spell_name("utf-8", "ISO_IR 100"),
    ),
    Defect(
        "charset_utf8_undeclared",
        "Patient's Name is UTF-8 while Specific Character Set is absent.",
        _spell_name("utf-8", None),
    ),
    Defect(
        "charset_latin1_undeclared",
        "Patient's Name is ISO 8859-1 while Specific Character Set is absent.",
        _spell_name("latin-1", None),
    ),
)
_CONTENT = (
    Defect(
        "duplicate_sop_instance_uid",
        "Two files in two studies carry the same SOP Instance UID and different bytes.",
        _reuse_sop_instance_uid,
        mutual=True,
    ),
    Defect(
        "truncated_file",
        "The last 40 % of the file are lost: Pixel Data declares more bytes than there are.",
        _truncate,
    ),
    Defect(
        "pixel_length_mismatch",
        "Pixel Data is three rows shorter than Rows x Columns says; the file itself is whole.",
        _shorten_pixel_data,
    ),
    Defect(
        "explicit_big_endian",
        "The file uses Explicit VR Big Endian, retired in 2006.",
        _store_big_endian,
    ),
    Defect("deflated", "The file uses Deflated Explicit VR Little Endian.", _deflate),
    Defect(
        "no_file_meta",
        "The file is a bare dataset, without preamble and File Meta Information.",
        _drop_file_meta,
    ),
    Defect(
        "private_sop_class",
        "An instance has a SOP Class UID outside DICOM's root, unknown to peers.",
        _add_private_instance,
    ),
    Defect(
        "empty_study",
        "The database knows the study; no image of it can be retrieved (empty directory).",
        _lose_every_instance,
    ),
)
