"""A source of any number of made-up studies behind a real SCP, answers made on the fly.

It is what makes inventories hard: it stops at `cap` answers without a word, some days hold far
more than that, one second of one day does as well, and some studies have no date. Rows have a fixed
width, so that an answer is a template with a few bytes filled in: the source must not be what is
measured. It runs as a process of its own: ``python -m tests.benchmarks.synthetic_source 1000000``
prints its port and serves until its input ends.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from dicom_migration.archive import records
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_command import (
    NO_DATASET,
    CommandField,
    Field,
    encode_command,
    number,
)
from dicom_migration.archive.dimse_identifier import decode_identifier, encode_identifier
from dicom_migration.archive.dimse_query import STUDY_ROOT_FIND
from dicom_migration.archive.presentation_contexts import EXPLICIT_VR_LITTLE_ENDIAN
from dicom_migration.errors import MigrationError
from tests.integration.archive.scripted_source import ScriptedSource

FIRST_DAY, LAST_DAY = date(2005, 1, 1), date(2025, 10, 31)
CAP = 500
UID_ROOT = "1.2.826.0.1.3680043.10.9."
UNDATED = 3000
"""One study of so many has no date."""
_DAY = 86_400
_ROWS_A_SEND = 128
_SECONDS = 600


@dataclass(frozen=True)
class Key:
    """Where a study is in time: the day's number from 1, 0 for none, and the second of the day."""

    day: int
    second: int


