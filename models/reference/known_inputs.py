"""Fits what a reference model knows, and counts what it refuses: ``python -m models.reference.known_inputs NAME``.

Features of fresh phantoms make the statistics, further ones the threshold, and others still, the held-out ones, and
inputs that no model should judge are counted.  Of heads these are whole series of every kind that the gates let pass.
Writes the statistics and their figures beside the weights, and the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress

from models.cards import read_known_inputs
from models.contract import KnownInputs
from models.network_model import look
from models.networks import small_densenet
from models.ood import COMPONENTS, KnownFeatures, fit_known, load_known, save_known
from models.reference.cases import chest_sample, whole_head
from models.reference.good_heads import KINDS, draw_good_head
from models.reference.held_out import HELD_OUT, HeldOut
from models.reference.kinds import split_kinds
from models.reference.page import write_known_inputs
from models.reference.recipes import CHEST, HEAD_CT, RECIPES, Recipe
from models.reference.wrong_inputs import WRONG
from models.runtime import use_threads
from models.shares import share_interval
from models.steps import Floats, prepare
from models.weights import load_weights, sha256_of, weights_path

if TYPE_CHECKING:
    import torch

PERCENTILE = 99.0
"""Of accepted inputs, this share stays below the threshold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spans:
    """Which phantoms, (first seed, count), make the statistics, which the threshold, and which are counted besides.

    `held_out` says how many of the held-out ones are looked at: of the base domain, and of each shifted one.  Accepted
    inputs are of `domain`, and the threshold lies `margin` times as far off as 99 of 100 of them.  `kinds` is how many
    kinds of items are told apart, `components` how many of these each keeps.
    """

    fitted: tuple[int, int]
    threshold: tuple[int, int]
    held_out: tuple[int, int]
    counted: tuple[int, int] = (0, 0)
    domain: str = "base"
    margin: float = 1.0
    kinds: int = 1
    components: int = COMPONENTS


EVERY_KIND = "every kind"
"""The domain of `models.reference.good_heads`."""

SPANS: Mapping[str, Spans] = {
    HEAD_CT.name: Spans(
        fitted=(7_000_000, 160),
        threshold=(7_100_000, 80),
        held_out=(20, 20),
        counted=(7_200_000, 504),
        domain=EVERY_KIND,
        margin=1.75,
        kinds=6,
        components=48,
    ),
    CHEST.name: Spans(fitted=(7_000_000, 300), threshold=(7_500_000, 200), held_out=(100, 20)),
}

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Eye:
    """One trained network as far as its features, and the processes that draw phantoms for it and look at them.

    Features of phantoms are kept in the folder `kept`, where given, and not made again.
    """

    recipe: Recipe
    pool: ProcessPoolExecutor
    progress: Progress
    kept: Path | None = None

    def features_of(self, seeds: Sequence[int], what: str, *, domain: str = "base") -> Iterator[Floats]:
        """Draw phantoms under a progress bar and give the features of each."""
        see = partial(_features_of, name=self.recipe.name, domain=domain, kept=self.kept)
        yield from self.progress.track(self.pool.map(see, seeds), total=len(seeds), description=what)


def _features_of(seed: int, *, name: str, domain: str, kept: Path | None) -> Floats:
    path = kept / f"{name}, {domain}, {seed}.npy" if kept else None
    if path and path.exists():
        found: Floats = np.load(path)
        return found
    found = features(name, _inputs_of(seed, name=name, domain=domain))
    if path:
        np.save(path, found)
    return found


def _inputs_of(seed: int, *, name: str, domain: str) -> Floats:
    if name == CHEST.name:
        return chest_sample(seed, domain=domain).inputs.astype(np.float32) / np.float32(255)
    head = draw_good_head(seed).volume() if domain == EVERY_KIND else whole_head(seed, domain=domain)
    return prepare(head, HEAD_CT.chain.before).pixels


def features(name: str, inputs: Floats) -> Floats:
    """Give the features of inputs in 0..1 by the reference model of that name."""
    return look(_network(name), inputs, device="cpu", mirrored=RECIPES[name].chain.mirrored).features


@lru_cache(maxsize=1)
def _network(name: str) -> torch.nn.Module:
    """Load a network, once in each process, and let it use one thread."""
    use_threads(1)
    recipe = RECIPES[name]
    network = small_densenet(channels=recipe.channels, findings=len(recipe.findings))
    load_weights(network, weights_path(name))
    return network.eval()


