"""DIMSE messages of one association: fragments in, operations, responses out (PS3.7, PS3.8 Annex E)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pacs_gateway import status
from pacs_gateway.command import MAX_COMMAND_BYTES, RESPONSE, Command, CommandField, Field, read_command, write_response
from pacs_gateway.errors import (
    HeaderRejected,
    OperationMistyped,
    OperationUnknown,
    PduInvalid,
    PduUnexpected,
    RequestRejected,
)
from pacs_gateway.ingest import Ingest
from pacs_gateway.negotiation import printable
from pacs_gateway.pdu import COMMAND_FRAGMENT, LAST_FRAGMENT, PDV_HEADER, write_message
from pacs_gateway.service import Answered, DicomService, Operation, Reply, Request
from storage.errors import StorageError
from storage.records import Origin, StudyUid

logger = logging.getLogger(__name__)

_REFUSALS: Final = (HeaderRejected, RequestRejected, StorageError)
"""What costs one request, not the association."""


def log_event(origin: Origin, text: str, *, action: str, reason: str) -> None:
    """Log what happened on an association: who, where, and why, in one line and without anything of an instance."""
    facts = {"calling_aet": printable(origin.calling_aet), "address": origin.address, "reason": reason}
    logger.info(text, extra={"action": action, **facts})


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """An accepted presentation context."""

    sop_class_uid: str
    transfer_syntax_uid: str
    service: DicomService


@dataclass(kw_only=True, slots=True)
class _Message:
    """A message on its way in: its command set, then the operation that takes its data set."""

    context_id: int
    command_bytes: bytearray = field(default_factory=bytearray)
    command: Command | None = None
    operation: Operation | None = None


class Exchange:
    """The messages of one association, one at a time.  Used by its thread.

    Parameters
    ----------
    contexts
        The accepted presentation contexts by id.
    origin
        Who sends.
    ingest
        Where instances go.
    max_send
        The longest P-DATA-TF variable field that the peer takes; 0 for any.
    send
        Sends PDUs to the peer.
    """

    def __init__(
        self,
        *,
        contexts: Mapping[int, Context],
        origin: Origin,
        ingest: Ingest,
        max_send: int,
        send: Callable[[bytes], None],
    ) -> None:
        self._contexts = contexts
        self._origin = origin
        self._ingest = ingest
        self._max_send = max_send
        self._send = send
        self._message: _Message | None = None
        self.studies: set[StudyUid] = set()
        """What instances have been kept of."""

    @property
    def busy(self) -> bool:
        """Whether a message is being received or served."""
        return self._message is not None

    def receive(self, body: memoryview) -> None:
        """Take the presentation data values of one P-DATA-TF, and answer what they complete.

        Raises
        ------
        PduInvalid, PduUnexpected
            They do not fit their PDU, or have no place in a message.
        PeerGone
            The peer is not there to be answered.
        """
        position, end = 0, len(body)
        if not end:
            raise PduInvalid("a P-DATA-TF holds no presentation data value")
        while position < end:
            if position + PDV_HEADER.size > end:
                raise PduInvalid("a presentation data value is cut short")
            length, context_id, control = PDV_HEADER.unpack_from(body, position)
            after = position + 4 + length
            if length < 2 or after > end:
                raise PduInvalid("a presentation data value does not fit its PDU")
            if context_id not in self._contexts:
                raise PduUnexpected(f"presentation context {context_id} was not accepted")
            take = self._take_command if control & COMMAND_FRAGMENT else self._take_data
            take(context_id, body[position + PDV_HEADER.size : after], bool(control & LAST_FRAGMENT))
            position = after

    def _take_command(self, context_id: int, fragment: memoryview, last: bool) -> None:
        message = self._message
        if message is None:
            message = self._message = _Message(context_id=context_id)
        elif message.context_id != context_id or message.operation:
            raise PduUnexpected("a command begins within another message")
        message.command_bytes += fragment
        if len(message.command_bytes) > MAX_COMMAND_BYTES:
            raise PduInvalid(f"the command set is longer than {MAX_COMMAND_BYTES} bytes")
        if last:
            self._begin(message, read_command(bytes(message.command_bytes)))

    def _begin(self, message: _Message, command: Command) -> None:
        if command.command_field == CommandField.C_CANCEL_RQ:
            self._message = None  # nothing is outstanding that could be cancelled (PS3.7 9.3.2.3)
            return
        if command.command_field & RESPONSE:
            raise PduUnexpected("a response came to nothing we asked")
        message.command = command
        message.operation = self._operation(self._contexts[message.context_id], command)
        if not command.data_set_follows:
            self._answer(message, command, message.operation)

    def _operation(self, context: Context, command: Command) -> Operation:
        try:
            offer = context.service.offers.get(command.command_field)
            if offer is None:
                raise OperationUnknown(f"command {command.command_field:04x} is not one of {context.service.name}")
            if offer.takes_data_set != command.data_set_follows:
                raise OperationMistyped("the data set is missing, or there is one where none is due")
            command.number(Field.MESSAGE_ID)
            return offer.begin(
                Request(
                    command=command,
                    sop_class_uid=context.sop_class_uid,
                    transfer_syntax_uid=context.transfer_syntax_uid,
                    origin=self._origin,
                    ingest=self._ingest,
                    studies=self.studies,
                )
            )
        except _REFUSALS as error:
            return self._refused(error)

    def _take_data(self, context_id: int, fragment: memoryview, last: bool) -> None:
        message = self._message
        if message is None or message.context_id != context_id or message.operation is None or message.command is None:
            raise PduUnexpected("a data set fragment belongs to no command")
        try:
            message.operation.write(fragment)
        except _REFUSALS as error:
            message.operation.close()
            message.operation = self._refused(error)
        if last:
            self._answer(message, message.command, message.operation)

    def _answer(self, message: _Message, command: Command, operation: Operation) -> None:
        try:
            for reply in operation.finish():
                self._reply(message.context_id, command, reply)
        except _REFUSALS as error:
            for reply in self._refused(error).finish():
                self._reply(message.context_id, command, reply)
        finally:
            self.drop()

    def _reply(self, context_id: int, command: Command, reply: Reply) -> None:
        response = write_response(command, reply.status, data_set_follows=reply.data_set is not None, extra=reply.extra)
        self._send(write_message(context_id, response, reply.data_set, self._max_send))

    def _refused(self, error: HeaderRejected | RequestRejected | StorageError) -> Operation:
        answer = status.for_error(error)
        reason = f"{answer.code:04x} {type(error).__name__}: {error}"
        log_event(self._origin, "request refused", action="request-refused", reason=reason)
        return Answered(Reply(status=answer))

    def drop(self) -> None:
        """Forget the message under way, and what its operation holds."""
        if self._message and self._message.operation:
            self._message.operation.close()
        self._message = None
