"""One association as acceptor: the state machine of PS3.8 9.2, and DIMSE messages in and out (PS3.7 Annex E).

The table at the bottom is to be read beside PS3.8 Table 9-10.  A thread that blocks needs few of its states: what the
standard keeps apart as waiting for the local user happens here within an action.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from pacs_gateway import status
from pacs_gateway.command import MAX_COMMAND_BYTES, RESPONSE, Command, CommandField, Field, read_command, write_response
from pacs_gateway.errors import (
    GatewayError,
    HeaderRejected,
    OperationMistyped,
    OperationUnknown,
    PduInvalid,
    PduUnexpected,
    PeerGone,
    PeerSilent,
    ProtocolViolated,
    RequestRejected,
)
from pacs_gateway.ingest import Ingest
from pacs_gateway.negotiation import (
    ContextResult,
    Refusal,
    Rejection,
    answer_contexts,
    answer_roles,
    judge_request,
    printable,
)
from pacs_gateway.pdu import (
    COMMAND_FRAGMENT,
    LAST_FRAGMENT,
    PDV_HEADER,
    RELEASE_RP,
    AssociateRequest,
    PduType,
    read_associate_request,
    write_abort,
    write_associate_accept,
    write_associate_reject,
    write_message,
)
from pacs_gateway.service import Answered, DicomService, Operation, Reply, Request, Services
from pacs_gateway.upper_layer import Connection
from storage.errors import StorageError
from storage.records import Origin, StudyUid

logger = logging.getLogger(__name__)

_MAX_REQUEST_BYTES: Final = 1024 * 1024
_MAX_SMALL_BYTES: Final = 64
_REFUSALS: Final = (HeaderRejected, RequestRejected, StorageError)
"""What costs one request, not the association."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much, and for how long, a gateway lets peers take."""

    max_associations: int = 256
    """Accepted associations at a time; one more is rejected (2,3,2)."""
    max_associations_per_aet: int = 64
    max_pending: int = 1024
    """Connections that have no association yet, or had one and linger; one more drops the oldest."""
    max_pdu: int = 256 * 1024
    """The longest P-DATA-TF variable field we take, and advertise."""
    artim_s: float = 30.0
    """From the connection to the whole A-ASSOCIATE-RQ, and from our last word to the peer's close (PS3.8 9.1.5)."""
    idle_s: float = 300.0
    """Between messages."""
    message_s: float = 60.0
    """Between the PDUs of one message."""
    pdu_s: float = 30.0
    """From a PDU's first byte to its last, and for the peer to take what we send."""


class Admission(Protocol):
    """Who may have an association, and whether there is room for one more."""

    def admit(self, calling_aet: str, address: str) -> Rejection | None:
        """Return None and count the association in, or say why not."""
        ...

    def left(self) -> None:
        """Stop counting the calling thread's association; called more than once."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """Hear of an association that was not accepted."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class House:
    """What all associations of a gateway share."""

    aet: str
    check_called: bool
    services: Services
    ingest: Ingest
    limits: Limits
    admission: Admission


class State(Enum):
    """Where an association stands; names of PS3.8 Tables 9-1 to 9-5."""

    AWAITING_REQUEST = "Sta2"
    ESTABLISHED = "Sta6"
    ENDED = "Sta13"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Context:
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


