"""Whatever a list holds, it is read or refused by line, and its content is not repeated."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_migration.cleansing.patient_fhir import read_fhir
from dicom_migration.cleansing.patient_hl7 import read_hl7
from dicom_migration.cleansing.patient_statements import Statement, read_csv
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.policies.identity import PatientList

CANARY = b"ZZCANARY"
WHOLE: dict[str, bytes] = {
    "csv": b'old_id,surviving_id\nZZCANARY,B\n"C",D\n',
    "hl7": b"MSH|^~\\&|A|B|C|D|20260101||ADT^A40|1|P|2.5\r"
    b"PID|1||ZZCANARY^^^H~C^^^I||ZZCANARY^Ann||19600101|F\rMRG|A^^^H~D^^^I\r",
    "fhir": b'{"resourceType": "Bundle", "entry": [{"fullUrl": "u", "resource": '
    b'{"resourceType": "Patient", "id": "a", "identifier": [{"value": "ZZCANARY"}], "link": '
    b'[{"type": "replaced-by", "other": {"identifier": {"value": "B"}}}], "name": '
    b'[{"family": "ZZCANARY", "given": ["Ann"]}], "birthDate": "1960-01-01"}}]}',
}
READERS: dict[str, Callable[[PatientList], Iterator[Statement]]] = {
    "csv": read_csv,
    "hl7": read_hl7,
    "fhir": read_fhir,
}
Edit = tuple[int, int, bytes]
EDITS: Any = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 6),
        st.one_of(st.binary(max_size=4), st.sampled_from([b'"', b"[", b"{", b"null", b"\r", b"|"])),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("kind", sorted(WHOLE))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=EDITS)
def test_a_damaged_list_is_read_or_refused(tmp_path: Path, kind: str, edits: list[Edit]) -> None:
    content = WHOLE[kind]
    for place, length, put in edits:
        at = place % len(content)
        content = content[:at] + put + content[at + length :]
    path = tmp_path / "list"
    path.write_bytes(content)
    refused = refusal(PatientList(file=path, format=kind))
    if refused is not None:
        assert refused.reason is ReasonCode.POLICY_INVALID
        assert ", line " in str(refused)
        assert CANARY.decode() not in str(refused)


def refusal(listed: PatientList) -> PermanentError | None:
    try:
        list(READERS[listed.format](listed))
    except PermanentError as refused:
        return refused
    return None


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_undamaged_they_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(WHOLE[kind])
    assert len(list(READERS[kind](PatientList(file=path, format=kind)))) in (1, 2)
