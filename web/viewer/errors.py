"""Errors of the viewer's making: each message is one sentence that a person can act on.

ViewerError
├── PackageUnfit      what came is not the pinned package, or not what our edits were made for
└── FolderUnusable    the folder for viewers cannot be read or written
"""

from __future__ import annotations


class ViewerError(Exception):
    """The viewer cannot be installed."""


class PackageUnfit(ViewerError):
    """The file is not the viewer's package that this release names."""


class FolderUnusable(ViewerError):
    """The folder for viewers cannot be read or written."""
