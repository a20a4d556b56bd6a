"""A hospital's archive in miniature, real and synthetic, with the defects that archives have."""

from include.sample_archive.build import build
from include.sample_archive.index import ArchiveIndex, PlantedDefect, StudyEntry
from include.sample_archive.real_files import SampleDataMissingError

__all__ = ["ArchiveIndex", "PlantedDefect", "SampleDataMissingError", "StudyEntry", "build"]
