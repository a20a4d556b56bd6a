"""Command sets against pynetdicom's reading of them."""

from __future__ import annotations

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dsutils import decode

from dicom_migration.archive.dimse_command import (
    CommandField,
    Field,
    decode_command,
    encode_command,
    number,
    text,
)


def test_another_implementation_reads_what_we_write() -> None:
    command = {
        Field.COMMAND_FIELD: int(CommandField.C_MOVE_RQ),
        Field.MESSAGE_ID: 7,
        Field.AFFECTED_SOP_CLASS_UID: "1.2.840.10008.5.1.4.1.2.2.2",
        Field.MOVE_DESTINATION: "LANDING",
        Field.DATASET_TYPE: 1,
    }
    encoded = encode_command(command)
    read = decode(BytesIO(encoded), True, True)
    assert read.CommandField == CommandField.C_MOVE_RQ
    assert read.MessageID == 7
    assert read.AffectedSOPClassUID == "1.2.840.10008.5.1.4.1.2.2.2"
    assert read.MoveDestination == "LANDING"
    assert read.CommandGroupLength == len(encoded) - 12
    assert decode_command(encoded) | {0: 0} == command | {0: 0}


def test_the_error_comment_of_a_source_is_not_kept() -> None:
    encoded = encode_command({Field.STATUS: 0xC000, Field.ERROR_COMMENT: "no study of DOE^JANE"})
    command = decode_command(encoded)
    assert number(command, Field.STATUS) == 0xC000
    assert "DOE" not in repr(command)


def test_what_is_absent_or_of_another_type_is_none() -> None:
    command = decode_command(encode_command({Field.MESSAGE_ID: 3}))
    assert number(command, Field.STATUS) is None
    assert text(command, Field.AFFECTED_SOP_INSTANCE_UID) == ""
    assert number({Field.STATUS: "x"}, Field.STATUS) is None


@given(data=st.binary(max_size=120))
def test_hostile_command_sets_are_read_as_far_as_they_go(data: bytes) -> None:
    assert isinstance(decode_command(data), dict)
