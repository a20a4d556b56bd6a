"""Master patient lists: what they say, and how what is malformed is refused."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from dicom_migration.cleansing.list_loading import load_lists
from dicom_migration.cleansing.patient_fhir import read_fhir
from dicom_migration.cleansing.patient_hl7 import read_hl7
from dicom_migration.cleansing.patient_statements import Statement, read_csv
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger, open_exception_counts, schema
from dicom_migration.policies.identity import IdentityPolicy, PatientColumns, PatientList

CANARY = "ZZCANARY"
HEAD = "old,old_issuer,new,name,born,sex\n"
COLUMNS = PatientColumns(
    old_id="old",
    old_issuer="old_issuer",
    surviving_id="new",
    name="name",
    birth_date="born",
    sex="sex",
)
MSH = "MSH|^~\\&|MPI|X|Y|Z|20260101||{}|1|P|2.5\r"
A40 = MSH.format("ADT^A40^ADT_A39")
Write = Callable[..., PatientList]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def made(content: str | bytes, kind: str = "csv", **settings: object) -> PatientList:
        path = tmp_path / f"merges.{kind}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return PatientList(file=path, format=kind, columns=COLUMNS, **settings)

    return made


def pairs(said: list[Statement]) -> list[tuple[str, str]]:
    return [(s.old.value, s.new.value) for s in said]


def patient(value: str, **more: object) -> dict[str, object]:
    resource = {
        "resourceType": "Patient",
        "id": value.lower(),
        "identifier": [{"system": "urn:h", "value": value}],
        **more,
    }
    return {"fullUrl": f"urn:uuid:{value}", "resource": resource}


def bundle(*entries: object, indent: int | None = None) -> str:
    return json.dumps({"resourceType": "Bundle", "entry": list(entries), "total": 1}, indent=indent)


def test_a_csv_file_says_who_became_whom(write: Write) -> None:
    (said,) = read_csv(write("\ufeff" + HEAD + "A,H,B,Example^Ann,1960-01-02,female\n\n"))
    assert (said.line, said.old.value, said.old.issuer, said.new.value) == (2, "A", "H", "B")
    assert (said.person.birth_date, said.person.sex) == ("19600102", "F")


def test_a_latin_1_file_is_read_as_one_and_refused_as_anything_else(write: Write) -> None:
    content = (HEAD + "A,,B,Müller^Ann,,\n").encode("latin-1")
    with pytest.raises(PermanentError, match=r"line 2.*latin-1"):
        list(read_csv(write(content)))
    (said,) = read_csv(write(content, encoding="latin-1"))
    assert said.person.name == "Müller^Ann"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (f"A,,{CANARY}\n", 2),
        (f"A,,B,n,,\n{CANARY},,,n,,\n", 3),
        (f"A,,B,n,{CANARY},\n", 2),
        (f"A,,B,n,,{CANARY}\n", 2),
        (f'A,,B,"{CANARY},,\n', 2),
        (f"{CANARY * 10},,B,n,,\n", 2),
        (f"A,,B,{CANARY}\x00,,\n", 2),
        (f"A\\{CANARY},,B,n,,\n", 2),
        ("A,,B,n,,\n" + CANARY * 140_000, 3),
    ],
)
def test_a_malformed_csv_file_is_refused_by_line_without_its_content(
    write: Write, body: str, line: int
) -> None:
    with pytest.raises(PermanentError, match=f"line {line}:") as refused:
        list(read_csv(write(HEAD + body)))
    assert refused.value.reason is ReasonCode.POLICY_INVALID
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("content", ["", "old,name\nA,B\n", "old,old,new\n", b"\xff\xfeo\0l\0d\0"])
def test_a_file_without_its_columns_is_refused(write: Write, content: str | bytes) -> None:
    with pytest.raises(PermanentError, match="line 1:"):
        list(read_csv(write(content)))


def test_merge_messages_say_who_became_whom(write: Write) -> None:
    pid = "PID|1||B^^^H&1.2&ISO~7^^^OTHER||Example^Ann^M^JR^DR||19600102|F\r"
    mrg = "MRG|A^^^H~6^^^OTHER\r"
    said = list(read_hl7(write("\x0b" + A40 + "EVN|A40\r" + pid + mrg + "\x1c\r", "hl7")))
    assert pairs(said) == [("A", "B"), ("6", "7")]
    assert said[0].old.issuer == said[0].new.issuer == "H"
    assert said[0].person.name == "Example^Ann^M^DR^JR"


def test_escapes_of_a_message_are_undone_once(write: Write) -> None:
    content = A40 + "PID|1||B||Ex\\T\\ample^A\\F\\nn\rMRG|A\r"
    (said,) = read_hl7(write(content, "hl7"))
    assert said.person.name == "Ex&ample^A|nn"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (MSH.format("ADT^A08") + f"PID|1||{CANARY}\r", 1),
        (A40 + f"MRG|{CANARY}\r", 2),
        (A40 + f"PID|1||{CANARY}\r", 2),
        (A40 + f"PID|1||B\rMRG|{CANARY}^^^H~{CANARY}2^^^H\r" + A40, 4),
        (A40 + f"PID|1||B^^^H~{CANARY}^^^I\rMRG|A^^^J\r", 3),
        (f"PID|1||{CANARY}\r", 1),
        ("", 1),
        (A40 + f"PID|1||B||||{CANARY}\rMRG|A\r", 3),
    ],
)
def test_a_malformed_message_is_refused_by_line_without_its_content(
    write: Write, content: str, line: int
) -> None:
    with pytest.raises(PermanentError, match=f"line {line}:") as refused:
        list(read_hl7(write(content, "hl7")))
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_bundle_says_who_became_whom(write: Write, indent: int | None) -> None:
    survivor = {"type": "replaced-by", "other": {"reference": "Patient/b"}}
    by_url = {"type": "replaces", "other": {"reference": "urn:uuid:C"}}
    old = {"use": "old", "system": "urn:h", "value": "A2"}
    new = {"system": "urn:h", "value": "D"}
    content = bundle(
        patient("A", link=[survivor], birthDate="1960-01-02", gender="female"),
        patient("B", link=[by_url, {"type": "seealso", "other": {"reference": "Patient/x"}}]),
        patient("C"),
        patient("D", identifier=[old, new], name=[{"family": "Example", "given": ["Ann"]}]),
        {"resource": {"resourceType": "Organization"}},
        indent=indent,
    )
    said = list(read_fhir(write(content, "fhir", issuers={"urn:h": "H"})))
    assert pairs(said) == [("A", "B"), ("C", "B"), ("A2", "D")]
    assert said[0].person.birth_date == "19600102"
    assert said[2].person.name == "Example^Ann"
    assert {s.new.issuer for s in said} == {"H"}


def test_a_malformed_bundle_is_refused_without_its_content(write: Write) -> None:
    lost = {"type": "replaced-by", "other": {"reference": f"Patient/{CANARY}"}}
    whole = bundle(patient("A"), patient(CANARY))
    for content in (
        "",
        f'{{"resourceType": "Bundle", "{CANARY}": 1}}',
        whole[:-20],
        whole.replace('"Bundle"', '"List"'),
        whole + CANARY,
        bundle(patient("A", link=[lost])),
        bundle(patient("A", link=CANARY)),
        bundle(patient("A", name=[CANARY])),
        bundle(CANARY),
        bundle(
            patient(
                "A", link=[{"type": "replaced-by", "other": {"identifier": {"value": "\ud800"}}}]
            )
        ),
        whole.replace("[{", "[" * 5000 + "{", 1),
        '{"resourceType": "Bundle", "entry": [{"a": "' + CANARY * 200_000,
    ):
        with pytest.raises(PermanentError, match="line 1:") as refused:
            list(read_fhir(write(content, "fhir")))
        assert CANARY not in str(refused.value)


def load(ledger: Ledger, listed: PatientList) -> dict[str, tuple[str, str]]:
    load_lists(ledger, IdentityPolicy(patients=listed))
    table = schema.patient_link.c
    with ledger.read() as connection:
        rows = connection.execute(select(table.old_id, table.final_id, table.verdict))
        return {old: (final, verdict) for old, final, verdict in rows}


def test_chains_of_merges_are_followed_to_their_end(ledger: Ledger, write: Write) -> None:
    chain = "".join(f"P{n},,P{n + 1},,,\n" for n in range(40))
    found = load(ledger, write(HEAD + chain))
    assert set(found.values()) == {("P40", "")}


def test_circles_and_two_survivors_are_exceptions_and_lead_nowhere(
    ledger: Ledger, write: Write
) -> None:
    body = "A,,B,,,\nB,,A,,,\nX,,A,,,\nC,,D,,,\nC,,E,,,\nY,,C,,,\nF,,G,,,\nF,,G,,,\nG,,G,,,\n"
    found = load(ledger, write(HEAD + body))
    assert {old for old, (_, verdict) in found.items() if verdict == "cycle"} == {"A", "B", "X"}
    assert {old for old, (_, v) in found.items() if v == "two-survivors"} == {"C", "Y"}
    assert found["F"] == ("G", "")
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"identity_conflict": 2}
    load(ledger, write(HEAD + "A,,B,,,\n"))
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {}


def test_a_refused_list_leaves_the_one_before_in_place(ledger: Ledger, write: Write) -> None:
    before = load(ledger, write(HEAD + "A,,B,,,\n"))
    with pytest.raises(PermanentError):
        load(ledger, write(HEAD + "C,,D,,,\nE\n"))
    assert load(ledger, write(HEAD + "A,,B,,,\n")) == before


def test_a_large_list_is_read_in_little_memory(ledger: Ledger, write: Write) -> None:
    listed = write(HEAD + "".join(f"A{n},,B{n},Example^Ann,19600102,F\n" for n in range(60_000)))
    tracemalloc.start()
    entries = load_lists(ledger, IdentityPolicy(patients=listed))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert entries == {"patients": 60_000}
    assert peak < 24 << 20, "a batch at a time, whatever the length of the list"
