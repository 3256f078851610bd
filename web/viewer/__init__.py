"""The image viewer, OHIF: which release, what is changed in it, and the folder from which it is served."""

from web.viewer.errors import FolderUnusable, PackageUnfit, ViewerError
from web.viewer.release import Release, pinned_release
from web.viewer.shelf import Installed, Page, Shelf

__all__ = [
    "FolderUnusable",
    "Installed",
    "PackageUnfit",
    "Page",
    "Release",
    "Shelf",
    "ViewerError",
    "pinned_release",
]
