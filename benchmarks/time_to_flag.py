"""From the last C-STORE response to FLAGGED in the worklist, warm, on `roi serve`.

Phantoms go through a real association again and again under new UIDs; the waterfall tells where the time goes.  The
wait for more instances (a policy, not a cost) and the bare forward pass, measured in a process of its own with the
same threads, are told apart; what is left is ours, and has a goal for each case.  Then the same while 50 CT instances
a second keep arriving, and a network of the size that sites run, where the goal is a ratio.

    python -m benchmarks.time_to_flag --rounds 20 --json result.json
"""

from __future__ import annotations

import argparse
import json
import os
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

from benchmarks import large_network
from benchmarks.sender import SendError
from benchmarks.stream import streaming
from models.reference.dicom import head_ct_study, radiograph_study
from models.reference.identity import PHANTOM_UID_ROOT
from pacs_gateway import scu
from roi.demo import Address, serving
from storage.catalog import studies
from storage.records import StudyUid
from tests.builders import archive, keep_data_set

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
_POLL_S = 0.02
_BARE_ROUNDS = 20
_LIMIT_S = 300.0
_WARM_UPS = 3


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is sent, the model that must flag it, and what may be ours of the time, seconds at p95."""

    name: str
    model: str
    draw: Callable[[], list[Dataset]]
    goal_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Seconds, p50 and p95 over the rounds.

    `settling` is from the last instance stored until its study counts as complete; `ours` what is neither that nor the
    forward pass; `ratio` what is from claim to commit against the bare forward pass, p50 against p50.
    """

    case: str
    rounds: int
    threads: int
    stages: Mapping[str, tuple[float, float]]
    total: tuple[float, float]
    settling: tuple[float, float]
    forward: tuple[float, float]
    ours: tuple[float, float]
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A goal, and whether it is met."""

    what: str
    goal: float
    found: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the goal is met."""
        return self.found <= self.goal


HEAD, FILM = "head CT, 32 slices of 512 x 512", "chest radiograph, 640 x 640"
CASES = (
    Case(
        name=FILM,
        model="chest-radiograph",
        draw=lambda: radiograph_study(6, findings=frozenset({"pneumothorax"})),
        goal_s=0.15,
    ),
    Case(
        name=HEAD,
        model="head-ct-haemorrhage",
        draw=lambda: head_ct_study(40, haemorrhage=True, plain=True),
        goal_s=0.4,
    ),
    Case(
        name="head CT, 300 slices of 512 x 512",
        model="head-ct-haemorrhage",
        draw=lambda: head_ct_study(40, haemorrhage=True, plain=True, slices=300, step_mm=0.6),
        goal_s=1.5,
    ),
)
LARGE = Case(
    name="head CT, 32 slices, DenseNet121",
    model=large_network.MODEL,
    draw=lambda: head_ct_study(40, haemorrhage=True, plain=True),
)
SETTLING_GOAL_S = 1.0
LOADED_TIMES = 2.0
RATIO_GOAL = 1.25
RATE = 50.0


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
    [result] = [
        each
        for each in ended
        if each["model_id"] == case.model and not each["provisional"] and each["superseded_by"] is None
    ]
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
        for line in _get(url)["coverage"]:
            if line["model_id"] == case.model and line["outcome"] == "FLAGGED":
                return time.time()
            if line["model_id"] == case.model and line["outcome"] is not None:
                raise NotFlaggedError(f"{case.name}: {line['outcome']} {line['reason'] or ''}")
        time.sleep(_POLL_S)
    raise NotFlaggedError(f"{case.name}: no result within {_LIMIT_S:g} s")


def _get(url: str) -> Any:  # noqa: ANN401 - JSON
    answer = urllib3.request("GET", url, timeout=10)
    if answer.status != 200:
        raise NotFlaggedError(f"{url} answered {answer.status}")
    return json.loads(answer.data)