class SyntheticArchive:
    """So many studies, the same for the same seed, in the order of date and time."""

    def __init__(self, studies: int, seed: int = 1) -> None:
        drawn = random.Random(seed)
        days = (LAST_DAY - FIRST_DAY).days + 1
        weights = [
            (1 + 3 * day / days) * (0.15 if (FIRST_DAY + timedelta(days=day)).weekday() > 4 else 1)
            for day in range(days)
        ]
        # Old archives were imported in a few days, some of it with the time of the import.
        crowded = drawn.sample(range(days), 5)
        for day in crowded:
            weights[day] = sum(weights) * 0.02
        chosen = drawn.choices(range(days), weights, k=studies)
        moments = [day * _DAY + self._second(drawn) for day in chosen]
        for index in range(min(studies // 500, 3000)):
            moments[index] = crowded[0] * _DAY
        undated = studies // UNDATED
        self.moments = sorted(moments[undated:])
        self.undated = undated
        self.studies = studies
        self.by_patient = sorted(range(studies), key=self.patient)

    @staticmethod
    def _second(drawn: random.Random) -> int:
        return min(_DAY - 1, max(0, round(drawn.gauss(12.5, 3) * 3600)))

    def patient(self, index: int) -> str:
        """Return the Patient ID of a study; those without a date have one of their own kind."""
        if index >= len(self.moments):
            return f"U{index:09}"
        return f"{index * 7_919 % 1_000_000_007:010}"

    def uids(self) -> Iterator[str]:
        """Yield the UID of every study."""
        return (f"{UID_ROOT}{index:010}" for index in range(self.studies))

    def find(self, keys: dict[int, str], cap: int) -> list[int]:
        """Return the first `cap` studies that match."""
        uid = keys.get(records.STUDY_INSTANCE_UID, "")
        if uid:
            tail = uid.removeprefix(UID_ROOT)
            return [int(tail)] if tail.isdigit() and int(tail) < self.studies else []
        dates, times = keys.get(records.STUDY_DATE, ""), keys.get(records.STUDY_TIME, "")
        patient = keys.get(records.PATIENT_ID, "")
        if not dates:
            return self._of_patient(patient, cap)
        begin, end = self._range(dates, times)
        if not patient:
            return list(range(begin, min(end, begin + cap)))
        exact, head = not patient.endswith("*"), patient.rstrip("*")
        found = []
        for index in range(begin, end):
            mine = self.patient(index)
            if mine == head if exact else mine.startswith(head):
                found.append(index)
                if len(found) >= cap:
                    break
        return found

    def _of_patient(self, key: str, cap: int) -> list[int]:
        head = key.rstrip("*")
        begin = bisect_left(self.by_patient, head, key=self.patient)
        found = []
        for index in self.by_patient[begin : begin + cap]:
            mine = self.patient(index)
            if not (mine == head if key and key == head else mine.startswith(head)):
                break
            found.append(index)
        return found

    def _range(self, dates: str, times: str) -> tuple[int, int]:
        first, _, last = dates.partition("-") if "-" in dates else (dates, "", dates)
        since, until = _moment(first, 0), _moment(last, len(self.moments) and 10**12)
        begin = bisect_left(self.moments, since)
        end = bisect_right(self.moments, until + _DAY - 1)
        if times:
            low, _, high = times.partition("-")
            begin = bisect_left(self.moments, since + _seconds(low, 0))
            end = bisect_right(self.moments, since + _seconds(high, _DAY - 1))
        return begin, end

    def row(self, index: int) -> tuple[bytes, ...]:
        """Return what fills the template of an answer."""
        day, time = b" " * 8, b" " * 6
        if index < len(self.moments):
            number_, second = divmod(self.moments[index], _DAY)
            day = f"{FIRST_DAY + timedelta(days=number_):%Y%m%d}".encode()
            time = b"%02d%02d%02d" % (second // 3600, second // 60 % 60, second % 60)
        modality = (b"CT", b"MR", b"US", b"CR")[index % 4]
        patient = self.patient(index).encode()
        return day, time, b"%010d" % index, modality, patient, patient, b"%010d" % index


def _moment(text: str, default: int) -> int:
    if not text:
        return default
    day = date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    return (day - FIRST_DAY).days * _DAY


def _seconds(text: str, default: int) -> int:
    padded = text.partition(".")[0]
    if not padded:
        return default
    padded = padded.ljust(6, "0")
    return int(padded[:2]) * 3600 + int(padded[2:4]) * 60 + int(padded[4:6])


def _template() -> bytes:
    """Return an answer's dataset with ``%b`` where the values go, each of a fixed width."""
    values = {
        records.SPECIFIC_CHARACTER_SET: "ISO_IR 192",
        records.STUDY_DATE: "A" * 8,
        records.STUDY_TIME: "B" * 6,
        records.ACCESSION_NUMBER: "C" * 10,
        records.QUERY_RETRIEVE_LEVEL: "STUDY",
        records.MODALITIES_IN_STUDY: "DD",
        records.INSTITUTION_NAME: "Synthetic General Hospital",
        records.STUDY_DESCRIPTION: "Thorax with contrast agent",
        records.PATIENT_NAME: "SYNTHETIC^" + "E" * 10,
        records.PATIENT_ID: "F" * 10,
        records.PATIENT_BIRTH_DATE: "19500101",
        records.PATIENT_SEX: "F",
        records.STUDY_INSTANCE_UID: UID_ROOT + "G" * 10,
        records.STUDY_ID: "1",
        records.STUDY_SERIES_COUNT: "2",
        records.STUDY_INSTANCE_COUNT: "212",
    }
    encoded = encode_identifier(values, EXPLICIT_VR_LITTLE_ENDIAN).replace(b"%", b"%%")
    for letter, width in (("A", 8), ("B", 6), ("C", 10), ("D", 2), ("E", 10), ("F", 10), ("G", 10)):
        encoded = encoded.replace(letter.encode() * width, b"%b", 1)
    return encoded


class FindService:
    """Answers C-FIND requests on associations until they end."""

    def __init__(self, archive: SyntheticArchive, cap: int) -> None:
        self._archive = archive
        self._cap = cap
        self._template = _template()

    def __call__(self, association: Association) -> None:
        while True:
            context_id, command = association.receive_command(_SECONDS)
            identifier = association.receive_dataset(command)
            message = number(command, Field.MESSAGE_ID) or 0
            if number(command, Field.COMMAND_FIELD) == CommandField.C_ECHO_RQ:
                association.send(context_id, _response(CommandField.C_ECHO_RSP, message, 0))
                continue
            keys = _keys(identifier, association.contexts[context_id].transfer_syntax)
            self._answer(association, context_id, message, self._archive.find(keys, self._cap))

    def _answer(
        self, association: Association, context_id: int, message: int, found: list[int]
    ) -> None:
        pending = {**_response(CommandField.C_FIND_RSP, message, 0xFF00), Field.DATASET_TYPE: 1}
        command = encode_command(pending)
        size = len(self._template % self._archive.row(0))
        head = struct.pack(">BxI", 4, len(command) + size + 12)
        head += struct.pack(">IBB", len(command) + 2, context_id, 3) + command
        head += struct.pack(">IBB", size + 2, context_id, 2)
        row = head.replace(b"%", b"%%") + self._template
        for start in range(0, len(found), _ROWS_A_SEND):
            part = found[start : start + _ROWS_A_SEND]
            association.stream.send(b"".join(row % self._archive.row(index) for index in part))
        association.send(context_id, _response(CommandField.C_FIND_RSP, message, 0))


def _response(kind: CommandField, message: int, status: int) -> dict[int, int | str]:
    return {
        Field.AFFECTED_SOP_CLASS_UID: STUDY_ROOT_FIND,
        Field.COMMAND_FIELD: int(kind),
        Field.MESSAGE_ID_RESPONDED_TO: message,
        Field.DATASET_TYPE: NO_DATASET,
        Field.STATUS: status,
    }


def _keys(identifier: bytes, syntax: str) -> dict[int, str]:
    wanted = (
        records.STUDY_DATE,
        records.STUDY_TIME,
        records.PATIENT_ID,
        records.STUDY_INSTANCE_UID,
    )
    found = decode_identifier(identifier, syntax, wanted)
    return {tag: values[0] for tag, values in found.items() if values}


def main() -> int:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", type=int)
    parser.add_argument("--cap", type=int, default=CAP)
    options = parser.parse_args()
    service = FindService(SyntheticArchive(options.studies), options.cap)

    def serve(association: Association) -> None:
        try:
            service(association)
        except MigrationError:
            return

    with ScriptedSource(serve) as source:
        print(source.port, flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
