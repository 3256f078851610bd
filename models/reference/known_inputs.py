"""Fits what a reference model knows, and counts what it refuses: ``python -m models.reference.known_inputs NAME``.

Features of fresh phantoms make the statistics, further ones the threshold, and the held-out ones together with inputs
that no model should judge are counted.  Of heads the threshold is one of whole series, never of slices, and of series
as thick, thin, long and short as the card takes, or nearly: long ones lie farther off.  Writes the statistics and their
figures beside the weights, and the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress

from models.cards import read_known_inputs
from models.chains import Floats, prepare
from models.contract import KnownInputs, Radiograph, Volume
from models.network_model import look
from models.networks import small_densenet
from models.ood import COMPONENTS, KnownFeatures, fit_known, load_known, save_known
from models.reference.cases import chest_sample, head_study, whole_head
from models.reference.held_out import HELD_OUT, HeldOut
from models.reference.kinds import split_kinds
from models.reference.page import write_known_inputs
from models.reference.recipes import CHEST, HEAD_CT, RECIPES, Recipe
from models.reference.wrong_inputs import WRONG
from models.runtime import use_threads
from models.shares import share_interval
from models.weights import load_weights, sha256_of, weights_path

if TYPE_CHECKING:
    import torch

PERCENTILE = 99.0
"""Of accepted inputs, this share stays below the threshold."""


Series = tuple[int, float]
"""How many slices, and the distance between them in mm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spans:
    """Which phantoms, (first seed, count), make the statistics and which the threshold.

    `counted` says how many of the held-out ones are looked at: of the base domain, and of each shifted one.  `series`
    are further heads for the threshold, so many of each, as thick, thin, long and short series, and `parts` heads that
    are counted while they arrive.  `kinds` says how many kinds of items are told apart, `components` how many
    components each keeps.
    """

    fitted: tuple[int, int]
    threshold: tuple[int, int]
    counted: tuple[int, int]
    series: Mapping[Series, tuple[int, int]] = field(default_factory=dict)
    parts: tuple[int, int] = (0, 0)
    kinds: int = 1
    components: int = COMPONENTS


SPANS: Mapping[str, Spans] = {
    HEAD_CT.name: Spans(
        fitted=(7_000_000, 200),
        threshold=(7_000_200, 100),
        counted=(20, 20),
        series={
            (16, 6.0): (9_200_000, 15),
            (19, 5.0): (9_200_000, 15),
            (24, 5.0): (9_200_000, 10),
            (27, 6.0): (9_200_000, 10),
            (41, 6.0): (9_200_000, 10),
            (50, 5.0): (9_200_000, 10),
            (40, 4.0): (9_200_000, 10),
            (54, 3.0): (9_200_000, 8),
            (64, 2.5): (9_200_000, 8),
        },
        parts=(9_100_000, 40),
        kinds=8,
        components=48,
    ),
    CHEST.name: Spans(fitted=(7_000_000, 300), threshold=(7_500_000, 200), counted=(100, 20)),
}

PARTS: Mapping[str, slice] = {
    "12 slices, from the feet": slice(0, 12),
    "20 slices, from the feet": slice(0, 20),
    "12 slices, from the head": slice(20, 32),
    "20 slices, from the head": slice(12, 32),
}
"""What there is of a head of 32 slices while it arrives."""

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Eye:
    """One trained network as far as its features, and the processes that draw phantoms for it and look at them."""

    recipe: Recipe
    pool: ProcessPoolExecutor
    progress: Progress

    def features_of(self, seeds: Sequence[int], what: str, *, domain: str = "base") -> Iterator[Floats]:
        """Draw phantoms under a progress bar and give the features of each."""
        see = partial(_features_of, name=self.recipe.name, domain=domain)
        yield from self.progress.track(self.pool.map(see, seeds), total=len(seeds), description=what)

    def features_of_series(self, seeds: Sequence[int], series: Series) -> Iterator[Floats]:
        """Draw heads as such a series under a progress bar and give the features of each."""
        slices, step_mm = series
        found = self.pool.map(partial(_features_of_series, series=series), seeds)
        yield from self.progress.track(found, total=len(seeds), description=f"{slices} slices, {step_mm:g} mm")

    def features_of_parts(self, seeds: Sequence[int]) -> Iterator[Mapping[str, Floats]]:
        """Draw heads under a progress bar and give the features of each of their `PARTS`."""
        found = self.pool.map(_features_of_parts, seeds)
        yield from self.progress.track(found, total=len(seeds), description="parts of heads")