# ------------------------------------------------------------------------------------------------------ all rounds
def measure(case: Case, rounds: int, address: Address, folder: Path, *, suffix: str = "") -> Figures:
    """Run warm-ups, then the rounds, then the bare forward pass."""
    data_sets = case.draw()
    folder.mkdir()
    first = time.time_ns() // 10**8 % 10**7
    numbers = range(first, first + _WARM_UPS + rounds)
    times = [run_round(case, data_sets, number, address, folder / str(number)) for number in numbers][_WARM_UPS:]
    threads = int(times[0]["threads"])
    forward = bare_forward(case, threads)
    marks = np.array([[each["answered"], *(each[stage] for stage in _STAGES)] for each in times])
    spans = np.diff(marks, axis=1)
    total = marks[:, -1] - marks[:, 0]
    settling = np.array([each["complete"] - each["received_last"] for each in times])
    since_complete = marks[:, -1] - np.maximum(marks[:, 0], marks[:, 1])
    at_work = np.array([each["committed"] - each["claimed"] for each in times])
    return Figures(
        case=case.name + suffix,
        rounds=rounds,
        threads=threads,
        stages={stage: _both(spans[:, at]) for at, stage in enumerate(_STAGES)},
        total=_both(total),
        settling=_both(settling),
        forward=_both(forward),
        ours=_both(since_complete - np.median(forward)),
        ratio=round(float(np.median(at_work) / np.median(forward)), 3),
    )


def bare_forward(case: Case, threads: int) -> list[float]:
    """Return the seconds of forward passes of a case's model in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.time_to_flag", "--bare", case.name, "--threads", str(threads)]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds: list[float] = json.loads(finished.stdout)
    return seconds


def _bare(name: str, threads: int) -> list[float]:
    """Time the network alone, on what the case's own study becomes when it is read and prepared."""
    from inference.selection import select  # noqa: PLC0415 - loads torch, in the process that measures it alone
    from inference.volume import load_radiograph, load_volume  # noqa: PLC0415
    from models import registry, runtime  # noqa: PLC0415
    from models.network_model import NetworkModel, forward  # noqa: PLC0415
    from models.steps import prepare  # noqa: PLC0415

    [case] = [each for each in (*CASES, LARGE) if each.name == name]
    runtime.use_threads(threads)
    card = registry.card(case.model)
    model = registry.load(card, "cpu")
    assert isinstance(model, NetworkModel)
    with tempfile.TemporaryDirectory(prefix="roi-bare-") as scratch:
        kept = archive(Path(scratch))
        data_sets = case.draw()
        for data_set in data_sets:
            keep_data_set(kept, data_set)
        with kept.database.read() as tx:
            instances = studies.instances_of(tx, StudyUid(str(data_sets[0].StudyInstanceUID)))
    load = load_volume if card.input_rules.kind == "volume" else load_radiograph
    pixels = prepare(load(select(instances, card.input_rules, kept.objects), kept.objects), model.chain.before).pixels
    seconds = []
    for _ in range(_WARM_UPS + _BARE_ROUNDS):
        begun = time.perf_counter()
        forward(model.network, pixels, device="cpu", mirrored=model.chain.mirrored)
        seconds.append(time.perf_counter() - begun)
    return seconds[_WARM_UPS:]


def _both(seconds: Any) -> tuple[float, float]:  # noqa: ANN401 - whatever numpy takes
    p50, p95 = np.percentile(seconds, [50, 95])
    return round(float(p50), 4), round(float(p95), 4)


# --------------------------------------------------------------------------------------------------------- printing
def print_figures(figures: Figures) -> None:
    """Print the waterfall."""
    table = Table("stage", "what happens", "p50 ms", "p95 ms", title=f"{figures.case}: last response to FLAGGED")
    for stage, (p50, p95) in figures.stages.items():
        table.add_row(stage, _MEANING[stage], f"{p50 * 1000:.0f}", f"{p95 * 1000:.0f}")
    table.add_section()
    whole = {
        "total": figures.total,
        "settling: last stored to complete (policy)": figures.settling,
        f"bare forward pass, {figures.threads} thread(s)": figures.forward,
        "ours: complete to seen, less the forward pass": figures.ours,
    }
    for name, (p50, p95) in whole.items():
        table.add_row("", name, f"{p50 * 1000:.0f}", f"{p95 * 1000:.0f}")
    Console().print(table)


