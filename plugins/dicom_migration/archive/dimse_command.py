"""Encodes and decodes DIMSE command sets: group 0000, always implicit VR little endian.

A command set has a dozen small elements, and one is decoded for every instance received; a
table of tags does it in microseconds. Source: DICOM PS3.7 section 6.3 and Annex E.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum

Command = dict[int, int | str]
"""Value by element number of group 0000."""

NO_DATASET = 0x0101
PRIORITY_MEDIUM = 0x0000


class Field(IntEnum):
    """Element numbers of group 0000 (PS3.7 section E.1)."""

    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_RESPONDED_TO = 0x0120
    MOVE_DESTINATION = 0x0600
    PRIORITY = 0x0700
    DATASET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    REMAINING = 0x1020
    COMPLETED = 0x1021
    FAILED = 0x1022
    WARNING = 0x1023
    MOVE_ORIGINATOR_AE_TITLE = 0x1030
    MOVE_ORIGINATOR_MESSAGE_ID = 0x1031


class CommandField(IntEnum):
    """Values of Command Field (0000,0100)."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    C_CANCEL_RQ = 0x0FFF


_TEXT = frozenset(
    {
        Field.AFFECTED_SOP_CLASS_UID,
        Field.REQUESTED_SOP_CLASS_UID,
        Field.AFFECTED_SOP_INSTANCE_UID,
        Field.REQUESTED_SOP_INSTANCE_UID,
        Field.MOVE_DESTINATION,
        Field.MOVE_ORIGINATOR_AE_TITLE,
    }
)


_HEADER = struct.Struct("<HHI").unpack_from
_UNSIGNED_SHORT = struct.Struct("<H").unpack_from


def encode_command(command: Mapping[int, int | str]) -> bytes:
    """Return the bytes of a command set, group length included."""
    body = b"".join(_element(number, command[number]) for number in sorted(command))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def decode_command(data: bytes | memoryview) -> Command:
    """Return the known elements of a command set; what is malformed is left out.

    Error Comment (0000,0902) is kept for nobody: sources write patient names into it.
    """
    command: Command = {}
    offset, end = 0, len(data)
    while end - offset >= 8:
        group, element, length = _HEADER(data, offset)
        offset += 8
        if group or length > end - offset:
            break
        if element in _TEXT:
            text_ = str(data[offset : offset + length], "ascii", "replace")
            command[element] = text_.strip("\0 ")
        elif length == 2:
            (command[element],) = _UNSIGNED_SHORT(data, offset)
        offset += length
    return command


def number(command: Command, field: Field) -> int | None:
    """Return a numeric element, None when it is absent."""
    value = command.get(field)
    return value if isinstance(value, int) else None


def text(command: Command, field: Field) -> str:
    """Return a text element, "" when it is absent."""
    value = command.get(field)
    return value if isinstance(value, str) else ""


def _element(number_: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return struct.pack("<HHIH", 0, number_, 2, value)
    raw = value.encode("ascii")
    if len(raw) % 2:
        raw += b" " if number_ in (Field.MOVE_DESTINATION, Field.ERROR_COMMENT) else b"\0"
    return struct.pack("<HHI", 0, number_, len(raw)) + raw
