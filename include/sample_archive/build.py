"""Build the archive: plan the studies, draw or copy their instances, plant the defects."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import RLELossless

from include.sample_archive.defects import Defect, catalogue
from include.sample_archive.history import plan_placed_studies, plan_studies
from include.sample_archive.index import ArchiveIndex, PlantedDefect, StudyEntry
from include.sample_archive.iods.cross_section import ct_image, mr_image
from include.sample_archive.iods.projection import cr_image, mg_image
from include.sample_archive.iods.ultrasound import us_image
from include.sample_archive.part10 import Specimen, encode
from include.sample_archive.patients import draw_patients
from include.sample_archive.real_files import (
    defects_as_found,
    files_as_found,
    place_files,
    protocols_of_placed_files,
)
from include.sample_archive.studies import Study, places
from include.sample_archive.writer import ArchiveWriter

Scale = Literal["full", "small"]
_PATIENTS = 28
_IMAGE_OF = {"CT": ct_image, "MR": mr_image, "CR": cr_image, "MG": mg_image, "US": us_image}
_DATABASE_KEYWORDS = (
    "PatientID PatientName StudyInstanceUID StudyDate StudyTime AccessionNumber StudyID "
    "SeriesInstanceUID Modality SeriesNumber SOPInstanceUID SOPClassUID InstanceNumber"
)


def build(out: Path, seed: int = 7, scale: Scale = "full") -> ArchiveIndex:
    """Build the sample archive in the directory `out` and return its index.

    Parameters
    ----------
    out : Path
        A directory that does not exist, is empty, or holds an earlier build, which is replaced.
    seed : int
        Equal seeds give equal bytes.
    scale : {"full", "small"}
        About 630 instances and 140 MB, or about 45 instances and 15 MB.

    Raises
    ------
    FileExistsError
        `out` holds something that this function did not build.
    SampleDataMissingError
        The real files are not installed.
    """
    small = scale == "small"
    archive = ArchiveWriter(out)
    patients = draw_patients(seed, _PATIENTS)
    planned = plan_studies(seed, patients, small)
    # The defects are deliberate, and pydicom's warnings about them would quote the values.
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for study in planned:
            _add_synthetic(archive, study)
        protocols = protocols_of_placed_files(small)
        for study in plan_placed_studies(seed, patients, protocols, first=len(planned) + 1):
            _add_placed(archive, study)
        _add_as_found(archive, files_as_found(small))
    return archive.index(seed, scale)


def _add_synthetic(archive: ArchiveWriter, study: Study) -> None:
    image_of = _IMAGE_OF[study.protocol.modality]
    specimens = [Specimen(image_of(place)) for place in places(study)]
    if study.run_length_encoded:
        for specimen in specimens:
            specimen.syntax = RLELossless
    header = specimens[0].dataset
    known = catalogue()
    carriers = {code: known[code].plant(specimens, study) for code in study.defects}
    files = [(int(s.dataset.SeriesNumber), encode(s)) for s in specimens]
    entry = archive.add(header, "synthetic", list(study.defects), files)
    if not files:
        archive.database_only.append({k: str(header[k].value) for k in _DATABASE_KEYWORDS.split()})
    for code, carrying in carriers.items():
        _record(archive, known[code], entry, specimens, carrying)
        if known[code].mutual:
            _record_partner(archive, known[code], study, carrying)


def _record(
    archive: ArchiveWriter,
    defect: Defect,
    entry: StudyEntry,
    specimens: list[Specimen],
    carrying: list[Specimen],
) -> None:
    uid = entry.study_instance_uid
    if not carrying:
        file = entry.files[0] if entry.files else archive.directory_of[uid]
        archive.planted.append(PlantedDefect(defect.code, uid, None, file, defect.description))
    for specimen in carrying:
        file = entry.files[next(i for i, s in enumerate(specimens) if s is specimen)]
        sop = str(specimen.dataset.SOPInstanceUID)
        archive.planted.append(PlantedDefect(defect.code, uid, sop, file, defect.description))


def _record_partner(
    archive: ArchiveWriter, defect: Defect, study: Study, carrying: list[Specimen]
) -> None:
    """Enter a mutual defect for the other study too; its first file carries it."""
    partner = str(study.partner.uid) if study.partner else ""
    at = next(i for i, e in enumerate(archive.studies) if e.study_instance_uid == partner)
    entry = archive.studies[at]
    sop = str(carrying[0].dataset.SOPInstanceUID) if carrying else None
    archive.planted.append(
        PlantedDefect(defect.code, partner, sop, entry.files[0], defect.description)
    )
    archive.studies[at] = replace(entry, defects=[*entry.defects, defect.code])


def _add_placed(archive: ArchiveWriter, study: Study) -> None:
    placed = list(place_files(study))
    defects = sorted({code for dataset, _ in placed for code in defects_as_found(dataset)})
    archive.add(placed[0][0], "placed", defects, [(1, content) for _, content in placed])


def _add_as_found(archive: ArchiveWriter, paths: list[Path]) -> None:
    studies: dict[str, list[tuple[FileDataset, bytes]]] = defaultdict(list)
    for path in paths:
        header = dcmread(path, stop_before_pixels=True, force=True)
        studies[str(header.StudyInstanceUID)].append((header, path.read_bytes()))
    shared = _shared_accession_numbers([members[0][0] for members in studies.values()])
    for members in studies.values():
        first: Dataset = members[0][0]
        defects = {code for header, _ in members for code in defects_as_found(header)}
        if first.get("AccessionNumber") in shared:
            defects.add("shared_accession_number")
        series = sorted({str(header.get("SeriesInstanceUID")) for header, _ in members})
        files = [(series.index(str(h.get("SeriesInstanceUID"))) + 1, raw) for h, raw in members]
        in_order = sorted(files, key=lambda file: file[0])
        archive.add(first, "as_found", sorted(defects), in_order)


def _shared_accession_numbers(headers: list[FileDataset]) -> set[str]:
    """Return the accession numbers that two real patients have in common."""
    patients: dict[str, set[str]] = defaultdict(set)
    for header in headers:
        if header.get("AccessionNumber"):
            patients[header.AccessionNumber].add(str(header.get("PatientID")))
    return {number for number, ids in patients.items() if len(ids) > 1}
