"""Every adapter keeps the contract, against every real source that speaks its protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from dicom_migration.archive.dicomweb import DicomWebArchive, DicomWebSettings
from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.archive.folder import FolderArchive, FolderSettings
from include.peers import Dcmqrscp, Orthanc, Qrscp
from tests.conftest import require
from tests.integration.archive.conformance import ArchiveConformance, Subject
from tests.integration.archive.real_files import PRIVATE, RealFile
from tests.integration.archive.zip_archive import ZipArchive

# DCMTK, on which Orthanc and dcmqrscp are built, writes datasets anew when it sends them: without
# trailing padding, group lengths and with sequence lengths of its own.
REWRITTEN_BY_DCMTK = frozenset(
    {
        "CT_small",
        "MR_small",
        "MR_small_RLE",
        "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless",
        "JPGExtended",
        "JPEG2000",
        "waveform_ecg",
        "liver_1frame",
        "image_dfl",
    }
)
COMPRESSED = frozenset(
    {
        "MR_small_RLE",
        "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless",
        "JPGExtended",
        "JPEG2000",
        "SC_rgb_jpeg_dcmtk",
        "SC_rgb_jpeg_lossy_gdcm",
        "SC_rgb_rle",
    }
)
# dcmqrscp uses the first presentation context of a SOP class, whatever the file's syntax.
NOT_EXPLICIT_LITTLE = frozenset(
    {
        "MR_small_implicit",
        "MR_small_bigendian",
        "ExplVR_BigEnd",
        "image_dfl",
        "rtplan",
        "rtdose_1frame",
    }
)


def dimse_settings(peer: Orthanc | Dcmqrscp | Qrscp, landing_port: int) -> DimseSettings:
    return DimseSettings(
        host="127.0.0.1",
        port=peer.port,
        called_ae_title=peer.ae_title,
        landing_host="127.0.0.1",
        landing_port=landing_port,
        dimse_timeout_s=30,
        network_timeout_s=10,
        move_quiet_s=2,
    )


class TestFolder(ArchiveConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, archive_files: tuple[RealFile, ...]) -> Subject:
        settings = FolderSettings(archive_files[0].path.parent)
        return Subject(lambda: FolderArchive(settings), archive_files)


class TestZipExample(ArchiveConformance):
    """The example of docs/extend-source-adapter.md keeps the contract, too."""

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, session_tmp: Path, archive_files: tuple[RealFile, ...]) -> Subject:
        path = session_tmp / "handed over.zip"
        with ZipFile(path, "w") as archive:
            for file in archive_files:
                archive.write(file.path, f"DICOM/{file.label}")
            archive.writestr("README.txt", "not an image")
        return Subject(lambda: ZipArchive(path), archive_files)


@pytest.mark.peers
class TestOrthancDicomWeb(ArchiveConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, orthanc: Orthanc, archive_files: tuple[RealFile, ...]) -> Subject:
        require(Orthanc.dicomweb_available(), "orthanc-dicomweb")
        settings = DicomWebSettings(orthanc.dicomweb_url, page_size=3)
        return Subject(lambda: DicomWebArchive(settings), archive_files)


@pytest.mark.peers
class TestOrthancGet(ArchiveConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(
        cls, orthanc: Orthanc, archive_files: tuple[RealFile, ...], landing_port: int
    ) -> Subject:
        settings = dimse_settings(orthanc, landing_port)
        return Subject(lambda: DimseArchive(settings), archive_files, rewritten=REWRITTEN_BY_DCMTK)


@pytest.mark.peers
class TestOrthancMove(ArchiveConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(
        cls, orthanc: Orthanc, archive_files: tuple[RealFile, ...], landing_port: int
    ) -> Subject:
        settings = replace(dimse_settings(orthanc, landing_port), retrieve_method="C-MOVE")
        return Subject(lambda: DimseArchive(settings), archive_files, rewritten=REWRITTEN_BY_DCMTK)


@pytest.mark.peers
class TestDcmqrscpGet(ArchiveConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(
        cls, dcmqrscp: Dcmqrscp, archive_files: tuple[RealFile, ...], landing_port: int
    ) -> Subject:
        settings = dimse_settings(dcmqrscp, landing_port)
        return Subject(
            lambda: DimseArchive(settings),
            archive_files,
            refused=COMPRESSED | {PRIVATE},
            rewritten=REWRITTEN_BY_DCMTK,
            converted=NOT_EXPLICIT_LITTLE,
        )


@pytest.mark.peers
class TestDcmqrscpMove(ArchiveConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(
        cls, dcmqrscp: Dcmqrscp, archive_files: tuple[RealFile, ...], landing_port: int
    ) -> Subject:
        settings = replace(dimse_settings(dcmqrscp, landing_port), retrieve_method="C-MOVE")
        return Subject(
            lambda: DimseArchive(settings),
            archive_files,
            refused=COMPRESSED | {PRIVATE},
            rewritten=REWRITTEN_BY_DCMTK,
            converted=NOT_EXPLICIT_LITTLE,
        )


class TestQrscpGet(ArchiveConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(
        cls, qrscp: Qrscp, archive_files: tuple[RealFile, ...], landing_port: int
    ) -> Subject:
        settings = dimse_settings(qrscp, landing_port)
        return Subject(
            lambda: DimseArchive(settings),
            archive_files,
            refused=frozenset({PRIVATE}),
            rewritten=frozenset({"image_dfl", "ExplVR_BigEnd"}),
        )


class TestQrscpMove(ArchiveConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(
        cls, qrscp: Qrscp, archive_files: tuple[RealFile, ...], landing_port: int
    ) -> Subject:
        settings = replace(dimse_settings(qrscp, landing_port), retrieve_method="C-MOVE")
        return Subject(
            lambda: DimseArchive(settings),
            archive_files,
            rewritten=frozenset({"image_dfl", "ExplVR_BigEnd"}),
        )
