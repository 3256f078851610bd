"""What an association request is answered: whom we serve, in which contexts and roles (PS3.7 D.3, PS3.8 9.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from pacs_gateway.pdu import APPLICATION_CONTEXT, AnsweredContext, AssociateRequest, ProposedContext
from pacs_gateway.service import Services

_IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
_AET: Final = re.compile(r"[ -\[\]-~]{1,16}")
"""An AE title: the default repertoire without control characters and backslash (PS3.5 6.2)."""

MIN_PEER_PDU: Final = 64
"""A smaller maximum length could not carry a response in any sensible number of PDUs."""


class Rejection(Enum):
    """(result, source, reason) of an A-ASSOCIATE-RJ (PS3.8 Table 9-21), and what is logged."""

    PROTOCOL_VERSION = (1, 2, 2, "protocol version not supported")
    APPLICATION_CONTEXT = (1, 1, 2, "application context not supported")
    CALLED_AET = (1, 1, 7, "called AE title not recognised")
    CALLING_AET = (1, 1, 3, "calling AE title not recognised")
    NO_REASON = (1, 1, 1, "nothing proposed, or a maximum PDU length too small to answer in")
    CONGESTION = (2, 3, 1, "who may call cannot be looked up at the moment")
    LOCAL_LIMIT = (2, 3, 2, "local limit of associations exceeded")

    @property
    def code(self) -> tuple[int, int, int]:
        """The three numbers that go on the wire."""
        return self.value[:3]

    @property
    def text(self) -> str:
        """The reason in words."""
        return self.value[3]


class ContextResult(IntEnum):
    """The answer to one presentation context (PS3.8 Table 9-18)."""

    ACCEPTED = 0
    USER_REJECTED = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX = 3
    TRANSFER_SYNTAXES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """An association that was not accepted, for the log and the audit trail.  Titles are made printable."""

    calling_aet: str
    called_aet: str
    address: str
    reason: str


def judge_request(request: AssociateRequest, *, aet: str, check_called: bool) -> Rejection | None:
    """Return why a request is rejected before anybody asks who calls, None where it is not.

    Titles are compared without surrounding spaces and by case (PS3.8 9.3.2).
    """
    checks = (
        (request.protocol_version & 1 == 1, Rejection.PROTOCOL_VERSION),
        (request.application_context == APPLICATION_CONTEXT, Rejection.APPLICATION_CONTEXT),
        (_AET.fullmatch(request.called_aet) is not None, Rejection.CALLED_AET),
        (not check_called or request.called_aet == aet, Rejection.CALLED_AET),
        (_AET.fullmatch(request.calling_aet) is not None, Rejection.CALLING_AET),
        (bool(request.contexts), Rejection.NO_REASON),
        (request.max_pdu == 0 or request.max_pdu >= MIN_PEER_PDU, Rejection.NO_REASON),
    )
    return next((rejection for holds, rejection in checks if not holds), None)


def answer_contexts(request: AssociateRequest, services: Services) -> tuple[AnsweredContext, ...]:
    """Answer each proposed context by itself: a bad one costs only itself."""
    return tuple(_answer(context, request, services) for context in request.contexts)


def _answer(context: ProposedContext, request: AssociateRequest, services: Services) -> AnsweredContext:
    proposed = context.transfer_syntaxes
    syntax = proposed[0] if proposed else _IMPLICIT_LITTLE  # not significant unless accepted
    service = services.offering(context.abstract_syntax)
    if context.id % 2 == 0:
        result = ContextResult.NO_REASON
    elif service is None:
        result = ContextResult.ABSTRACT_SYNTAX
    elif not request.roles.get(context.abstract_syntax, (1, 0))[0]:
        result = ContextResult.USER_REJECTED
    else:
        accepted = next(filter(service.accepts_syntax, proposed), None)
        result = ContextResult.ACCEPTED if accepted else ContextResult.TRANSFER_SYNTAXES
        syntax = accepted or syntax
    return AnsweredContext(id=context.id, result=result, transfer_syntax=syntax)


def answer_roles(request: AssociateRequest, services: Services) -> Mapping[str, tuple[int, int]]:
    """Answer proposed roles: the requestor may be SCU of what we serve, and never SCP (PS3.7 D.3.3.4)."""
    return {uid: (min(scu, 1), 0) for uid, (scu, _) in request.roles.items() if services.offering(uid)}


def printable(title: str) -> str:
    """Return an AE title that keeps a log line one line, whatever was sent."""
    return ascii(title)[1:-1]
