"""Errors of the gateway.

GatewayError
├── HeaderRejected               the sender's fault: one instance is refused, the association goes on
│   ├── HeaderUnreadable         the data set does not parse
│   ├── UidRejected              a UID is missing or not a UID
│   ├── CommandContradicted      the data set is another object than the command said
│   ├── CommandUidRejected       the command itself names no UID
│   ├── Part10Rejected           a file that is not PS3.10
│   └── InstanceTooLarge         longer than the gateway takes
├── RequestRejected              the sender's fault: one DIMSE request is refused
│   ├── OperationUnknown
│   ├── OperationMistyped
│   └── SopClassMismatch
├── ProtocolViolated             the peer's fault: the association is aborted
│   ├── PduUnrecognised
│   ├── PduUnexpected
│   └── PduInvalid
├── PeerSilent                   the peer's or the world's: a timer ran out
├── PeerGone                     the peer's or the world's: the connection ended
├── ListenFailed                 ours: the address cannot be bound
└── SendFailed                   the world's: a peer does not take what `scu.send` sends
"""

from __future__ import annotations


class GatewayError(Exception):
    """The gateway could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class HeaderRejected(GatewayError):
    """The instance cannot be kept."""


class HeaderUnreadable(HeaderRejected):
    """The data set does not parse."""


class SyntaxRefused(HeaderRejected):
    """Pixel data in a transfer syntax that the way it came by does not know."""


class UidRejected(HeaderRejected):
    """A study, series or SOP UID is missing or not a UID."""


class CommandContradicted(HeaderRejected):
    """The data set names another SOP Class or Instance than the command."""


class CommandUidRejected(HeaderRejected):
    """The command's SOP Class or Instance UID is not a UID."""


class Part10Rejected(HeaderRejected):
    """The file is not a DICOM file with preamble and file meta information (PS3.10 7.1)."""


class InstanceTooLarge(HeaderRejected):
    """The instance is longer than this gateway takes."""


class RequestRejected(GatewayError):
    """The DIMSE request cannot be served."""


class OperationUnknown(RequestRejected):
    """The command is not one that this presentation context offers."""


class OperationMistyped(RequestRejected):
    """The command lacks a mandatory field, or its data set."""


class SopClassMismatch(RequestRejected):
    """The command names another SOP Class than its presentation context."""


class ProtocolViolated(GatewayError):
    """The peer broke the upper layer protocol; `reason` is the A-ABORT reason of PS3.8 9.3.8."""

    reason = 0


class PduUnrecognised(ProtocolViolated):
    """A PDU of no known type arrived."""

    reason = 1


class PduUnexpected(ProtocolViolated):
    """A PDU, or a part of one, arrived where the protocol has no place for it."""

    reason = 2


class PduInvalid(ProtocolViolated):
    """A PDU holds a value or a length that cannot be."""

    reason = 6


class PeerSilent(GatewayError):
    """The peer sent nothing, or too little, before a timer ran out."""


class PeerGone(GatewayError):
    """The connection ended without a release."""


class ListenFailed(GatewayError):
    """The address cannot be listened on; the message says which and why."""


class SendFailed(GatewayError):
    """The peer cannot be reached, or takes no association."""