def _features_of(seed: int, *, name: str, domain: str) -> Floats:
    inputs = head_study(seed, domain=domain) if name == HEAD_CT.name else chest_sample(seed, domain=domain).inputs
    return features(name, inputs.astype(np.float32) / np.float32(255))


def _features_of_series(seed: int, *, series: Series) -> Floats:
    slices, step_mm = series
    return _features_of_image(whole_head(seed, slices=slices, step_mm=step_mm), name=HEAD_CT.name)


def _features_of_parts(seed: int) -> Mapping[str, Floats]:
    head = whole_head(seed)
    parts = {
        what: replace(head, voxels=head.voxels[part], instance_uids=head.instance_uids[part])
        for what, part in PARTS.items()
    }
    return {what: _features_of_image(part, name=HEAD_CT.name) for what, part in parts.items()}


def _features_of_image(image: Volume | Radiograph, *, name: str) -> Floats:
    return features(name, prepare(image, RECIPES[name].chain.before).pixels)


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
    """Give what the network knows and the distance that 99 of 100 accepted inputs stay below."""
    spans = SPANS[eye.recipe.name]
    seen = np.concatenate(list(eye.features_of(_seeds(spans.fitted), "accepted inputs")))
    known = fit_known(split_kinds(seen, spans.kinds), components=spans.components)
    distances = [known.distance(one) for one in eye.features_of(_seeds(spans.threshold), "threshold")]
    for series, span in spans.series.items():
        distances += [known.distance(one) for one in eye.features_of_series(_seeds(span), series)]
    return known, float(np.percentile(distances, PERCENTILE))


def count_refused(eye: Eye, known: KnownFeatures, threshold: float, *, data: Path) -> Figures:
    """Count what is refused of the held-out phantoms, which are good inputs, and of wrong ones."""
    own = [held_out for held_out in HELD_OUT if held_out.model == eye.recipe.name]
    good = {one.domain: _counted(_held_out_distances(eye, known, one), threshold) for one in own}
    parts = list(eye.features_of_parts(_seeds(SPANS[eye.recipe.name].parts)))
    arriving = {what: _counted([known.distance(one[what]) for one in parts], threshold) for what in PARTS if parts}
    kinds = WRONG[eye.recipe.name]
    looked = eye.pool.map(partial(_features_of_kind, name=eye.recipe.name, data=data), kinds)
    wrong = {
        kind: _counted([known.distance(one) for one in found], threshold)
        for kind, found in zip(kinds, looked, strict=True)
    }
    return {"good": good, "arriving": arriving, "wrong": wrong}


def _features_of_kind(kind: str, *, name: str, data: Path) -> list[Floats]:
    return [_features_of_image(image, name=name) for image in WRONG[name][kind](data)]


def _held_out_distances(eye: Eye, known: KnownFeatures, held_out: HeldOut) -> list[float]:
    base, shifted = SPANS[eye.recipe.name].counted
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
    parser.add_argument("--count-only", action="store_true", help="keep the statistics as they are")
    asked = parser.parse_args()
    recipe = RECIPES[asked.name]
    path = weights_path(asked.name).with_suffix(".known.safetensors")
    with (
        Progress() as progress,
        ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool,
    ):
        eye = Eye(recipe=recipe, pool=pool, progress=progress)
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
    further = sum(count for _, count in spans.series.values())
    dataset = (
        f"{spans.fitted[1]} phantoms, seeds from {spans.fitted[0]}; threshold: {PERCENTILE:g}th percentile of "
        f"{spans.threshold[1]}, seeds from {spans.threshold[0]}"
        + (f", and of {further} in {len(spans.series)} other series" if further else "")
    )
    said = KnownInputs(file=path.name, sha256=sha256_of(path), threshold=round(threshold, 3), dataset=dataset)
    _write(path, said, {"good": {}, "arriving": {}, "wrong": {}})
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
