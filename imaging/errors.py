"""Errors of decoding and rendering.

ImagingError
├── DecodeRefused   the object's fault: its pixels are not what its attributes say, or have no decoder here
├── DecoderLost     the object's fault, as far as anyone can tell: the decoder's process crashed or was stopped
├── DecodersBusy    the world's for now: every decoder is at work and enough requests wait already
└── DecoderUnready  ours: the decoder's process cannot be started
"""

from __future__ import annotations


class ImagingError(Exception):
    """A frame could not be decoded or rendered."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class DecodeRefused(ImagingError):
    """The pixels are not what their attributes say, or are in a form that is not decoded here."""


class DecoderLost(ImagingError):
    """The decoder did not survive this frame; it can be retrieved as it is stored."""


class DecodersBusy(ImagingError):
    """Every decoder is at work, and enough requests wait already."""


class DecoderUnready(ImagingError):
    """The decoder's process cannot be started."""
