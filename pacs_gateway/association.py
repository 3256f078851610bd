"""One association as acceptor: the state machine of PS3.8 9.2.

The table at the bottom is to be read beside PS3.8 Table 9-10.  A thread that blocks needs few of its states: what the
standard keeps apart as waiting for the local user happens here within an action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from pacs_gateway.errors import GatewayError, PduUnexpected, PeerGone, PeerSilent, ProtocolViolated
from pacs_gateway.exchange import Context, Exchange, log_event
from pacs_gateway.ingest import Ingest
from pacs_gateway.limits import Limits
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
    RELEASE_RP,
    AnsweredContext,
    AssociateRequest,
    PduType,
    read_associate_request,
    write_abort,
    write_associate_accept,
    write_associate_reject,
)
from pacs_gateway.service import Services
from pacs_gateway.upper_layer import Connection
from storage.errors import StorageError
from storage.records import Origin

_MAX_REQUEST_BYTES: Final = 1024 * 1024
_MAX_SMALL_BYTES: Final = 64


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


class Association:
    """One association, from the accepted connection to its end.  `run` belongs to one thread."""

    def __init__(self, connection: Connection, address: str, house: House) -> None:
        self._connection = connection
        self._address = address
        self._house = house
        self._state = State.AWAITING_REQUEST
        self._origin = Origin(via="dimse", address=address)
        self._exchange = self._open_exchange({}, 0)
        self._interrupted = False
        self._linger_s = house.limits.artim_s
        """How long the peer may take to close after our last word."""

    @property
    def established(self) -> bool:
        """Whether the peer has an association: not before it is accepted, and no more once it has ended."""
        return self._state is State.ESTABLISHED

    @property
    def busy(self) -> bool:
        """Whether a message is being received or served."""
        return self._exchange.busy

    def interrupt(self, *, at_once: bool) -> None:
        """Make `run` end: after what has arrived, or `at_once` (from any thread)."""
        self._interrupted = True
        self._connection.interrupt(at_once=at_once)

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
            self._exchange.drop()
            self._house.admission.left()
            self._connection.close_after(self._linger_s)

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
        self._origin = Origin(
            via="dimse", calling_aet=request.calling_aet, called_aet=request.called_aet, address=self._address
        )
        self._exchange = self._open_exchange(self._accepted(request, answers), request.max_pdu)
        self._state = State.ESTABLISHED
        roles = answer_roles(request, house.services)
        self._connection.send(write_associate_accept(request, answers, roles, house.limits.max_pdu))

    def _accepted(self, request: AssociateRequest, answers: tuple[AnsweredContext, ...]) -> dict[int, Context]:
        proposed = {context.id: context.abstract_syntax for context in request.contexts}
        return {
            answer.id: Context(
                sop_class_uid=proposed[answer.id], transfer_syntax_uid=answer.transfer_syntax, service=service
            )
            for answer in answers
            if answer.result == ContextResult.ACCEPTED
            and (service := self._house.services.offering(proposed[answer.id]))
        }

    def _open_exchange(self, contexts: dict[int, Context], max_send: int) -> Exchange:
        return Exchange(
            contexts=contexts,
            origin=self._origin,
            ingest=self._house.ingest,
            max_send=max_send,
            send=self._connection.send,
        )

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

    def _receive(self, body: memoryview) -> None:
        """DT-2: a part of a message."""
        self._exchange.receive(body)

    def _release(self, _: memoryview) -> None:
        """AR-2, AR-4: the peer has sent all it wants to; only this is evidence that a study may be complete."""
        if self._exchange.studies and not self.busy:
            try:
                self._house.ingest.release(self._exchange.studies)
            except StorageError as error:
                self._log("release not recorded", "release-not-recorded", type(error).__name__)
        self._state = State.ENDED
        self._house.admission.left()  # before the peer hears of it, and may come back at once
        self._connection.send(RELEASE_RP)

    def _end(self, _: memoryview) -> None:
        """AA-2, AA-3: the peer aborted; it waits for no word of ours."""
        self._state = State.ENDED
        self._linger_s = 0.0
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

    def _log(self, text: str, action: str, reason: str) -> None:
        log_event(self._origin, text, action=action, reason=reason)


_TABLE: Final[dict[tuple[State, PduType], tuple[Callable[[Association, memoryview], None], int]]] = {
    (State.AWAITING_REQUEST, PduType.ASSOCIATE_RQ): (Association._negotiate, _MAX_REQUEST_BYTES),  # noqa: SLF001
    (State.AWAITING_REQUEST, PduType.ABORT): (Association._end, _MAX_SMALL_BYTES),  # noqa: SLF001
    (State.ESTABLISHED, PduType.P_DATA_TF): (Association._receive, 0),  # noqa: SLF001
    (State.ESTABLISHED, PduType.RELEASE_RQ): (Association._release, _MAX_SMALL_BYTES),  # noqa: SLF001
    (State.ESTABLISHED, PduType.ABORT): (Association._end, _MAX_SMALL_BYTES),  # noqa: SLF001
}
"""(state, PDU) -> (action, longest body; 0 for the negotiated maximum).  A pair not listed aborts the association."""
