"""Command sets: group 0000, implicit VR little endian (PS3.7 6.3, 9.3, Annex E)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from pacs_gateway.errors import OperationMistyped, PduInvalid
from pacs_gateway.status import Status

MAX_COMMAND_BYTES: Final = 64 * 1024
NO_DATA_SET: Final = 0x0101
"""(0000,0800) Command Data Set Type of a message without data set; any other value announces one."""

_ELEMENT: Final = Struct("<HHI")
_SHORT: Final = Struct("<H")
_LONG: Final = Struct("<I")


class Field(IntEnum):
    """Elements of group 0000 by their number."""

    GROUP_LENGTH = 0x0000
    AFFECTED_SOP_CLASS_UID = 0x0002
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_RESPONDED_TO = 0x0120
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_SOP_INSTANCE_UID = 0x1000


class CommandField(IntEnum):
    """Values of (0000,0100) that the gateway tells apart; a response has `RESPONSE` set as well."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    C_CANCEL_RQ = 0x0FFF


RESPONSE: Final = 0x8000


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A received command set: what every message has, and the raw values of the rest."""

    command_field: int
    data_set_follows: bool
    values: Mapping[int, bytes]

    def number(self, field: Field) -> int:
        """Return a US value.

        Raises
        ------
        OperationMistyped
            The element is missing or not two bytes long.
        """
        value = self.values.get(field, b"")
        if len(value) != 2:
            raise OperationMistyped(f"({0:04x},{field:04x}) is missing or not a US")
        return int(_SHORT.unpack(value)[0])

    def uid(self, field: Field) -> str:
        """Return a UI value without its padding; whether it is a UID is for the caller to judge.

        Raises
        ------
        OperationMistyped
            The element is missing or empty.
        """
        value = self.values.get(field, b"").decode("latin-1").rstrip("\0 ")
        if not value:
            raise OperationMistyped(f"({0:04x},{field:04x}) is missing or empty")
        return value


def read_command(data: bytes) -> Command:
    """Read a command set.

    (0000,0000) Command Group Length is not believed: the message control header says where the command ends.

    Raises
    ------
    PduInvalid
        The bytes are not elements of group 0000 in implicit VR little endian, or lack (0000,0100) or (0000,0800):
        nobody can tell what was asked or whether a data set follows.
    """
    values: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if position + 8 > len(data):
            raise PduInvalid("the command set ends inside an element")
        group, number, length = _ELEMENT.unpack_from(data, position)
        position += 8
        if group != 0 or position + length > len(data):
            raise PduInvalid("the command set is not implicit VR little endian of group 0000")
        values[number] = data[position : position + length]
        position += length
    field, kind = values.get(Field.COMMAND_FIELD, b""), values.get(Field.DATA_SET_TYPE, b"")
    if len(field) != 2 or len(kind) != 2:
        raise PduInvalid("the command set lacks its Command Field or Data Set Type")
    return Command(
        command_field=_SHORT.unpack(field)[0],
        data_set_follows=_SHORT.unpack(kind)[0] != NO_DATA_SET,
        values=values,
    )


def write_response(
    request: Command, status: Status, *, data_set_follows: bool = False, extra: Mapping[int, bytes] | None = None
) -> bytes:
    """Return the command set that answers `request`, its UIDs and Message ID repeated (PS3.7 9.3.1.2, 9.3.5.2).

    `extra` adds elements that only some responses have, such as the sub-operation counts of a retrieve.
    """
    elements = {
        Field.COMMAND_FIELD: _SHORT.pack(request.command_field | RESPONSE),
        Field.MESSAGE_ID_RESPONDED_TO: request.values.get(Field.MESSAGE_ID, b"\0\0"),
        Field.DATA_SET_TYPE: _SHORT.pack(0 if data_set_follows else NO_DATA_SET),
        Field.STATUS: _SHORT.pack(status.code),
        **(extra or {}),
    }
    for repeated in (Field.AFFECTED_SOP_CLASS_UID, Field.AFFECTED_SOP_INSTANCE_UID):
        if len(request.values.get(repeated, b"")) in range(1, 65):
            elements[repeated] = request.values[repeated]
    if status.comment:
        elements[Field.ERROR_COMMENT] = status.comment.encode("ascii")
    return write_command(elements)


def write_command(elements: Mapping[int, bytes]) -> bytes:
    """Return a command set, its elements in order, padded, and counted in (0000,0000)."""
    body = b"".join([_element(number, elements[number]) for number in sorted(elements)])
    return _element(Field.GROUP_LENGTH, _LONG.pack(len(body))) + body


def _element(number: int, value: bytes) -> bytes:
    if len(value) % 2:
        value += b" " if number == Field.ERROR_COMMENT else b"\0"
    return _ELEMENT.pack(0, number, len(value)) + value
