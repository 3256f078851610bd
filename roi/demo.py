"""`roi demo`: the main job, end to end, on a scratch folder: phantoms in through an association, the urgent on top."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from models.reference.dicom import head_ct_study, radiograph_study
from pacs_gateway import scu
from roi.errors import RoleFailed
from roi.progress import progress_bar
from roi.serve import free_port
from roi.settings import read_settings
from roi.viewer import fetching

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_AET = "ROI"
_START_LIMIT_S = 90.0
_TRIAGE_LIMIT_S = 180.0
_VIEWER_LIMIT_S = 120.0
_SETTLED = {"analysed", "not suitable", "failed", "no model applies", "opted out"}

# Drawn at random from no one: names for phantoms.
_PATIENTS = (
    "Nguyễn^Văn An",
    "Trần^Thị Bích",
    "Lê^Hoàng Đức",
    "Phạm^Thuỳ Dương",
    "Hoàng^Quốc Khánh",
    "Đặng^Thị Ngọc Ánh",
)

_STUDIES = (
    ("ct-normal-1", partial(head_ct_study, haemorrhage=False)),
    ("ct-urgent", partial(head_ct_study, haemorrhage=True)),
    ("dx-normal", partial(radiograph_study, findings=frozenset())),
    ("dx-urgent", partial(radiograph_study, findings=frozenset({"pneumothorax"}))),
    ("ct-normal-2", partial(head_ct_study, haemorrhage=False)),
    ("dx-effusion", partial(radiograph_study, findings=frozenset({"effusion"}))),
)
"""Urgent ones arrive after normal ones, so that a flag shows as a move."""


def demo(folder: Path | None, *, keep: bool, seed: int) -> None:
    """Serve on a scratch folder, send phantom studies (and `folder`), wait for triage, print the worklist.

    The image viewer is fetched meanwhile, where it is not there; a demo without it is a demo all the same.
    """
    with (
        tempfile.TemporaryDirectory(prefix="roi-demo-") as scratch,
        fetching(read_settings(data=Path(scratch) / "data"), limit_s=_VIEWER_LIMIT_S) as viewer_ended,
        serving(Path(scratch) / "data") as address,
    ):
        drawn = Path(scratch) / "phantoms"
        _draw(drawn, seed)
        _send(drawn / _STUDIES[0][0], address.dicom_port)
        wait_for_triage(address.http_url, limit_s=_TRIAGE_LIMIT_S)  # the models are loaded once, for the first study
        sent_at = _send(drawn, address.dicom_port)
        if folder is not None:
            sent_at = _send(folder, address.dicom_port)
        rows = wait_for_triage(address.http_url, limit_s=_TRIAGE_LIMIT_S)
        print_worklist(address.http_url, rows)
        Console().print(f"{time.time() - sent_at:.1f} s from the last sent file to the last result.")
        Console().print("The study that came first had to wait until the models were loaded.")
        Console().print(_viewer_line(viewer_ended(), address.http_url), soft_wrap=True)
        if keep:
            Console().print(f"The worklist is at {address.http_url}/ (stop with Ctrl-C)")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


class Address:
    """Where a served archive listens."""

    def __init__(self, dicom_port: int, http_port: int) -> None:
        self.dicom_port = dicom_port
        self.http_url = f"http://127.0.0.1:{http_port}"


@contextlib.contextmanager
def serving(data: Path) -> Iterator[Address]:
    """Run `roi serve` in a process of its own, on free ports; stopped on exit."""
    dicom_port, http_port = free_port(), free_port()
    settings = read_settings(data=data, dicom_port=dicom_port, http_port=http_port, aet=_AET)
    data.mkdir(parents=True)
    log = data / "serve.log"
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "roi.cli", "serve"]
        process = subprocess.Popen(command, env=settings.as_environment(), stdout=subprocess.PIPE, stderr=sink)
        try:
            _await_ready_line(process, log)
            yield Address(dicom_port, http_port)
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_for_triage(http_url: str, *, limit_s: float) -> list[dict[str, Any]]:
    """Return the worklist's rows once no row waits any more."""
    deadline = time.monotonic() + limit_s
    with progress_bar("studies triaged") as advance:
        while True:
            rows = _get(f"{http_url}/api/worklist?limit=500")["entries"]
            settled = [row for row in rows if is_settled(row)]
            advance(len(settled), len(rows))
            if rows and len(settled) == len(rows):
                return list(rows)
            if time.monotonic() > deadline:
                raise RoleFailed(f"{len(rows) - len(settled)} studies still wait after {limit_s:g} s; see the log")
            time.sleep(0.2)


