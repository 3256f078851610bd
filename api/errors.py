"""Errors of the HTTP side.

ApiError
├── RequestRejected          the client's fault
│   ├── ParameterRejected    a path or query parameter
│   ├── SearchTooBroad       a page of a search too far in
│   ├── BodyRejected         a body that cannot be read
│   │   └── BodyIncomplete   it ends before its final boundary
│   ├── BodyTooLarge
│   ├── BodyLate             a short body that takes its time
│   ├── TargetTooLong        a path and query string beyond all measure
│   ├── HeadTooLong          header fields beyond all measure
│   ├── MediaTypeUnsupported a body in a form that is not taken
│   ├── NotAcceptable        no form that the client accepts
│   ├── ChannelsBusy         as many event channels are open as may be
│   ├── HostUnclear          called by no name, or by several
│   ├── HostRefused          called by a name that is not ours
│   └── OriginRefused        a change asked for by another site's page
├── DataSetUnreadable        ours: a kept data set that does not parse to its end
│   └── PixelsUnreadable     its pixels are not what its attributes say
├── SendersBusy              the world's: more senders wait than may
├── ResponseBroken           ours: an answer that had to be cut after it began
├── BindRefused              ours: an address that must not be bound
└── BindFailed               the world's: an address that cannot be bound
"""

from __future__ import annotations


class ApiError(Exception):
    """The HTTP side could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class RequestRejected(ApiError):
    """The request cannot be served."""


class ParameterRejected(RequestRejected):
    """A path or query parameter is malformed."""


class SearchTooBroad(RequestRejected):
    """The search matches more than its pages can reach."""


class BodyRejected(RequestRejected):
    """The body cannot be read."""


class BodyIncomplete(BodyRejected):
    """The body ends before its final boundary."""


class BodyTooLarge(RequestRejected):
    """The body is longer than this resource takes."""


class TargetTooLong(RequestRejected):
    """The path and query string are longer than this server takes."""


class BodyLate(RequestRejected):
    """The body did not come in time."""


class HeadTooLong(RequestRejected):
    """The header fields are longer than this server takes."""


class MediaTypeUnsupported(RequestRejected):
    """The body's media type is not taken here."""


class NotAcceptable(RequestRejected):
    """None of the accepted media types can be given."""


class ChannelsBusy(RequestRejected):
    """As many event channels are open here as may be; try again later."""


class HostUnclear(RequestRejected):
    """A request has one Host field, neither none nor several (RFC 9112 3.2)."""


class HostRefused(RequestRejected):
    """The Host of the request is not a name of this server."""


class OriginRefused(RequestRejected):
    """A page of another site may not change anything here."""


class DataSetUnreadable(ApiError):
    """The kept data set does not parse to its end; retrieve it as application/dicom, byte for byte."""


class PixelsUnreadable(DataSetUnreadable):
    """The pixels are not what their attributes say; retrieve the instance as application/dicom, byte for byte."""


class SendersBusy(ApiError):
    """More senders wait than may; come again in a little while."""


class ResponseBroken(ApiError):
    """The answer was cut because what it was made of could not be read to its end."""


class BindRefused(ApiError):
    """The HTTP side binds loopback addresses only until sign-in exists; put 127.0.0.1, ::1 or localhost."""


class BindFailed(ApiError):
    """The address cannot be bound."""