class Association:
    """One association, from the accepted connection to its end.  `run` belongs to one thread."""

    def __init__(self, connection: Connection, address: str, house: House) -> None:
        self._connection = connection
        self._address = address
        self._house = house
        self._state = State.AWAITING_REQUEST
        self._contexts: dict[int, _Context] = {}
        self._origin = Origin(via="dimse", address=address)
        self._max_send = 0
        self._message: _Message | None = None
        self._studies: set[StudyUid] = set()
        self._interrupted = False

    @property
    def established(self) -> bool:
        """Whether the peer has an association: not before it is accepted, and no more once it has ended."""
        return self._state is State.ESTABLISHED

    @property
    def busy(self) -> bool:
        """Whether a message is being received or served."""
        return self._message is not None

    def interrupt(self, *, at_once: bool) -> None:
        """Make `run` end: after what has arrived, or `at_once` (from any thread)."""
        self._interrupted = True
        self._connection.interrupt(at_once=at_once)

    # --------------------------------------------------------------------------------------------------- PDUs
    def run(self) -> None:
        """Serve the peer until the association ends, for whichever reason."""
        try:
            while self._state is not State.ENDED:
                self._step()
        except ProtocolViolated as error:
            self._abort(error, error.reason)
        except PeerSilent as error:
            self._abort(error, 0)
        except PeerGone as error:
            self._cut(error)
        except Exception:
            self._abort(GatewayError("an error of ours"), 0)  # the peer shall not wait for what will not come
            raise
        finally:
            self._drop_message()
            self._house.admission.left()
            self._connection.close_after(self._house.limits.artim_s)

    def _step(self) -> None:
        """Read one PDU and do what the table says; what it does not list is out of place."""
        kind, length = self._connection.read_header(self._patience_s())
        listed = _TABLE.get((self._state, kind))
        if listed is None:
            raise PduUnexpected(f"{kind.name} in {self._state.value}")
        action, max_length = listed
        body = self._connection.read_body(length, max_length or self._house.limits.max_pdu)
        action(self, body)

    def _patience_s(self) -> float:
        limits = self._house.limits
        if self._state is State.AWAITING_REQUEST:
            return limits.artim_s
        return limits.message_s if self.busy else limits.idle_s

    def _negotiate(self, body: memoryview) -> None:
        """AE-6, AE-7, AE-8: accept or reject."""
        request = read_associate_request(bytes(body))
        house = self._house
        rejection = judge_request(request, aet=house.aet, check_called=house.check_called)
        rejection = rejection or house.admission.admit(request.calling_aet, self._address)
        if rejection:
            self._reject(request, rejection)
            return
        answers = answer_contexts(request, house.services)
        proposed = {context.id: context.abstract_syntax for context in request.contexts}
        for answer in answers:
            service = house.services.offering(proposed[answer.id])
            if answer.result == ContextResult.ACCEPTED and service:
                self._contexts[answer.id] = _Context(
                    sop_class_uid=proposed[answer.id], transfer_syntax_uid=answer.transfer_syntax, service=service
                )
        self._origin = Origin(
            via="dimse", calling_aet=request.calling_aet, called_aet=request.called_aet, address=self._address
        )
        self._max_send = request.max_pdu
        self._state = State.ESTABLISHED
        roles = answer_roles(request, house.services)
        self._connection.send(write_associate_accept(request, answers, roles, house.limits.max_pdu))

    def _reject(self, request: AssociateRequest, rejection: Rejection) -> None:
        self._state = State.ENDED
        self._house.admission.refused(
            Refusal(
                calling_aet=printable(request.calling_aet),
                called_aet=printable(request.called_aet),
                address=self._address,
                reason=rejection.text,
            )
        )
        self._connection.send(write_associate_reject(*rejection.code))

    def _release(self, _: memoryview) -> None:
        """AR-2, AR-4: the peer has sent all it wants to; only this is evidence that a study may be complete."""
        if self._studies and not self.busy:
            try:
                self._house.ingest.release(self._studies)
            except StorageError as error:
                self._log("release not recorded", "release-not-recorded", type(error).__name__)
        self._state = State.ENDED
        self._house.admission.left()  # before the peer hears of it, and may come back at once
        self._connection.send(RELEASE_RP)

    def _end(self, _: memoryview) -> None:
        """AA-2, AA-3: the peer aborted."""
        self._state = State.ENDED
        self._log("association aborted by peer", "association-aborted", "peer")

    def _abort(self, error: GatewayError, reason: int) -> None:
        """AA-1, AA-8: abort as service provider."""
        self._state = State.ENDED
        self._log("association aborted", "association-aborted", str(error))
        try:
            self._connection.send(write_abort(reason))
        except PeerGone:
            return  # nobody is left to hear it

    def _cut(self, error: PeerGone) -> None:
        """AA-4, or AA-1 where it is we who end it."""
        if self._interrupted:
            self._abort(error, 0)
        else:
            self._log("association cut", "association-cut", str(error))

    # ---------------------------------------------------------------------------------------------- messages
    def _receive(self, body: memoryview) -> None:
        """DT-2: take the presentation data values of one P-DATA-TF."""
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

    def _operation(self, context: _Context, command: Command) -> Operation:
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
                    ingest=self._house.ingest,
                    studies=self._studies,
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
            self._drop_message()

    def _reply(self, context_id: int, command: Command, reply: Reply) -> None:
        response = write_response(command, reply.status, data_set_follows=reply.data_set is not None, extra=reply.extra)
        self._connection.send(write_message(context_id, response, reply.data_set, self._max_send))

    def _refused(self, error: HeaderRejected | RequestRejected | StorageError) -> Operation:
        answer = status.for_error(error)
        self._log("request refused", "request-refused", f"{answer.code:04x} {type(error).__name__}: {error}")
        return Answered(Reply(status=answer))

    def _drop_message(self) -> None:
        if self._message and self._message.operation:
            self._message.operation.close()
        self._message = None

    def _log(self, text: str, action: str, reason: str) -> None:
        logger.info(
            text,
            extra={
                "action": action,
                "calling_aet": printable(self._origin.calling_aet),
                "address": self._address,
                "reason": reason,
            },
        )


_TABLE: Final[dict[tuple[State, PduType], tuple[Callable[[Association, memoryview], None], int]]] = {
    (State.AWAITING_REQUEST, PduType.ASSOCIATE_RQ): (Association._negotiate, _MAX_REQUEST_BYTES),  # noqa: SLF001
    (State.AWAITING_REQUEST, PduType.ABORT): (Association._end, _MAX_SMALL_BYTES),  # noqa: SLF001
    (State.ESTABLISHED, PduType.P_DATA_TF): (Association._receive, 0),  # noqa: SLF001
    (State.ESTABLISHED, PduType.RELEASE_RQ): (Association._release, _MAX_SMALL_BYTES),  # noqa: SLF001
    (State.ESTABLISHED, PduType.ABORT): (Association._end, _MAX_SMALL_BYTES),  # noqa: SLF001
}
"""(state, PDU) -> (action, longest body; 0 for the negotiated maximum).  A pair not listed aborts the association."""
