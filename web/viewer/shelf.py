"""The folder of installed viewers: one folder for each, complete or not there.

A viewer is made in a folder with another name and renamed at the end, so nobody ever serves half of one.  Only the
folder of the pinned release is looked at.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from web.viewer.edits import Editor, is_pruned
from web.viewer.errors import FolderUnusable, PackageUnfit
from web.viewer.package import files_of
from web.viewer.release import Release, pinned_release

if TYPE_CHECKING:
    from concurrent.futures import Future

_INDEX: Final = "pages.json"
_SITE: Final = "site"
_BUILD: Final = "dist/"
_LICENCE: Final = "LICENSE"
_MAKING: Final = ".making"
_BROKEN: Final = ".broken"
_HASHED: Final = re.compile(r"(.*[./])?[0-9a-f]{16}\.[a-z0-9]+")
_SHRINKS: Final = frozenset({".js", ".css", ".html", ".json", ".svg", ".wasm", ".xml", ".webapp", ".ico"})
_SHORT_BYTES: Final = 1024  # below it, gzip saves no packet


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One file of the viewer; `digest` is of its content, `squeezed` tells of a gzip sibling.

    `for_ever`: its name holds a hash of its content, so a browser need not ask again.
    """

    digest: str
    size_bytes: int
    squeezed: bool
    for_ever: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """A complete viewer; `pages` by their paths below the prefix."""

    release: Release
    folder: Path
    pages: Mapping[str, Page]

    def path(self, name: str, *, squeezed: bool = False) -> Path:
        """Return where a page of `pages` lies."""
        return self.folder / _SITE / (f"{name}.gz" if squeezed else name)

    def damaged(self) -> list[str]:
        """Return the pages that are missing or not what was installed; reads them all."""
        return [name for name, page in self.pages.items() if not _is_whole(self, name, page)]


class Shelf:
    """Installed viewers below `root`, of which `release` alone counts.  Where `root` is None, there never is one.

    Safe from any thread and several processes.
    """

    def __init__(self, root: Path | None, release: Release | None = None) -> None:
        self.root = root
        self.release = release or pinned_release()
        self._found: Installed | None = None

    def installed(self) -> Installed | None:
        """Return the pinned release where it is installed; one that is installed, or removed, meanwhile is noticed."""
        if self.root is None:
            return None
        folder = self.root / self.release.folder_name
        if not folder.exists():
            self._found = None
        elif self._found is None and (pages := _read_index(folder)) is not None:
            self._found = Installed(release=self.release, folder=folder, pages=pages)
        return self._found

    def others(self) -> list[Path]:
        """Return the folders of other releases, which are never served."""
        if self.root is None or not self.root.is_dir():
            return []
        return sorted(each for each in self.root.glob("ohif-*") if each.name != self.release.folder_name)

    def install(self, package: BinaryIO, on_progress: Callable[[int, int], None] | None = None) -> Installed:
        """Install the pinned release from its package; where it is installed already and whole, nothing is done.

        `on_progress` is told how many of the package's files are done, and how many it has.

        Raises
        ------
        PackageUnfit
            The file is not the pinned package.
        FolderUnusable
            The folder cannot be written.
        """
        if self.root is None:
            raise FolderUnusable("there is no folder for viewers")
        with _held(self.root) as root:
            found = self.installed()
            if found is None or found.damaged():
                self.release.check(package)
                package.seek(0)
                self._make(root, package, on_progress or (lambda _done, _of: None))
                self._found = None
        found = self.installed()
        assert found is not None  # noqa: S101 - it was just renamed to its place
        return found

    def _make(self, root: Path, package: BinaryIO, on_progress: Callable[[int, int], None]) -> None:
        half, place = root / _MAKING, root / self.release.folder_name
        _clear(root)  # of a process that was killed: we hold the lock
        try:
            half.mkdir()
            pages = _write_pages(package, half, lambda done: on_progress(done, self.release.files))
            _write(half / _INDEX, json.dumps({name: asdict(page) for name, page in pages.items()}).encode())
            _sync_folders(half)
            if place.exists():  # a damaged one
                place.rename(root / _BROKEN)
            half.rename(place)
            _sync(root)
        finally:
            _clear(root)


# -------------------------------------------------------------------------------------------------- making one
def _write_pages(package: BinaryIO, half: Path, on_progress: Callable[[int], None]) -> dict[str, Page]:
    editor = Editor()
    making: dict[str, Future[Page]] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (name, content) in enumerate(files_of(package), start=1):
            page = name.removeprefix(_BUILD)
            if name == _LICENCE:
                _write(half / _LICENCE, content)
            elif page != name and not is_pruned(page):
                making[page] = pool.submit(_write_page, half / _SITE / page, editor.edit(page, content))
            on_progress(number)
    editor.check()
    pages = {name: done.result() for name, done in making.items()}
    if "index.html" not in pages or not (half / _LICENCE).exists():
        raise PackageUnfit("the package has no index.html or no licence; nothing was installed")
    return pages


def _clear(root: Path) -> None:
    for name in (_MAKING, _BROKEN):
        if (root / name).exists():
            shutil.rmtree(root / name)


def _write_page(path: Path, content: bytes) -> Page:
    _write(path, content)
    squeezed = path.suffix in _SHRINKS and len(content) >= _SHORT_BYTES
    if squeezed:
        _write(path.with_name(f"{path.name}.gz"), gzip.compress(content, mtime=0))
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    for_ever = _HASHED.fullmatch(path.name) is not None
    return Page(digest=digest, size_bytes=len(content), squeezed=squeezed, for_ever=for_ever)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folders(top: Path) -> None:
    for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
        _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _held(root: Path) -> Iterator[Path]:
    """Hold the folder for one process that installs; another one waits."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield root
    except OSError as error:
        raise FolderUnusable(f"the folder {root} cannot be written: {error.strerror}") from error


# -------------------------------------------------------------------------------------------------- reading one
def _read_index(folder: Path) -> dict[str, Page] | None:
    """Return the pages of a folder, None where they cannot be read: then it counts as not installed."""
    try:
        listed = json.loads((folder / _INDEX).read_bytes())
        return {name: Page(**page) for name, page in listed.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _is_whole(viewer: Installed, name: str, page: Page) -> bool:
    try:
        content = viewer.path(name).read_bytes()
        unpacked = gzip.decompress(viewer.path(name, squeezed=True).read_bytes()) if page.squeezed else content
    except (OSError, EOFError, gzip.BadGzipFile):
        return False
    return content == unpacked and hashlib.blake2b(content, digest_size=16).hexdigest() == page.digest
