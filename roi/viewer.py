"""`roi viewer`: the image viewer, brought with npm or from a file, and installed where the API serves it from."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from roi.errors import ViewerNotFetched
from roi.progress import progress_bar
from web.viewer import Shelf

if TYPE_CHECKING:
    from roi.settings import Settings
    from web.viewer import Release

_LIMIT_S = 600.0
# One try more than none, soon: where there is no network, the answer shall not take minutes.
_NPM_OPTIONS = (
    "--ignore-scripts",
    "--prefer-offline",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--silent",
)


def fetch(shelf: Shelf, file: Path | None) -> None:
    """Install the shelf's release; where it is installed and whole, nothing is done."""
    installed = shelf.installed()
    if installed is not None and not installed.damaged():
        sys.stdout.write(f"OHIF {installed.release.version} is installed in {installed.folder}\n")
        return
    with _package(shelf.release, file) as path, path.open("rb") as package, progress_bar("viewer's files") as advance:
        made = shelf.install(package, on_progress=advance)
    size_mb = sum(page.size_bytes for page in made.pages.values()) / 1e6
    sys.stdout.write(
        f"OHIF {made.release.version}, {len(made.pages)} files of {size_mb:.0f} MB, is now installed in {made.folder}\n"
    )


def status(shelf: Shelf) -> None:
    """Print which release of the viewer is wanted and what there is; exit code 1 where it is missing or damaged."""
    installed = shelf.installed()
    damaged = installed.damaged() if installed is not None else []
    word = "not installed; run roi viewer fetch" if installed is None else "installed"
    lines = [
        f"viewer: {shelf.release.spec}, {shelf.release.licence}",
        f"folder: {shelf.root}",
        f"state: {'damaged; run roi viewer fetch' if damaged else word}",
        *(f"damaged: {name}" for name in damaged),
        *(f"of another release, never served, may be deleted: {folder.name}" for folder in shelf.others()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if installed is None or damaged:
        sys.exit(1)


@contextmanager
def fetching(settings: Settings, *, limit_s: float) -> Iterator[Callable[[], str]]:
    """Fetch the viewer in a process beside this one, where it is not there yet.

    Gives what waits for it, until `limit_s` after the start at most, and returns why there is no viewer: nothing where
    there is one.
    """
    shelf = Shelf(settings.viewer_folder)
    if shelf.installed() is not None:
        yield lambda: ""
        return
    command = [sys.executable, "-m", "roi.cli", "viewer", "fetch"]
    deadline = time.monotonic() + limit_s
    with subprocess.Popen(
        command, env=settings.as_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:

        def end() -> str:
            try:
                _, said = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                return f"it did not come within {limit_s:g} s; run roi viewer fetch"
            return "" if process.returncode == 0 else said.strip().splitlines()[-1].removeprefix("roi: ")

        try:
            yield end
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process, which then clears up behind it, and kill one that does not end.

    Not with SIGINT: what a script starts in the background ignores it.
    """
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def _package(release: Release, file: Path | None) -> Iterator[Path]:
    """Give the package's file, brought with npm into a scratch folder where none is named.

    npm's own settings say from which registry, through which proxy and with which certificates.

    Raises
    ------
    ViewerNotFetched
        npm is not here, or did not bring it.
    """
    if file is not None:
        yield file
        return
    by_hand = f"take {release.file_name} from a machine where `npm pack {release.spec}` works: roi viewer fetch --from"
    npm = shutil.which("npm")
    if npm is None:
        raise ViewerNotFetched(f"npm is not on this machine; {by_hand} {release.file_name}")
    with tempfile.TemporaryDirectory(prefix="roi-viewer-") as scratch:
        sys.stderr.write(f"taking {release.spec} with npm (50 MB)\n")
        command = [npm, "pack", release.spec, *_NPM_OPTIONS]
        try:
            subprocess.run(command, cwd=scratch, check=True, timeout=_LIMIT_S, capture_output=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise ViewerNotFetched(f"npm did not bring {release.spec}; {by_hand} {release.file_name}") from error
        yield Path(scratch) / release.file_name