def fit(eye: Eye) -> tuple[KnownFeatures, float]:
    """Give what the network knows, and how far off 99 of 100 accepted inputs stay, with the margin."""
    spans = SPANS[eye.recipe.name]
    fitted, further = (
        list(eye.features_of(_seeds(span), what, domain=spans.domain))
        for span, what in ((spans.fitted, "accepted inputs"), (spans.threshold, "threshold"))
    )
    known = fit_known(split_kinds(np.concatenate(fitted), spans.kinds), components=spans.components)
    return known, spans.margin * float(np.percentile([known.distance(one) for one in further], PERCENTILE))


def count_refused(eye: Eye, known: KnownFeatures, threshold: float, *, data: Path) -> Figures:
    """Count what is refused of further good inputs, of the held-out phantoms, and of wrong inputs."""
    own = [held_out for held_out in HELD_OUT if held_out.model == eye.recipe.name]
    kinds = WRONG[eye.recipe.name]
    looked = eye.pool.map(partial(_features_of_wrong, name=eye.recipe.name, data=data), kinds)
    wrong = {
        kind: _counted([known.distance(one) for one in found], threshold)
        for kind, found in zip(kinds, looked, strict=True)
    }
    return {
        "further": _count_further(eye, known, threshold),
        "good": {one.domain: _counted(_held_out_distances(eye, known, one), threshold) for one in own},
        "wrong": wrong,
    }


def _count_further(eye: Eye, known: KnownFeatures, threshold: float) -> Figures:
    spans = SPANS[eye.recipe.name]
    seeds = _seeds(spans.counted)
    distances = [known.distance(one) for one in eye.features_of(seeds, "further inputs", domain=spans.domain)]
    if not distances:
        return {}
    by_kind = {kind: distances[KINDS.index(kind) :: len(KINDS)] for kind in KINDS}
    return {kind: _counted(found, threshold) for kind, found in {**by_kind, "all of these": distances}.items()}


def _features_of_wrong(kind: str, *, name: str, data: Path) -> list[Floats]:
    images = WRONG[name][kind](data)
    return [features(name, prepare(image, RECIPES[name].chain.before).pixels) for image in images]


def _held_out_distances(eye: Eye, known: KnownFeatures, held_out: HeldOut) -> list[float]:
    base, shifted = SPANS[eye.recipe.name].held_out
    every = held_out.study_seeds() if held_out.studies else held_out.case_seeds()
    seeds = every[: base if held_out.domain == "base" else shifted]
    found = eye.features_of(seeds, f"held-out, {held_out.domain}", domain=held_out.domain)
    return [known.distance(one) for one in found]


def _counted(distances: Sequence[float], threshold: float) -> Figures:
    refused, of = sum(distance > threshold for distance in distances), len(distances)
    low, middle, high = (float(np.percentile(distances, at)) for at in (0, 50, 100))
    return {
        "refused": refused,
        "of": of,
        "interval": share_interval(refused, of),
        "distance": [low, middle, high],
    }


def _seeds(span: tuple[int, int]) -> range:
    first, count = span
    return range(first, first + count)


def main() -> None:
    """Fit one model's statistics, count, and write both."""
    parser = argparse.ArgumentParser(prog="python -m models.reference.known_inputs", description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="real files that no model may judge")
    parser.add_argument("--keep", type=Path, help="folder for features of phantoms, which are not made again")
    parser.add_argument("--count-only", action="store_true", help="keep the statistics as they are")
    asked = parser.parse_args()
    recipe = RECIPES[asked.name]
    path = weights_path(asked.name).with_suffix(".known.safetensors")
    with (
        Progress() as progress,
        ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool,
    ):
        eye = Eye(recipe=recipe, pool=pool, progress=progress, kept=asked.keep)
        said = read_known_inputs(path.with_suffix(".json")) if asked.count_only else _made(eye, path)
        figures = count_refused(eye, load_known(path, said), said.threshold, data=asked.data)
    _write(path, said, figures)
    write_known_inputs()


def _write(path: Path, said: KnownInputs, figures: Figures) -> None:
    told = {**asdict(said), "figures": _rounded(figures)}
    path.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")


def _made(eye: Eye, path: Path) -> KnownInputs:
    known, threshold = fit(eye)
    save_known(known, path)
    spans = SPANS[eye.recipe.name]
    dataset = (
        f"{spans.fitted[1]} phantoms, seeds from {spans.fitted[0]}; threshold: "
        + (f"{spans.margin:g} times the " if spans.margin != 1 else "")
        + f"{PERCENTILE:g}th percentile of {spans.threshold[1]}, seeds from {spans.threshold[0]}"
    )
    said = KnownInputs(file=path.name, sha256=sha256_of(path), threshold=round(threshold, 3), dataset=dataset)
    _write(path, said, {"further": {}, "good": {}, "wrong": {}})
    return said


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value


if __name__ == "__main__":
    main()
