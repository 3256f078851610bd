"""Writes a reference model's page for the documentation from the figures that evaluation measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.reference.identity import LABEL_EN, LABEL_VI, LIMITS, NOT_FOR
from models.reference.recipes import RECIPES, Recipe
from models.weights import weights_path

PAGES = Path(__file__).parents[2] / "docs" / "models"

Figures = Mapping[str, Any]


def write_page(recipe: Recipe, found: Figures) -> None:
    """Write `docs/models/<name>.md`."""
    PAGES.mkdir(parents=True, exist_ok=True)
    (PAGES / f"{recipe.name}.md").write_text(page_of(recipe, found))


def page_of(recipe: Recipe, found: Figures) -> str:
    """Give the page as Markdown."""
    figures = found["figures"]
    every = ABOUT_EVERY_STUDY if "every study" in figures["held_out"] else ""
    shifts = [f"### {name}\n\n{_areas(one)}" for name, one in figures["shifts"].items()]
    parts = [
        f"# {recipe.name}",
        f"**{LABEL_EN}**\n\n**{LABEL_VI}**",
        f"Not for: {NOT_FOR}",
        ABOUT_FIGURES,
        f"## Held-out phantoms\n\n{ABOUT_HELD_OUT}{every}\n\n{_areas(figures['held_out'])}",
        f"## Operating points\n\n{ABOUT_POINTS}\n\n{_points(found['operating_points'])}",
        f"## Weak spots\n\n{_counts(figures.get('sensitivity_by_kind') or figures['weak_spots'])}",
        f"## Shifted domains\n\n{ABOUT_SHIFTS}",
        *shifts,
        *([_real(figures["real_radiographs"])] if "real_radiographs" in figures else []),
        f"## Training\n\n{_training(recipe, figures['training'])}",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in LIMITS),
        f"Weights: SHA-256 `{found['weights_sha256']}`.",
    ]
    return "\n\n".join(parts) + "\n"


ABOUT_FIGURES = (
    "Figures are written by `python -m models.reference.evaluate`; none is typed by hand. "
    "Intervals are 95 %: DeLong for areas under the curve, Wilson for shares."
)
ABOUT_HELD_OUT = (
    "The held-out sets were fixed in `models/reference/held_out.json` before training. The baseline is a logistic "
    "regression on hand-made features (percentiles, bright areas, block means): where it comes close to the "
    "network, the drawing is easy."
)
ABOUT_EVERY_STUDY = (
    " A bleeding head none of whose slices shows 40 mm² of blood counts in `every study` "
    "and not in `study`: such slices are left out of training too."
)
ABOUT_POINTS = "Thresholds come from validation phantoms, rates from the held-out ones."
ABOUT_SHIFTS = (
    "The same drawings with other noise and sharpness, other anatomy, other lesions; the model was not trained on them."
)


def _areas(levels: Figures) -> str:
    rows = [
        f"| {level} | {finding} | {_area(one)} | {_baseline(one)} | {one['positives']} of {one['of']} |"
        for level, findings in levels.items()
        for finding, one in findings.items()
    ]
    return "\n".join(["| per | finding | AUC | baseline AUC | positives |", "| --- | --- | --- | --- | --- |", *rows])


def _area(one: Figures, prefix: str = "") -> str:
    low, high = one[f"{prefix}interval"]
    return f"{one[f'{prefix}auc']:.3f} ({low:.3f} to {high:.3f})"


def _baseline(one: Figures) -> str:
    return _area(one, "baseline_") if "baseline_auc" in one else "not measured"


def _points(points: Figures) -> str:
    rows = [
        f"| {code} | {one['name']} | {one['threshold']:.3f} | {_rate(one, 'sensitivity')} "
        f"| {_rate(one, 'specificity')} | {one['dataset']} |"
        for code, one in points.items()
    ]
    head = "| finding | point | threshold | sensitivity | specificity | on |"
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- |", *rows])


def _rate(one: Figures, name: str) -> str:
    low, high = one[f"{name}_interval"]
    return f"{100 * one[name]:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _counts(counts: Figures) -> str:
    rows = [f"| {what} | {one['found']} of {one['of']} |" for what, one in counts.items()]
    return "\n".join(["| at the operating point | found |", "| --- | --- |", *rows])


def _real(figures: Figures) -> str:
    said = "; ".join(f"{finding}: {', '.join(labels)}" for finding, labels in figures["labels"].items())
    levels = {"image": {finding: figures[finding] for finding in figures["labels"]}}
    return (
        f"## Real radiographs\n\n{figures['images']} labelled images of NIH ChestX-ray14, for which the model was "
        f"never meant. Labels counted: {said}.\n\n{_areas(levels)}\n\n"
        "An area near 0.5 is what a model of drawings should be expected to reach on patients."
    )


def _training(recipe: Recipe, note: Figures) -> str:
    minutes = (note["seconds_drawing"] + note["seconds_training"]) / 60
    rounds = " + ".join(map(str, note["epochs"]))
    processor = f" ({note['cpu_seconds'] / 60:.0f} minutes of processor time)" if "cpu_seconds" in note else ""
    return (
        f"`python -m models.reference.train {recipe.name} --seed {note['seed']}`: {note['phantoms']} phantoms, "
        f"{note['samples']} samples, {rounds} rounds; {minutes:.0f} minutes on {note['cores']} CPU "
        f"core(s) shared with other work{processor}."
    )


# ------------------------------------------------------------------ known inputs


def write_known_inputs() -> None:
    """Write `docs/models/known-inputs.md` from what lies beside the weights."""
    (PAGES / "known-inputs.md").write_text(known_inputs_page())


def known_inputs_page() -> str:
    """Give the page as Markdown."""
    parts = ["# Known inputs", ABOUT_KNOWN]
    for name in sorted(RECIPES):
        path = weights_path(name).with_suffix(".known.json")
        parts += [f"## {name}", _known(json.loads(path.read_text())) if path.exists() else NOT_FITTED]
    return "\n\n".join(parts) + "\n"


ABOUT_KNOWN = (
    "A network scores anything: a hand, a dog, noise. So each model keeps what accepted inputs look like to it, and "
    "an input that lies farther off than 99 of 100 accepted ones, of heads some way farther, gets no answer but the "
    "reason `ood`, with its distance.\n\n"
    "What is compared are the features before the last layer, from the same pass that scores. The distance is "
    "Mahalanobis' on at most 64 principal components, squared, under a covariance shrunk after Ledoit and Wolf. The "
    "slices of a head are of a few kinds, found by k-means, each with its own statistics, and a slice is as far off as "
    "from the kind that it lies nearest to. The stack is as far off as its nearest quarter of slices: a good head may "
    "have many strange ones, where the gantry was tilted or the series reaches beyond it, and of something else every "
    "slice is strange. The statistics lie beside the weights, and the card names their SHA-256.\n\n"
    "Figures are written by `python -m models.reference.known_inputs NAME`; none is typed by hand. Intervals are "
    "95 %, Wilson. `base` are held-out phantoms like those the model was trained on. The shifted domains are drawn "
    "otherwise, and the model is worse on them. Wrong inputs are shown to the network without the gates before it.\n\n"
    "Heads are known as wide as the gates before let them pass: slices of 0.6 to 6 mm, 92 to 248 mm long, a gantry "
    "tilted by up to 25° either way, and heads that are still arriving, 12 to 24 slices from either end. The threshold "
    "lies well beyond 99 of 100 such heads, because a good head that gets no answer is a loss each time and most wrong "
    "inputs lie far off. Margin, kinds and quartile were chosen with part of the further heads in view, so their row "
    "is not wholly blind. A part of a head that lies beyond it leaves nothing, as if it had not been looked at; more "
    "slices are looked at as they come, and the run on the whole series decides.\n\n"
    "What is not noticed is in the tables: rows of wrong inputs of which not all were refused. To the network for "
    "heads, which looks for dense patches, a head turned by 90° or 180° is much like an upright one, and so is one "
    "half as wide. A single slice of another body or a mere disc, repeated, may resemble the top of a head. An empty "
    "stack resembles the air above one; the gates before the network refuse it."
)


NOT_FITTED = "Nothing was fitted yet, so this model refuses nothing as `ood`; the gates before it hold."


def _known(told: Figures) -> str:
    figures = told["figures"]
    head = "| input | refused | share | distance: least, median, most |\n| --- | --- | --- | --- |"
    rows = [_refused(f"further heads: {kind}", one) for kind, one in figures.get("further", {}).items()]
    rows += [_refused(f"held-out phantoms, {domain}", one) for domain, one in figures["good"].items()]
    rows += [_refused(kind, one) for kind, one in figures["wrong"].items()]
    about = f"Known: {told['dataset']}. Threshold: {told['threshold']:.1f}."
    return f"{about}\n\n" + ("\n".join([head, *rows]) if rows else "Nothing was counted with these statistics yet.")


def _refused(what: str, one: Figures) -> str:
    low, high = (100 * at for at in one["interval"])
    share = f"{100 * one['refused'] / one['of']:.1f} % ({low:.1f} to {high:.1f})"
    least, median, most = one["distance"]
    return f"| {what} | {one['refused']} of {one['of']} | {share} | {least:.0f}, {median:.0f}, {most:.0f} |"
