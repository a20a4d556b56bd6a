"""Header facts by WADO-RS metadata of a real server, beside those of the files it holds."""

from __future__ import annotations

import pytest

from dicom_migration.archive.dicomweb import DicomWebArchive, DicomWebSettings
from dicom_migration.cleansing.choosing import chosen_instances
from dicom_migration.cleansing.headers import read_study
from dicom_migration.cleansing.metadata import facts_by_metadata
from dicom_migration.policies.cleansing import CleansingPolicy
from include.peers import Orthanc
from tests.conftest import require
from tests.integration.archive.real_files import RealFile

#: A server may tell the character set of its answer, and not how the instance is encoded.
UNTOLD = {"specific_character_set", "transfer_syntax_uid", "pixel_bytes"}


@pytest.mark.peers
def test_a_servers_metadata_says_what_its_files_say(
    orthanc: Orthanc, archive_files: tuple[RealFile, ...]
) -> None:
    require(Orthanc.dicomweb_available(), "orthanc-dicomweb")
    studies = sorted({file.study_instance_uid for file in archive_files})
    by_metadata = 0
    asked, retrieved = CleansingPolicy(), CleansingPolicy(use_metadata=False)
    with DicomWebArchive(DicomWebSettings(orthanc.dicomweb_url)) as archive:
        for uid in studies:
            instances = list(archive.find_instances(uid))
            wanted = list(chosen_instances(instances, asked))
            by_metadata += facts_by_metadata(archive, uid, wanted, asked) is not None
            told = read_study(archive, uid, asked).facts
            read = read_study(archive, uid, retrieved).facts
            assert [_known(row) for row in told] == [_known(row) for row in read], uid
    assert by_metadata > len(studies) / 2


def _known(row: dict[str, object]) -> dict[str, object]:
    # Data Set Trailing Padding (FFFC,FFFC) is no part of the metadata.
    attributes = str(row["attributes"]).replace(" FFFCFFFC", "")
    return {key: row[key] for key in row if key not in UNTOLD} | {"attributes": attributes}
