"""How many images a second workers bring from the store to a committed result, beside the network alone.

For each case an archive is filled with studies of which one model's jobs all wait; `roi worker`, one process or
several, then empties it.  Its rate is that of the second half of the results: in the first, models load and nothing is
warm.  Beside it stands the same network on the same device in a process of its own, in batches of 32: alone, its input
on the device already, and with the way there and back.  The device is a GPU where there is one.

    python -m benchmarks.worker_rate --workers 1 4 --json result.json
    python -m benchmarks.worker_rate --workers 12 --times 3      # as many studies three times: for a quick machine
    python -m benchmarks.worker_rate --small                     # shows that it runs; not for quoting
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from pydicom.dataset import Dataset
from rich.console import Console
from rich.table import Table

from benchmarks import large_network
from benchmarks.report import machine
from inference.completion import close_quiet
from models import registry
from models.reference.dicom import head_ct_study, radiograph_study
from models.reference.identity import PHANTOM_UID_ROOT
from pacs_gateway.ingest import Ingest
from roi.compose import open_archive
from roi.progress import progress_bar
from roi.settings import Settings, read_settings
from storage.archive import Archive, utc_now
from storage.catalog import jobs, results
from storage.records import Origin, Outcome, StudyUid

GOAL = 0.8
_ITEMS = 32
_BARE_S = 5.0
_LIMIT_S = 120.0
_LOOK_S = 0.5
_JUDGED = frozenset({Outcome.FLAGGED, Outcome.NOT_FLAGGED})


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model, and the studies that wait for it."""

    name: str
    model: str
    draw: Callable[[int], list[Dataset]]
    studies: int


def _chest(seed: int) -> list[Dataset]:
    return radiograph_study(seed, findings=frozenset({"pneumothorax"}) if seed % 2 else frozenset())


def _head(seed: int) -> list[Dataset]:
    return head_ct_study(seed, haemorrhage=bool(seed % 2), plain=True)


CASES = (
    Case(name="chest radiograph, reference model", model="chest-radiograph", draw=_chest, studies=600),
    Case(name="chest radiograph, DenseNet121", model=large_network.CHEST_MODEL, draw=_chest, studies=600),
    Case(name="head CT of 32 slices, reference model", model="head-ct-haemorrhage", draw=_head, studies=60),
    Case(name="head CT of 32 slices, DenseNet121", model=large_network.MODEL, draw=_head, studies=60),
)
DRAWN = 6
"""Phantoms of a case that are drawn; the other studies are the same under other UIDs."""


@dataclass(frozen=True, kw_only=True)
class Bare:
    """The network alone, items a second."""

    device: str
    alone: float
    there_and_back: float
    logits_apart: float
    """The farthest that a logit lies from the same network's on the CPU, of what golden vectors may be apart."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What so many workers did, images a second; an image is a radiograph, or a slice that was sent."""

    case: str
    workers: int
    images_per_s: float
    bare: Bare
    share: float
    """Of the network's own rate, input on the device already."""
    stages_ms: Mapping[str, float]
    """Of one job, p50, from the stage before."""


class NoRateError(RuntimeError):
    """Results that are not what was asked for give no number."""


# ---------------------------------------------------------------------------------------------------- an archive waits
def fill(settings: Settings, case: Case) -> int:
    """Keep the studies of a case, complete, with a waiting job each; return how many images a study has."""
    archive = open_archive(settings)
    drawn = [case.draw(seed) for seed in range(40, 40 + DRAWN)]
    try:
        ingest = Ingest(archive)
        with progress_bar(f"studies kept, {case.name}") as advance:
            for number in range(case.studies):
                _keep_under_new_uids(ingest, drawn[number % DRAWN], f"{PHANTOM_UID_ROOT}9.{number + 1}")
                advance(number + 1, case.studies)
        _complete(archive, case, settings)
    finally:
        archive.close()
    return len(drawn[0])


def _keep_under_new_uids(ingest: Ingest, data_sets: Sequence[Dataset], study: str) -> None:
    for at, data_set in enumerate(data_sets, start=1):
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, f"{study}.1"
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{at}"
        file = io.BytesIO()
        data_set.save_as(file, enforce_file_format=True)
        file.seek(0)
        ingest.part10(file, Origin(via="import"))
    ingest.release({StudyUid(study)})