def judge(cases: Mapping[str, Figures], loaded: Mapping[str, Figures], large: Figures | None) -> list[Verdict]:
    """Hold what was found against the goals."""
    found = [
        Verdict(what=f"ours, {case.name}, p95", goal=case.goal_s, found=cases[case.name].ours[1], unit="s")
        for case in CASES
        if case.name in cases
    ]
    found += [
        Verdict(what=f"settling, {name}, p95", goal=SETTLING_GOAL_S, found=figures.settling[1], unit="s")
        for name, figures in cases.items()
    ]
    found += [
        Verdict(
            what=f"ours, {name}, while {RATE:g} instances/s arrive, against idle, p95",
            goal=LOADED_TIMES,
            found=round(figures.ours[1] / cases[name].ours[1], 2),
            unit="times",
        )
        for name, figures in loaded.items()
    ]
    if large is not None:
        what = f"claim to commit / bare forward pass, {large.case}"
        found.append(Verdict(what=what, goal=RATIO_GOAL, found=large.ratio, unit=""))
    return found


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print each goal with what was found."""
    table = Table("what", "goal", "found", "", title="Goals")
    for each in verdicts:
        table.add_row(
            each.what, f"{each.goal:g} {each.unit}", f"{each.found:.3f} {each.unit}", "MET" if each.met else "NOT MET"
        )
    Console().print(table)


def run_all(rounds: int, scratch: Path) -> tuple[dict[str, Figures], dict[str, Figures]]:
    """Measure every case idle, then those for which there is a goal under load; print each as it is known."""
    cases: dict[str, Figures] = {}
    loaded: dict[str, Figures] = {}
    with serving(scratch / "data") as address:
        for at, case in enumerate(CASES):
            cases[case.name] = measure(case, rounds, address, scratch / str(at))
            print_figures(cases[case.name])
        for at, case in enumerate(each for each in CASES if each.name in {HEAD, FILM}):
            suffix = f", {RATE:g} instances/s arriving"
            try:
                with streaming(address.dicom_port, RATE):
                    figures = measure(case, rounds, address, scratch / f"loaded {at}", suffix=suffix)
            except SendError as error:  # what was measured was not under this load: no number
                print(f"{case.name}{suffix}: no figure, {error}")
                continue
            loaded[case.name] = figures
            print_figures(figures)
    return cases, loaded


def run_large(rounds: int, scratch: Path) -> Figures:
    """Measure the large network, which this process has been started with."""
    with serving(scratch / "data") as address:
        return measure(LARGE, rounds, address, scratch / "large")


def _run_large_apart(rounds: int, scratch: Path) -> Figures:
    """Install the large network, and measure it from a process that finds it."""
    package = scratch / "package"
    subprocess.run([sys.executable, "-m", "benchmarks.large_network", str(package)], check=True)
    found_in = os.pathsep.join([str(package), str(Path(__file__).parents[1])])
    finished = subprocess.run(
        [
            "env",
            f"PYTHONPATH={found_in}",
            sys.executable,
            "-m",
            "benchmarks.time_to_flag",
            "--large",
            "--rounds",
            str(rounds),
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Figures(**json.loads(finished.stdout))


def main() -> None:
    """Run it; exit code 1 where a goal is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-large", action="store_true", help="leave the large network out: minutes less")
    parser.add_argument("--large", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        print(json.dumps(_bare(options.bare, options.threads)))
        return
    with tempfile.TemporaryDirectory(prefix="roi-flag-") as folder:
        scratch = Path(folder)
        if options.large:
            print(json.dumps(asdict(run_large(options.rounds, scratch))))
            return
        cases, loaded = run_all(options.rounds, scratch)
        large = None if options.no_large else _run_large_apart(options.rounds, scratch)
    if large is not None:
        print_figures(large)
    every = [*cases.values(), *loaded.values(), *([large] if large else [])]
    verdicts = judge(cases, loaded, large)
    print_verdicts(verdicts)
    if options.json:
        told = {"figures": list(map(asdict, every)), "goals": [{**asdict(each), "met": each.met} for each in verdicts]}
        options.json.write_text(json.dumps(told, indent=1))
    sys.exit(len(loaded) < len({HEAD, FILM}) or not all(each.met for each in verdicts))


if __name__ == "__main__":
    main()