def _viewer_line(why_not: str, http_url: str) -> str:
    if why_not:
        return f"No image viewer: {why_not}"
    with urllib.request.urlopen(f"{http_url}/ohif/", timeout=30):  # noqa: S310 - our own loopback address
        return f"The image viewer is at {http_url}/ohif/, and the worklist has a link for each study."


def is_settled(row: Mapping[str, Any]) -> bool:
    """Tell whether a worklist row's study is complete and every model has had its say."""
    return row["ready_at"] is not None and all(line["coverage"] in _SETTLED for line in row["coverage"])


def print_worklist(http_url: str, rows: list[dict[str, Any]]) -> None:
    """Print the worklist as a table, in reading order."""
    table = Table(title="Danh sách đọc / Reading worklist", caption=_labels(rows))
    for heading in ("#", "patient", "study", "images", "AI", "why here", "last image to flag"):
        table.add_column(heading)
    for place, row in enumerate(rows, start=1):
        table.add_row(str(place), *_cells(http_url, row))
    Console().print(table)


def _cells(http_url: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    study = f"{' '.join(row['study']['modalities'])} {row['study']['study_description'] or ''}"
    flags = [
        f"[bold red]{finding['name']['vi']} {finding['score']:.2f}[/]"
        for finding in row["findings"]
        if finding["positive"]
    ]
    coverage = [" ".join(filter(None, (line["text"]["vi"], line["reason"]))) for line in row["coverage"]]
    return (
        row["patient"]["patient_name"] or "",
        study.strip(),
        str(row["instance_count"]),
        "\n".join(flags or coverage),
        row["place_reason"]["vi"],
        _seconds_to_result(http_url, row),
    )


def _seconds_to_result(http_url: str, row: Mapping[str, Any]) -> str:
    """Return the time from a study's last instance to its newest result; nothing where no model answered."""
    ended = _get(f"{http_url}/api/studies/{row['study_instance_uid']}/results")["results"]
    spans = [
        times["committed"] - times["received_last"]
        for times in (line["times"] for line in ended)
        if "predicted" in times
    ]
    return f"{max(spans):.2f} s" if spans else ""


def _labels(rows: list[dict[str, Any]]) -> str:
    return "\n".join(
        sorted({label for row in rows for finding in row["findings"] for label in finding["label"].values()})
    )


def _draw(folder: Path, seed: int) -> None:
    """Write the demo's studies, urgent and normal ones mixed, as DICOM files."""
    with progress_bar("phantoms drawn") as advance:
        for number, (name, draw) in enumerate(_STUDIES):
            _write(draw(seed * 100 + number, patient_name=_PATIENTS[number]), folder / name)
            advance(number + 1, len(_STUDIES))


def _write(data_sets: list[Dataset], folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, data_set in enumerate(data_sets):
        data_set.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def _send(folder: Path, port: int) -> float:
    """Send all files below `folder`; return when the last answer came, POSIX seconds."""
    with progress_bar("files sent") as advance:
        report = scu.send(
            [folder],
            "127.0.0.1",
            port,
            called_aet=_AET,
            on_progress=lambda progress: advance(progress.done, progress.total),
        )
    for item in report.not_sent:
        Console().print(f"not taken: {item.path.name}: {item.reason}")
    return time.time()


def _await_ready_line(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    line = process.stdout.readline()
    if not line:
        kept = Path(tempfile.gettempdir()) / "roi-demo-failed.log"
        shutil.copy(log, kept)
        raise RoleFailed(f"roi serve did not start; its log is {kept}")


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own loopback address
        found: dict[str, Any] = json.loads(answer.read())
    return found