def _complete(archive: Archive, case: Case, settings: Settings) -> None:
    later, cards = utc_now() + timedelta(hours=1), [registry.card(case.model, settings.models_folder)]
    made = 0
    while some := close_quiet(archive.database, cards, now=later, seen={}):
        made += len(some)
    if made != case.studies:
        raise NoRateError(f"{case.name}: {made} jobs for {case.studies} studies")


# ------------------------------------------------------------------------------------------------------------ workers
@contextmanager
def working(settings: Settings, count: int) -> Iterator[Path]:
    """Run so many workers on an archive; give where their log is."""
    command, log = [sys.executable, "-m", "roi.cli", "worker"], settings.data / "workers.log"
    with ExitStack() as stack, log.open("wb") as sink:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen(command, env=settings.as_environment(), stderr=sink))
            stack.callback(process.terminate)
        yield log


def rate_of(case: Case, workers: int, bare: Bare, data: Path, *, reports: str | None) -> Rate:
    """Fill an archive, let workers empty it, and reckon from the times that the results tell."""
    settings = read_settings(data=data, reports=reports)
    images = fill(settings, case)
    archive = open_archive(settings)
    try:
        with working(settings, workers) as log:
            _await_results(archive, case, log)
        times = _times(archive, case)
    finally:
        archive.close()
    ends = sorted(each["committed"] for each in times)[len(times) // 2 :]
    rate = images * (len(ends) - 1) / (ends[-1] - ends[0])
    return Rate(
        case=case.name,
        workers=workers,
        images_per_s=round(rate, 1),
        bare=bare,
        share=round(rate / bare.alone, 3),
        stages_ms=_stages_ms(times),
    )


def _await_results(archive: Archive, case: Case, log: Path) -> None:
    until = time.monotonic() + _LIMIT_S
    with progress_bar(f"studies judged, {case.name}") as advance:
        while True:
            with archive.database.read() as tx:
                left = jobs.count_open(tx, registry.card(case.model).digest)
            advance(case.studies - left, case.studies)
            if not left:
                return
            if time.monotonic() > until:
                said = log.read_text(errors="replace")[-2000:]
                raise NoRateError(f"{case.name}: {left} jobs still wait after {_LIMIT_S:g} s; the log ends: {said}")
            time.sleep(_LOOK_S)


def _times(archive: Archive, case: Case) -> list[Mapping[str, float]]:
    uids = [StudyUid(f"{PHANTOM_UID_ROOT}9.{number + 1}") for number in range(case.studies)]
    with archive.database.read() as tx:
        told = [one for each in results.of_studies(tx, uids).values() for one in each]
    found = [each.result for each in told if each.model_id == case.model]
    wrong = {str(each.reason or each.outcome) for each in found if each.outcome not in _JUDGED}
    if wrong or len(found) != case.studies:
        raise NoRateError(f"{case.name}: {len(found)} results, not judged: {', '.join(sorted(wrong)) or 'none'}")
    return [each.times for each in found]


def _stages_ms(times: Sequence[Mapping[str, float]]) -> dict[str, float]:
    order = ("claimed", "selected", "decoded", "gated", "predicted", "committed")
    middle = len(times) // 2
    return {
        stage: round(1000 * sorted(each[stage] - each[before] for each in times)[middle], 1)
        for before, stage in pairwise(order)
    }


# --------------------------------------------------------------------------------------------------- the network alone
def bare(model: str) -> Bare:
    """Time a model's network on batches of what its chain makes of a drawn image."""
    import torch

    from models import golden, runtime  # noqa: PLC0415 - loads torch, in the process that measures it alone
    from models.network_model import NetworkModel, forward  # noqa: PLC0415
    from models.steps import prepare  # noqa: PLC0415

    device = registry.device()
    runtime.use_threads(max(1, (os.cpu_count() or 1) // 2))
    card = registry.card(model)
    loaded = registry.load(card, device)
    assert isinstance(loaded, NetworkModel)
    golden.replay(loaded, registry.golden_of(card))
    chain, network = loaded.chain, loaded.network
    pixels = prepare(golden.draw(card.input_rules.kind)[0], chain.before).pixels
    batch = torch.from_numpy(pixels).repeat(_ITEMS, 1, 1, 1)[:_ITEMS].contiguous()
    shown = batch.to(device)

    def alone() -> None:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
            for each in (shown, shown.flip(-1)) if chain.mirrored else (shown,):
                network(each)
        if device == "cuda":
            torch.cuda.synchronize()

    return Bare(
        device=torch.cuda.get_device_name() if device == "cuda" else device,
        alone=round(_items_per_s(alone), 1),
        there_and_back=round(
            _items_per_s(lambda: forward(network, batch.numpy(), device=device, mirrored=chain.mirrored)), 1
        ),
        logits_apart=golden.apart(loaded, registry.golden_of(card)),
    )


def _items_per_s(work: Callable[[], object]) -> float:
    for _ in range(3):
        work()
    begun, passes = time.perf_counter(), 0
    while (took := time.perf_counter() - begun) < _BARE_S:
        work()
        passes += 1
    return passes * _ITEMS / took


# ------------------------------------------------------------------------------------------------------------ all of it
def measure(case: Case, workers: Sequence[int], scratch: Path, *, reports: str | None) -> list[Rate]:
    """Measure the network alone, then each number of workers; called where the case's model is installed."""
    asked = [sys.executable, "-m", "benchmarks.worker_rate", "--bare", case.model]
    alone = Bare(**json.loads(subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout))
    rates = []
    for count in workers:
        rates.append(rate_of(case, count, alone, scratch / f"{case.model} {count}", reports=reports))
        print(f"{case.name}: {rates[-1]}", file=sys.stderr)
    return rates


def _measure_apart(case: Case, options: argparse.Namespace, scratch: Path) -> list[Rate]:
    """Measure a case in a process that finds its model, which may be one that is installed for it."""
    found_in = [path for path in sys.path if path]
    if case.model in large_network.SHAPES:
        package = scratch / f"package {case.model}"
        subprocess.run([sys.executable, "-m", "benchmarks.large_network", str(package), case.model], check=True)
        found_in.insert(0, str(package))
    command = [sys.executable, "-m", "benchmarks.worker_rate", "--case", case.model, "--in", str(scratch)]
    command += ["--workers", *map(str, options.workers), "--times", str(options.times)]
    command += ["--small"] if options.small else []
    command += [] if options.reports is None else ["--reports", options.reports]
    with_path = ["env", f"PYTHONPATH={os.pathsep.join(found_in)}", *command]
    finished = subprocess.run(with_path, check=True, stdout=subprocess.PIPE, text=True)
    return [Rate(**{**each, "bare": Bare(**each["bare"])}) for each in json.loads(finished.stdout)]


def print_rates(rates: Sequence[Rate]) -> None:
    """Print the table."""
    device = rates[0].bare.device
    title = f"Images a second on {device}, goal {GOAL:g} of the network alone"
    columns = ("case", "workers", "workers' images/s", "network alone", "there and back", "share", "logits apart")
    table = Table(*columns, title=title)
    for each in rates:
        table.add_row(
            each.case,
            str(each.workers),
            f"{each.images_per_s:.0f}",
            f"{each.bare.alone:.0f}",
            f"{each.bare.there_and_back:.0f}",
            f"{each.share:.2f}",
            f"{each.bare.logits_apart:.1e}",
        )
    Console().print(table)
    for each in rates:
        told = ", ".join(f"{stage} {ms:g}" for stage, ms in each.stages_ms.items())
        print(f"{each.case}, {each.workers}: ms of a job, from the stage before: {told}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="how many at once, each in turn")
    models = [each.model for each in CASES]
    parser.add_argument("--cases", nargs="+", default=models, choices=models, help="models")
    parser.add_argument("--times", type=int, default=1, help="as many studies so many times")
    parser.add_argument("--reports", help="forms of reports that are made beside it; as the setting")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        print(json.dumps(asdict(bare(options.bare))))
        return
    cases = [replace(each, studies=DRAWN * 2 if options.small else each.studies * options.times) for each in CASES]
    if options.case:
        [case] = [each for each in cases if each.model == options.case]
        print(json.dumps(list(map(asdict, measure(case, options.workers, options.scratch, reports=options.reports)))))
        return
    with tempfile.TemporaryDirectory(prefix="roi-rate-") as folder:
        wanted = [each for each in cases if each.model in options.cases]
        rates = [rate for case in wanted for rate in _measure_apart(case, options, Path(folder))]
    print_rates(rates)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rates": list(map(asdict, rates))}, indent=1))


if __name__ == "__main__":
    main()
