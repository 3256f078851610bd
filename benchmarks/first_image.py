"""From the click in the viewer's study list to the first diagnostic image, on Rọi and on Orthanc.

The same OHIF, in the same browser, opens the same studies: a phantom head CT of 32 slices and a synthetic CT of 300.
Orthanc is asked through a small proxy that puts viewer and DICOMweb under one address; Rọi is asked through the same
proxy, which is what may be compared, and once directly, as it is used.  Rounds alternate; each has a fresh browser
profile that has loaded the viewer but seen no image of the study.  Needs Chromium and `roi viewer fetch`.

    python -m benchmarks.first_image --rounds 10 --json result.json
    python -m benchmarks.first_image --small          # shows that it runs; not for quoting
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import urllib3
from playwright.sync_api import Browser, sync_playwright
from pydicom.dataset import Dataset
from rich.console import Console
from rich.table import Table

from benchmarks import same_origin
from benchmarks.orthanc import Orthanc, installed_orthanc, make_chroot
from benchmarks.peers import MissingError
from models.reference.dicom import head_ct_study
from pacs_gateway import scu
from roi.settings import read_settings
from tests.browser.scene import browser_program
from tests.browser.viewing import FLAGS
from tests.servers.process import Program, Server, free_port
from web.viewer import Shelf

_LIMIT_MS = 120_000
_NO_TOUR = "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))"

_WATCH = """
() => { window.firstImage = new Promise((done) => {
  const small = new OffscreenCanvas(48, 48).getContext("2d", { willReadFrequently: true });
  let clicked = 0;
  addEventListener("click", () => { clicked ||= performance.now(); }, { capture: true });
  const look = () => {
    const canvas = document.querySelector(".cornerstone-viewport-element canvas.cornerstone-canvas");
    if (clicked && canvas && canvas.width) {
      small.drawImage(canvas, 0, 0, 48, 48);
      const grey = small.getImageData(0, 0, 48, 48).data.filter((_, at) => at % 4 === 0);
      if (Math.max(...grey) - Math.min(...grey) > 100) { done(performance.now() - clicked); return; }
    }
    requestAnimationFrame(look);
  };
  look();
}); }
"""
"""An image is there once the viewport has black and bright parts; seen in miniature, frame by frame."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A study to open."""

    name: str
    patient: str
    draw: Callable[[], list[Dataset]]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """Where a browser finds viewer and studies."""

    name: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Milliseconds of one contestant in one case."""

    case: str
    contestant: str
    milliseconds: Sequence[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.milliseconds)

    @property
    def p95(self) -> float:
        """All but one of twenty are below."""
        return float(np.percentile(self.milliseconds, 95))


CASES = (
    Case(
        name="phantom head CT, 32 slices",
        patient="FIRST IMAGE 32",
        draw=lambda: head_ct_study(40, haemorrhage=True, plain=True, patient_name="FIRST IMAGE 32"),
    ),
    Case(
        name="synthetic CT, 300 slices",
        patient="FIRST IMAGE 300",
        draw=lambda: head_ct_study(41, haemorrhage=False, slices=300, step_mm=0.5, patient_name="FIRST IMAGE 300"),
    ),
)
_WARM_UP = Case(
    name="what loads the viewer",
    patient="WARM UP",
    draw=lambda: head_ct_study(42, haemorrhage=False, slices=2, patient_name="WARM UP"),
)


# ------------------------------------------------------------------------------------------------------- one round
def click_to_image(browser: Browser, contestant: Contestant, case: Case) -> float:
    """Return the milliseconds from the click on a study to its first image, in a profile that has not seen it."""
    context = browser.new_context(viewport={"width": 1300, "height": 800})
    try:
        context.add_init_script(f"if (origin.startsWith('http')) {_NO_TOUR}")
        page = context.new_page()
        taken = 0.0
        for each in (_WARM_UP, case):
            page.goto(f"{contestant.url}/ohif/")
            row = page.get_by_text(each.patient, exact=True).first
            row.wait_for(timeout=_LIMIT_MS)
            page.evaluate(_WATCH)
            row.dblclick()
            page.set_default_timeout(_LIMIT_MS)
            taken = float(page.evaluate("() => window.firstImage"))
        return taken
    finally:
        context.close()


# ---------------------------------------------------------------------------------------------------- the servers
@contextmanager
def roi_serving(folder: Path, files: Path) -> Iterator[str]:
    """Import the studies and run `roi api`, nothing else."""
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "roi.cli", "import", str(files), "--data", str(folder / "data")],
        check=True,
        capture_output=True,
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "roi.cli", "api", "--data", str(folder / "data"), "--http-port", str(port)]
    with Server(_program("roi", command, folder, f"{url}/health/ready"), url) as server:
        yield server.url


@contextmanager
def orthanc_serving(peer: Orthanc, work: Path, files: Path) -> Iterator[str]:
    """Run Orthanc and send the studies to it."""
    with peer.running(peer.workplace(work) / "orthanc"):
        report = scu.send([files], "127.0.0.1", peer.dicom_port, called_aet=peer.aet, associations=4)
        if report.not_sent:
            raise MissingError(f"{peer.name} did not take {len(report.not_sent)} files")
        yield f"http://127.0.0.1:{peer.http_port}"


@contextmanager
def one_site(folder: Path, viewer: str, dicomweb: str) -> Iterator[str]:
    """Put viewer and DICOMweb under one address."""
    folder.mkdir()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(Path(same_origin.__file__)), str(port), viewer, dicomweb]
    with Server(_program("proxy", command, folder, f"{url}/ohif/"), url) as server:
        yield server.url


def _program(name: str, command: Sequence[str], folder: Path, asked: str) -> Program:
    return Program(name=name, command=command, folder=folder, is_ready=lambda: _ask(asked))


def _ask(url: str) -> bytes:
    answer = urllib3.request("GET", url, headers={"Accept": "application/json"}, timeout=30, retries=False)
    if answer.status != 200:
        raise MissingError(f"{url} answered {answer.status}")
    return answer.data


def check(contestant: Contestant, studies: Mapping[str, int]) -> None:
    """Raise unless a server holds exactly the instances of the studies."""
    for study, count in studies.items():
        found = json.loads(_ask(f"{contestant.url}/dicom-web/studies/{study}/instances"))
        if len(found) != count:
            raise MissingError(f"{contestant.name} holds {len(found)} of {count} instances of a study")


# ------------------------------------------------------------------------------------------------------ all rounds
def measure(contestants: Sequence[Contestant], cases: Sequence[Case], rounds: int) -> list[Figures]:
    """Open each study on each contestant in turn, again and again."""
    found: dict[tuple[str, str], list[float]] = {(c.name, who.name): [] for c in cases for who in contestants}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program(), args=list(FLAGS))
        for number in range(rounds):
            turn = number % len(contestants)
            for case in cases:
                for who in (*contestants[turn:], *contestants[:turn]):
                    found[case.name, who.name].append(click_to_image(browser, who, case))
        browser.close()
    return [Figures(case=case, contestant=who, milliseconds=taken) for (case, who), taken in found.items()]


def _write(data_sets: Sequence[Dataset], folder: Path) -> dict[str, int]:
    folder.mkdir(parents=True)
    for number, data_set in enumerate(data_sets):
        data_set.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return {str(data_sets[0].StudyInstanceUID): len(data_sets)}


def run(cases: Sequence[Case], rounds: int, peer: Orthanc | None, work: Path) -> list[Figures]:
    """Draw the studies, start the servers, measure."""
    files = work / "files"
    studies: dict[str, int] = {}
    for at, case in enumerate((_WARM_UP, *cases)):
        studies |= _write(case.draw(), files / str(at))
    with ExitStack() as stack:
        ours = stack.enter_context(roi_serving(work / "roi", files))
        found = [
            Contestant(name="roi", url=ours),
            Contestant(name="roi, through the proxy", url=stack.enter_context(one_site(work / "proxy", ours, ours))),
        ]
        if peer is not None:
            theirs = stack.enter_context(orthanc_serving(peer, work, files))
            proxied = stack.enter_context(one_site(work / "proxy-orthanc", ours, theirs))
            found.append(Contestant(name=f"{peer.name}, through the proxy", url=proxied))
        for contestant in found:
            check(contestant, studies)
        return measure(found, cases, rounds)


# --------------------------------------------------------------------------------------------------------- printing
def print_figures(found: Sequence[Figures], rounds: int) -> None:
    """Print medians, p95, and how each compares with Rọi through the proxy."""
    table = Table("study", "archive", "median ms", "p95 ms", "median, roi through the proxy = 1")
    base = {each.case: each.median for each in found if each.contestant == "roi, through the proxy"}
    for each in found:
        ratio = f"{each.median / base[each.case]:.2f}"
        table.add_row(each.case, each.contestant, f"{each.median:.0f}", f"{each.p95:.0f}", ratio)
    Console().print(table)
    print(f"{rounds} rounds in turn; click in the study list to the first image in the viewport, software rendering")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--small", action="store_true", help="one round of the short study")
    parser.add_argument("--orthanc-chroot", type=Path, help="folder with Orthanc 1.12, made where it is missing")
    options = parser.parse_args()
    if Shelf(read_settings().viewer_folder).installed() is None:
        sys.exit("no viewer: roi viewer fetch")
    rounds, cases = (1, CASES[:1]) if options.small else (options.rounds, CASES)
    if options.orthanc_chroot:
        make_chroot(options.orthanc_chroot)
    peer = Orthanc(options.orthanc_chroot) if options.orthanc_chroot or installed_orthanc() else None
    with tempfile.TemporaryDirectory(prefix="roi-first-image-") as scratch:
        found = run(cases, rounds, peer, Path(scratch))
    print_figures(found, rounds)
    if peer is None:
        print("Orthanc is not here and was left out")
    if options.json:
        told = [{**asdict(each), "median": each.median, "p95": each.p95} for each in found]
        options.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
