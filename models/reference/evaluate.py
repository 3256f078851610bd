"""Measures a trained reference model: ``python -m models.reference.evaluate head-ct-haemorrhage``.

Writes the figures as JSON beside the weights, where the card reads them, and as a page in `docs/models`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from models.network_model import forward
from models.networks import small_densenet
from models.reference.baseline import baseline_scores
from models.reference.cases import (
    SAMPLERS,
    Bytes,
    Samples,
    chest_radiograph,
    chest_sample,
    head_study,
    head_volume,
    join,
    make_all,
    standard_positions,
    telling_slice,
)
from models.reference.chest import draw_chest
from models.reference.head import VISIBLE_MM2, draw_head, lesion_mm2
from models.reference.held_out import HELD_OUT, HeldOut
from models.reference.page import write_page
from models.reference.radiographs import LABELS, read_labelled
from models.reference.recipes import CHEST, HEAD_CT, RECIPES, Recipe
from models.reference.statistics import auc, auc_interval, balanced_threshold
from models.shares import share_interval
from models.steps import Floats, prepare, reduce_scores
from models.weights import load_weights, sha256_of, weights_path

if TYPE_CHECKING:
    import torch

BASELINE_PHANTOMS = 1500
GOLDEN_SEEDS = (11, 12, 13)

CODES: Mapping[str, str] = {
    "haemorrhage": "phantom-hyperdensity",
    "pneumothorax": "phantom-pneumothorax",
    "effusion": "phantom-effusion",
    "opacity": "phantom-opacity",
}
"""The code on the card for what the generator calls each finding."""

Table = npt.NDArray[np.float64]
Figures = dict[str, Any]
_Made = TypeVar("_Made")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """One trained network, and what it takes to draw and score phantoms."""

    recipe: Recipe
    network: torch.nn.Module
    processes: int
    progress: Progress

    def draw(self, make: Callable[[int], _Made], seeds: Sequence[int], what: str) -> list[_Made]:
        """Draw phantoms under a progress bar."""
        made = make_all(make, seeds, processes=self.processes)
        return list(self.progress.track(made, total=len(seeds), description=what))

    def logits(self, inputs: Bytes) -> Floats:
        """Run the network on inputs in steps of 1/255."""
        return self.forward(inputs.astype(np.float32) / np.float32(255))

    def forward(self, pixels: Floats) -> Floats:
        """Run the network on inputs in 0..1."""
        return forward(self.network, pixels, device="cpu", mirrored=self.recipe.chain.mirrored)

    def baseline(self, held_out: Samples) -> Table:
        """Fit the plain baseline on some of the training phantoms and give its log odds on held-out ones."""
        first, _ = self.recipe.courses[0].phantoms
        known = self.draw(SAMPLERS[self.recipe.name], range(first, first + BASELINE_PHANTOMS), "baseline phantoms")
        return baseline_scores(join(known), held_out)


def evaluate(bench: Bench, *, radiographs: Path) -> Figures:
    """Give everything the card and the page say of one model."""
    find = _evaluate_heads if bench.recipe is HEAD_CT else _evaluate_chests
    figures = find(bench)
    if bench.recipe is CHEST:
        figures["figures"]["real_radiographs"] = _real_radiographs(bench, radiographs)
    figures["figures"]["golden"] = {"seeds": GOLDEN_SEEDS, "scores": [_golden(bench, seed) for seed in GOLDEN_SEEDS]}
    return figures


# ------------------------------------------------------------------ heads


def _evaluate_heads(bench: Bench) -> Figures:
    threshold = _head_threshold(bench)
    base, *shifted = [held_out for held_out in HELD_OUT if held_out.model == HEAD_CT.name]
    slices, slice_truth = _draw_slices(bench, base)
    studies, truth, scores = _score_studies(bench, base)
    baseline = bench.baseline(Samples(inputs=np.concatenate([slices, *studies]), truth=np.zeros((1, 1), np.uint8)))
    plain = np.sort(baseline[len(slices) :].reshape(len(studies), -1), axis=1)[:, -2:].mean(axis=1)
    clear = _clear(base)
    point = _operating_point(truth[clear], scores[clear], threshold, base)
    return {
        "operating_points": {CODES["haemorrhage"]: point},
        "figures": {
            "held_out": {
                "slice": {"haemorrhage": _areas(slice_truth, bench.logits(slices)[:, 0], baseline[: len(slices), 0])},
                "study": {"haemorrhage": _areas(truth[clear], scores[clear], plain[clear])},
                "every study": {"haemorrhage": _areas(truth, scores, plain)},
            },
            "sensitivity_by_kind": _by_kind(base, scores, threshold),
            "shifts": {one.domain: _shifted_heads(bench, one) for one in shifted},
        },
    }


def _clear(held_out: HeldOut) -> npt.NDArray[np.bool_]:
    """Tell which whole heads do not bleed, or show it on at least one slice: of the others nobody could say.

    The same limit decides which slices are learnt from (`head_samples`).
    """
    positions = standard_positions(held_out.study_slices)

    def shows(seed: int) -> bool:
        scene = draw_head(seed, haemorrhage=True, domain=held_out.domain)
        return any(lesion_mm2(scene, z_mm) >= VISIBLE_MM2 for z_mm in positions)

    return np.array([seed % 2 == 1 or shows(seed) for seed in held_out.study_seeds()])


def _head_threshold(bench: Bench) -> float:
    first, count = bench.recipe.validation
    validation = HeldOut(model=HEAD_CT.name, domain="base", first_seed=first, cases=0, studies=count, study_slices=32)
    _, truth, scores = _score_studies(bench, validation)
    return balanced_threshold(truth, scores)


def _draw_slices(bench: Bench, held_out: HeldOut) -> tuple[Bytes, Table]:
    make = partial(_held_out_slice, domain=held_out.domain)
    samples = join(bench.draw(make, held_out.case_seeds(), f"slices, {held_out.domain}"))
    return samples.inputs, samples.truth[:, 0].astype(float)


def _held_out_slice(seed: int, *, domain: str) -> Samples:
    return telling_slice(seed, haemorrhage=seed % 2 == 0, domain=domain)


def _score_studies(bench: Bench, held_out: HeldOut) -> tuple[list[Bytes], Table, Table]:
    make = partial(head_study, domain=held_out.domain, slices=held_out.study_slices)
    studies = bench.draw(make, held_out.study_seeds(), f"studies, {held_out.domain}")
    scores = [reduce_scores(bench.logits(study), bench.recipe.chain.after)[0] for study in studies]
    truth = np.array([seed % 2 == 0 for seed in held_out.study_seeds()], dtype=float)
    return studies, truth, np.array(scores, dtype=float)


def _shifted_heads(bench: Bench, held_out: HeldOut) -> Figures:
    slices, slice_truth = _draw_slices(bench, held_out)
    _, truth, scores = _score_studies(bench, held_out)
    clear = _clear(held_out)
    return {
        "slice": {"haemorrhage": _areas(slice_truth, bench.logits(slices)[:, 0])},
        "study": {"haemorrhage": _areas(truth[clear], scores[clear])},
        "every study": {"haemorrhage": _areas(truth, scores)},
    }


def _by_kind(held_out: HeldOut, scores: Table, threshold: float) -> Figures:
    hits: dict[str, list[bool]] = {}
    for seed, score in zip(held_out.study_seeds(), scores, strict=True):
        if seed % 2 == 0:
            kind = draw_head(seed, haemorrhage=True, domain=held_out.domain).bleed.kind
            hits.setdefault(kind, []).append(bool(score >= threshold))
    return {kind: {"found": sum(found), "of": len(found)} for kind, found in sorted(hits.items())}


# ------------------------------------------------------------------ chests


def _evaluate_chests(bench: Bench) -> Figures:
    base, *shifted = [held_out for held_out in HELD_OUT if held_out.model == CHEST.name]
    first, count = bench.recipe.validation
    validation = join(bench.draw(chest_sample, range(first, first + count), "validation"))
    known = _probabilities(bench, validation.inputs)
    held_out = join(bench.draw(chest_sample, base.case_seeds(), "images, base"))
    scores, baseline = _probabilities(bench, held_out.inputs), bench.baseline(held_out)
    points, areas = {}, {}
    for index, finding in enumerate(bench.recipe.findings):
        truth = held_out.truth[:, index].astype(float)
        threshold = balanced_threshold(validation.truth[:, index].astype(float), known[:, index])
        points[CODES[finding]] = _operating_point(truth, scores[:, index], threshold, base)
        areas[finding] = _areas(truth, scores[:, index], baseline[:, index])
    weak = _weak_spots(base, scores[:, 0], points[CODES["pneumothorax"]]["threshold"])
    shifts = {one.domain: {"image": _shifted_chests(bench, one)} for one in shifted}
    return {"operating_points": points, "figures": {"held_out": {"image": areas}, "weak_spots": weak, "shifts": shifts}}


def _probabilities(bench: Bench, inputs: Bytes) -> Table:
    rows = bench.logits(inputs)
    return np.stack([reduce_scores(row[None], bench.recipe.chain.after) for row in rows]).astype(float)


def _shifted_chests(bench: Bench, held_out: HeldOut) -> Figures:
    make = partial(chest_sample, domain=held_out.domain)
    samples = join(bench.draw(make, held_out.case_seeds(), f"images, {held_out.domain}"))
    scores = _probabilities(bench, samples.inputs)
    return {
        finding: _areas(samples.truth[:, index].astype(float), scores[:, index])
        for index, finding in enumerate(bench.recipe.findings)
    }


def _weak_spots(held_out: HeldOut, scores: Table, threshold: float) -> Figures:
    scenes = [draw_chest(seed, domain=held_out.domain) for seed in held_out.case_seeds()]
    flagged = scores >= threshold
    small = np.array(["pneumothorax" in scene.findings and scene.collapse < 0.08 for scene in scenes])
    folded = np.array(["pneumothorax" not in scene.findings and scene.skin_fold is not None for scene in scenes])
    return {
        "pneumothorax below 8 % collapse found": {"found": int(flagged[small].sum()), "of": int(small.sum())},
        "skin fold taken for a pneumothorax": {"found": int(flagged[folded].sum()), "of": int(folded.sum())},
    }


def _real_radiographs(bench: Bench, folder: Path) -> Figures:
    """Score real labelled radiographs that the model was never meant for; the figure is printed whatever it is."""
    images, labels = read_labelled(folder)
    inputs = np.concatenate([prepare(image, bench.recipe.chain.before).pixels for image in images])
    logits = bench.forward(inputs)
    found: Figures = {"images": len(images), "labels": {name: sorted(said) for name, said in LABELS.items()}}
    for index, finding in enumerate(bench.recipe.findings):
        truth = np.array([bool(said & LABELS[finding]) for said in labels], dtype=float)
        found[finding] = _areas(truth, logits[:, index])
    return found


# ------------------------------------------------------------------ figures


def _areas(truth: Table, scores: npt.NDArray[Any], baseline: Table | None = None) -> Figures:
    found = {"auc": auc(truth, scores), "interval": auc_interval(truth, scores)}
    if baseline is not None:
        found |= {"baseline_auc": auc(truth, baseline), "baseline_interval": auc_interval(truth, baseline)}
    return found | {"positives": int(truth.sum()), "of": len(truth)}


def _operating_point(truth: Table, scores: Table, threshold: float, held_out: HeldOut) -> Figures:
    flagged, ill = scores >= threshold, truth > 0
    hits, spared = int((flagged & ill).sum()), int((~flagged & ~ill).sum())
    what = "studies" if held_out.studies else "images"
    return {
        "name": "balanced",
        "threshold": threshold,
        "sensitivity": hits / int(ill.sum()),
        "sensitivity_interval": share_interval(hits, int(ill.sum())),
        "specificity": spared / int((~ill).sum()),
        "specificity_interval": share_interval(spared, int((~ill).sum())),
        "dataset": f"{len(truth)} held-out phantom {what}, seeds from {held_out.first_seed}; threshold from validation",
    }


def _golden(bench: Bench, seed: int) -> list[float]:
    before, after = bench.recipe.chain.before, bench.recipe.chain.after
    if bench.recipe is HEAD_CT:
        frames = prepare(head_volume(draw_head(seed, haemorrhage=seed % 2 == 0), standard_positions(20)), before)
    else:
        frames = prepare(chest_radiograph(draw_chest(seed)), before)
    return [float(score) for score in reduce_scores(bench.forward(frames.pixels), after)]


def main() -> None:
    """Measure one model, write its figures and its page."""
    parser = argparse.ArgumentParser(prog="python -m models.reference.evaluate", description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--radiographs", type=Path, default=Path("../shared/data/cxr"), help="labelled real radiographs"
    )
    asked = parser.parse_args()
    recipe, weights = RECIPES[asked.name], weights_path(asked.name)
    network = small_densenet(channels=recipe.channels, findings=len(recipe.findings))
    load_weights(network, weights)
    with Progress() as progress:
        bench = Bench(recipe=recipe, network=network.eval(), processes=asked.processes, progress=progress)
        found = evaluate(bench, radiographs=asked.radiographs)
    found["weights_sha256"] = sha256_of(weights)
    found["figures"]["training"] = json.loads(weights.with_suffix(".training.json").read_text())
    weights.with_suffix(".json").write_text(json.dumps(_rounded(found), indent=1) + "\n")
    write_page(recipe, _rounded(found))


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value


if __name__ == "__main__":
    main()
