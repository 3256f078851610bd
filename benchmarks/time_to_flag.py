"""From the last C-STORE response to FLAGGED in the worklist, warm, on `roi serve`.

A head CT phantom of 32 slices, and a chest radiograph, go through a real association again and again under new UIDs;
the waterfall tells where the time goes.  The bare forward pass is measured in a process of its own with the same
threads; what is left of the whole is the fixed overhead, whose goal is p95 <= 1.0 s.

    python -m benchmarks.time_to_flag --rounds 20 --json result.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import urllib3
from pydicom.dataset import Dataset
from rich.console import Console
from rich.table import Table

from models.reference.dicom import head_ct_study, radiograph_study
from models.reference.identity import PHANTOM_UID_ROOT
from pacs_gateway import scu
from roi.demo import Address, serving

GOAL_S = 1.0
_STAGES = ("complete", "claimed", "selected", "decoded", "gated", "predicted", "committed", "seen")
_MEANING = {
    "complete": "released, settled, judged complete",
    "claimed": "doorbell, claim",
    "selected": "series selected",
    "decoded": "objects read, decoded, to an array",
    "gated": "admissible",
    "predicted": "chain and forward pass",
    "committed": "judged, back in the worker",
    "seen": "committed, answered by the API",
}
_POLL_S = 0.01
_LIMIT_S = 60.0
_WARM_UPS = 3


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is sent, and the model that must flag it."""

    name: str
    model: str
    draw: Callable[[], list[Dataset]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Seconds, p50 and p95 over the rounds."""

    case: str
    rounds: int
    threads: int
    stages: Mapping[str, tuple[float, float]]
    total: tuple[float, float]
    forward: tuple[float, float]
    overhead: tuple[float, float]

    @property
    def met(self) -> bool:
        """Whether the goal is met."""
        return self.overhead[1] <= GOAL_S


CASES = (
    Case(
        name="head CT, 32 slices of 512 x 512",
        model="head-ct-haemorrhage",
        draw=lambda: head_ct_study(40, haemorrhage=True, plain=True),
    ),
    Case(
        name="chest radiograph, 640 x 640",
        model="chest-radiograph",
        draw=lambda: radiograph_study(6, findings=frozenset({"pneumothorax"})),
    ),
)


class NotFlaggedError(RuntimeError):
    """A run that is not flagged gives no number."""


# -------------------------------------------------------------------------------------------------------- one round
def run_round(case: Case, data_sets: Sequence[Dataset], number: int, address: Address, folder: Path) -> dict[str, Any]:
    """Send the study under new UIDs; return the POSIX times of its stages, with the threads of the run."""
    study = _write_under_new_uids(data_sets, number, folder)
    answered = 0.0

    def note(_: scu.Progress) -> None:
        nonlocal answered
        answered = time.time()

    report = scu.send([folder], "127.0.0.1", address.dicom_port, on_progress=note)
    if report.not_sent:
        raise NotFlaggedError(f"{case.name}: not taken: {report.not_sent[0].reason}")
    seen = _wait_until_flagged(case, f"{address.http_url}/api/worklist/{study}")
    ended = _get(f"{address.http_url}/api/studies/{study}/results")["results"]
    [result] = [each for each in ended if not each["provisional"]]
    return {"answered": answered, **result["times"], "seen": seen, "threads": result["provenance"]["threads"]}


def _write_under_new_uids(data_sets: Sequence[Dataset], number: int, folder: Path) -> str:
    folder.mkdir()
    study = f"{PHANTOM_UID_ROOT}8.{number}"
    for at, data_set in enumerate(data_sets, start=1):
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, f"{study}.1"
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{at}"
        data_set.save_as(folder / f"{at:04d}.dcm", enforce_file_format=True)
    return study


def _wait_until_flagged(case: Case, url: str) -> float:
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        [line] = _get(url)["coverage"]
        if line["outcome"] == "FLAGGED":
            return time.time()
        if line["outcome"] is not None:
            raise NotFlaggedError(f"{case.name}: {line['outcome']} {line['reason'] or ''}")
        time.sleep(_POLL_S)
    raise NotFlaggedError(f"{case.name}: no result within {_LIMIT_S:g} s")


def _get(url: str) -> Any:  # noqa: ANN401 - JSON
    answer = urllib3.request("GET", url, timeout=10)
    if answer.status != 200:
        raise NotFlaggedError(f"{url} answered {answer.status}")
    return json.loads(answer.data)


# ------------------------------------------------------------------------------------------------------ all rounds
def measure(case: Case, rounds: int, first: int, address: Address, folder: Path) -> Figures:
    """Run warm-ups, then the rounds, numbered from `first`, then the bare forward pass."""
    data_sets = case.draw()
    folder.mkdir()
    numbers = range(first, first + _WARM_UPS + rounds)
    times = [run_round(case, data_sets, number, address, folder / str(number)) for number in numbers][_WARM_UPS:]
    threads = int(times[0]["threads"])
    forward = bare_forward(case.model, threads)
    marks = np.array([[each["answered"], *(each[stage] for stage in _STAGES)] for each in times])
    spans = np.diff(marks, axis=1)
    total = marks[:, -1] - marks[:, 0]
    return Figures(
        case=case.name,
        rounds=rounds,
        threads=threads,
        stages={stage: _both(spans[:, at]) for at, stage in enumerate(_STAGES)},
        total=_both(total),
        forward=_both(forward),
        overhead=_both(total - np.median(forward)),
    )


def bare_forward(model: str, threads: int) -> list[float]:
    """Return the seconds of forward passes of a model in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.time_to_flag", "--bare", model, "--threads", str(threads)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds: list[float] = json.loads(finished.stdout)
    return seconds


def _bare(model_id: str, threads: int) -> list[float]:
    from models import registry, runtime  # noqa: PLC0415 - loads torch, in the process that measures it alone
    from models.chains import prepare  # noqa: PLC0415
    from models.network_model import NetworkModel, forward  # noqa: PLC0415
    from models.reference.cases import chest_radiograph, head_volume, standard_positions  # noqa: PLC0415
    from models.reference.chest import draw_chest  # noqa: PLC0415
    from models.reference.head import draw_head  # noqa: PLC0415

    runtime.use_threads(threads)
    card = registry.card(model_id)
    model = registry.load(card, "cpu")
    assert isinstance(model, NetworkModel)
    image = (
        head_volume(draw_head(40, haemorrhage=True), standard_positions(32))
        if card.input_rules.kind == "volume"
        else chest_radiograph(draw_chest(6))
    )
    pixels = prepare(image, model.chain.before).pixels
    seconds = []
    for _ in range(_WARM_UPS + 20):
        begun = time.perf_counter()
        forward(model.network, pixels, device="cpu", mirrored=model.chain.mirrored)
        seconds.append(time.perf_counter() - begun)
    return seconds[_WARM_UPS:]


def _both(seconds: Any) -> tuple[float, float]:  # noqa: ANN401 - whatever numpy takes
    p50, p95 = np.percentile(seconds, [50, 95])
    return round(float(p50), 4), round(float(p95), 4)


# --------------------------------------------------------------------------------------------------------- printing
def print_figures(figures: Figures) -> None:
    """Print the waterfall and say whether the goal is met."""
    table = Table("stage", "what happens", "p50 ms", "p95 ms", title=f"{figures.case}: last response to FLAGGED")
    for stage, (p50, p95) in figures.stages.items():
        table.add_row(stage, _MEANING[stage], f"{p50 * 1000:.0f}", f"{p95 * 1000:.0f}")
    table.add_section()
    whole = {
        "total": figures.total,
        f"bare forward pass, {figures.threads} thread(s)": figures.forward,
        "fixed overhead": figures.overhead,
    }
    for name, (p50, p95) in whole.items():
        table.add_row("", name, f"{p50 * 1000:.0f}", f"{p95 * 1000:.0f}")
    Console().print(table)
    word = "MET" if figures.met else "NOT MET"
    print(f"{figures.rounds} rounds; goal: overhead p95 <= {GOAL_S:.1f} s: {figures.overhead[1]:.2f} s, {word}")


def main() -> None:
    """Run it; exit code 1 where the goal is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        print(json.dumps(_bare(options.bare, options.threads)))
        return
    with tempfile.TemporaryDirectory(prefix="roi-flag-") as scratch, serving(Path(scratch) / "data") as address:
        found = [
            measure(case, options.rounds, at * 10_000, address, Path(scratch) / str(at))
            for at, case in enumerate(CASES)
        ]
    for figures in found:
        print_figures(figures)
    if options.json:
        options.json.write_text(json.dumps([{**asdict(figures), "met": figures.met} for figures in found], indent=1))
    sys.exit(not all(figures.met for figures in found))


if __name__ == "__main__":
    main()
