"""Errors of the composition: each message is one sentence that a person can act on.

RoiError
├── SettingWrong
├── DataFolderTaken
├── DataFolderUnusable
├── PortTaken
├── ViewerNotFetched
└── RoleFailed
"""

from __future__ import annotations


class RoiError(Exception):
    """Rọi cannot start or go on."""


class SettingWrong(RoiError):
    """A setting has a value that cannot be."""


class DataFolderTaken(RoiError):
    """Another process serves this data folder."""


class DataFolderUnusable(RoiError):
    """The data folder cannot be written."""


class PortTaken(RoiError):
    """Something listens on the port already."""


class ViewerNotFetched(RoiError):
    """The viewer's package cannot be brought here."""


class RoleFailed(RoiError):
    """A role ended before it was ready."""
