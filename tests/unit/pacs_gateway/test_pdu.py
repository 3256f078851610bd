"""PDUs and command sets: read with bounds, written as the standard lays them out."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF

from pacs_gateway.command import Command, Field, read_command, write_command, write_response
from pacs_gateway.errors import OperationMistyped, PduInvalid
from pacs_gateway.pdu import AssociateRequest, ProposedContext, read_associate_request, write_message
from pacs_gateway.status import Status
from tests.raw_scu import associate_rq, c_echo, context, item


def test_associate_request_is_read_whole() -> None:
    role = item(0x54, b"\0\x051.2.3\1\0")
    body = associate_rq(context(1, "1.2.3", "1.2", "1.3"), context(3, "1.4"), calling=b" CT1 ", user=role)[6:]
    assert read_associate_request(body) == AssociateRequest(
        protocol_version=1,
        called_aet="ROI",
        calling_aet="CT1",
        application_context="1.2.840.10008.3.1.1.1",
        contexts=(
            ProposedContext(id=1, abstract_syntax="1.2.3", transfer_syntaxes=("1.2", "1.3")),
            ProposedContext(id=3, abstract_syntax="1.4", transfer_syntaxes=()),
        ),
        max_pdu=16384,
        roles={"1.2.3": (1, 0)},
    )


def test_our_reading_of_a_request_is_pynetdicoms() -> None:
    data = associate_rq(context(1, "1.2.3", "1.2", "1.3"), context(255, "1.4", "1.5"))
    theirs = A_ASSOCIATE_RQ()
    theirs.decode(data)
    ours = read_associate_request(data[6:])
    assert [
        (c.context_id, str(c.abstract_syntax), tuple(map(str, c.transfer_syntax))) for c in theirs.presentation_context
    ] == [(c.id, c.abstract_syntax, c.transfer_syntaxes) for c in ours.contexts]


@given(st.binary(max_size=300))
def test_any_body_is_a_request_or_invalid(noise: bytes) -> None:
    for body in (noise, bytes(68) + noise):
        try:
            read_associate_request(body)
        except PduInvalid:
            continue


@given(st.data())
def test_damaged_request_is_a_request_or_invalid(choose: st.DataObject) -> None:
    damaged = bytearray(associate_rq(context(1, "1.2.3", "1.2"), user=item(0x54, b"\0\x051.2.3\1\0"))[6:])
    for _ in range(choose.draw(st.integers(1, 5))):
        damaged[choose.draw(st.integers(68, len(damaged) - 1))] = choose.draw(st.integers(0, 255))
    try:
        read_associate_request(bytes(damaged))
    except PduInvalid:
        return


@given(
    st.binary(max_size=3000), st.one_of(st.none(), st.binary(max_size=3000)), st.sampled_from([0, 64, 100, 1024, 16384])
)
def test_message_is_whole_in_pdus_of_the_peers_size(command: bytes, data: bytes | None, max_pdu: int) -> None:
    stream = write_message(5, command, data, max_pdu)
    found: dict[int, bytes] = {1: b"", 0: b""}
    ends, position = [], 0
    while position < len(stream):
        length = struct.unpack_from(">I", stream, position + 2)[0]
        assert not max_pdu or length <= max_pdu
        theirs = P_DATA_TF()
        theirs.decode(stream[position : position + 6 + length])
        for value in theirs.presentation_data_value_items:
            control, fragment = value.presentation_data_value[0], value.presentation_data_value[1:]
            assert value.presentation_context_id == 5
            found[control & 1] += fragment
            ends.append((control & 1, bool(control & 2)))
        position += 6 + length
    assert found == {1: command, 0: data or b""}
    assert [kind for kind, last in ends if last] == ([1] if data is None else [1, 0])


def test_command_written_is_the_command_read() -> None:
    command = read_command(c_echo(7))
    assert (command.command_field, command.data_set_follows, command.number(Field.MESSAGE_ID)) == (0x30, False, 7)
    assert command.uid(Field.AFFECTED_SOP_CLASS_UID) == "1.2.840.10008.1.1"
    with pytest.raises(OperationMistyped):
        command.uid(Field.AFFECTED_SOP_INSTANCE_UID)
    with pytest.raises(OperationMistyped):
        command.number(Field.STATUS)


def test_response_holds_no_uid_that_could_not_be_one() -> None:
    request = Command(command_field=1, data_set_follows=True, values={0x0002: b"1" * 65, 0x1000: b"1.2 "})
    answered = read_command(write_response(request, Status(code=0xC000, comment="odd")))
    assert answered.values == {
        0x0000: struct.pack("<I", 64),
        0x0100: b"\1\x80",
        0x0120: b"\0\0",
        0x0800: b"\1\1",
        0x0900: b"\0\xc0",
        0x0902: b"odd ",
        0x1000: b"1.2 ",
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_invalid(noise: bytes) -> None:
    for data in (noise, write_command({0x100: b"\1\0", 0x800: b"\1\0"}) + noise):
        try:
            read_command(data)
        except PduInvalid:
            continue


def test_accept_is_understood_by_pynetdicom() -> None:
    from pacs_gateway.pdu import AnsweredContext, write_associate_accept

    request = read_associate_request(associate_rq(context(1, "1.2.3", "1.2"))[6:])
    theirs = A_ASSOCIATE_AC()
    theirs.decode(
        write_associate_accept(
            request, (AnsweredContext(id=1, result=0, transfer_syntax="1.2"),), {"1.2.3": (1, 0)}, 262144
        )
    )
    primitive = theirs.to_primitive()
    assert primitive.maximum_length_received == 262144
    assert [(c.context_id, c.result) for c in primitive.presentation_context_definition_results_list] == [(1, 0)]
