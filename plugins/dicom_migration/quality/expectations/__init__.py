"""Expectations of DICOM that Great Expectations' own cannot say; importing them registers them.

Only :mod:`dicom_migration.quality.judging` may import this package, and only when it judges: Great
Expectations takes seconds to import. Every expectation judges in memory and inside a database.
"""

from dicom_migration.quality.expectations.attributes import (
    ExpectAttributesToConformToVr,
    ExpectAttributeToBeKnown,
    ExpectAttributeToBeKnownAbove,
)
from dicom_migration.quality.expectations.character_sets import ExpectCharacterSetToDecodeText
from dicom_migration.quality.expectations.owners import ExpectIdentifierToNameOneOwner
from dicom_migration.quality.expectations.pairs import (
    ExpectDicomDatesToBeOrdered,
    ExpectModalityToSuitSopClass,
)
from dicom_migration.quality.expectations.pixels import ExpectPixelLengthToBeConsistent
from dicom_migration.quality.expectations.values import (
    ExpectColumnValuesToBePersonNames,
    ExpectColumnValuesToBeUids,
    ExpectColumnValuesToConformToVr,
    ExpectColumnValuesToFitVr,
)

__all__ = [
    "ExpectAttributeToBeKnown",
    "ExpectAttributeToBeKnownAbove",
    "ExpectAttributesToConformToVr",
    "ExpectCharacterSetToDecodeText",
    "ExpectColumnValuesToBePersonNames",
    "ExpectColumnValuesToBeUids",
    "ExpectColumnValuesToConformToVr",
    "ExpectColumnValuesToFitVr",
    "ExpectDicomDatesToBeOrdered",
    "ExpectIdentifierToNameOneOwner",
    "ExpectModalityToSuitSopClass",
    "ExpectPixelLengthToBeConsistent",
]
