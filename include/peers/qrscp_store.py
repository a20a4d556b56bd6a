"""The storage directory and database of pynetdicom's qrscp, filled without a network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pynetdicom.apps.qrscp import db
from sqlalchemy import Connection, Engine, create_engine, distinct, func, insert, select, text

from include.peers.dicom_header import NotIndexableError, read_header
from include.peers.load_report import LoadReport, database_only, files_in
from include.peers.part10_copy import copy_as_part10

_COLUMNS = {
    "PatientID": "patient_id",
    "PatientName": "patient_name",
    "StudyInstanceUID": "study_instance_uid",
    "StudyDate": "study_date",
    "StudyTime": "study_time",
    "AccessionNumber": "accession_number",
    "StudyID": "study_id",
    "SeriesInstanceUID": "series_instance_uid",
    "Modality": "modality",
    "SeriesNumber": "series_number",
    "SOPInstanceUID": "sop_instance_uid",
    "SOPClassUID": "sop_class_uid",
    "InstanceNumber": "instance_number",
}
# A response with a value that is no integer would break the C-FIND that returns it.
_INTEGERS = ("SeriesNumber", "InstanceNumber")
_INDEXES = ("study_instance_uid", "series_instance_uid", "study_date", "patient_id")
Row = dict[str, Any]


class QrscpStore:
    """Files and database rows, as qrscp itself would have left them.

    Its own `add_instance` is not used: it refuses over-long values, which real archives have, and
    commits an instance at a time.
    """

    def __init__(self, workdir: Path) -> None:
        self.files = workdir / "files"
        self.database = workdir / "instances.sqlite"

    def create(self) -> None:
        """Create the directory and the empty database unless they exist."""
        self._engine().dispose()

    def load(self, folder: Path) -> LoadReport:
        """Copy the files of `folder` and enter them, in one transaction.

        A Part 10 file is copied as it is; a bare dataset gets a preamble and File Meta
        Information in front, because qrscp reads nothing else. The database keeps one file a SOP
        Instance UID: of several the first is kept and the others are reported. If the folder is
        a sample archive, the instances that only the database knows become rows without a file.
        """
        engine = self._engine()
        report = LoadReport()
        rows: dict[str, Row] = {}
        with engine.begin() as connection:
            known: set[str] = set(connection.scalars(select(db.Instance.sop_instance_uid)))
            for path in files_in(folder):
                try:
                    header = read_header(path)
                    uid = str(header.values["SOPInstanceUID"])
                    if uid in known or uid in rows:
                        raise NotIndexableError(
                            "its SOP Instance UID is stored already: the first file is kept"
                        )
                    # A UID from a header is no safe file name: ours are numbers.
                    stored = self.files / f"{len(known) + len(rows) + 1:08d}.dcm"
                    copy_as_part10(path, header, stored)
                except NotIndexableError as reason:
                    report.skip(path, str(reason))
                    continue
                rows[uid] = _row(header.values, str(header.transfer_syntax), stored)
                report.loaded += 1
                report.bytes += path.stat().st_size
            for values in database_only(folder):
                uid = values["SOPInstanceUID"]
                if uid not in known and uid not in rows:
                    rows[uid] = _row(values, "1.2.840.10008.1.2.1", self.files / "lost.dcm")
            _insert(connection, rows.values())
            report.instances = (
                connection.scalar(select(func.count(db.Instance.sop_instance_uid))) or 0
            )
            report.studies = (
                connection.scalar(select(func.count(distinct(db.Instance.study_instance_uid)))) or 0
            )
        engine.dispose()
        return report

    def _engine(self) -> Engine:
        self.files.mkdir(parents=True, exist_ok=True)
        engine = create_engine(f"sqlite:///{self.database}")
        db.Base.metadata.create_all(engine)
        with engine.begin() as connection:
            for column in _INDEXES:
                # Its own schema has none, and every retrieval would read the whole table.
                connection.execute(
                    text(f"CREATE INDEX IF NOT EXISTS ix_{column} ON instance ({column})")
                )
        return engine


def _insert(connection: Connection, rows: Collection[Row]) -> None:
    if rows:
        connection.execute(insert(db.Instance), list(rows))


def _row(values: Mapping[str, str | None], transfer_syntax: str, stored: Path) -> Row:
    row: Row = {column: values.get(keyword) for keyword, column in _COLUMNS.items()}
    for keyword in _INTEGERS:
        value = row[_COLUMNS[keyword]]
        if value is not None and not value.lstrip("+-").isdecimal():
            row[_COLUMNS[keyword]] = None
    return {**row, "transfer_syntax_uid": transfer_syntax, "filename": str(stored)}
