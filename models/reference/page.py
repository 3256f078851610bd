"""Writes a reference model's page for the documentation from the figures that evaluation measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.reference.identity import LABEL_EN, LABEL_VI, LIMITS, NOT_FOR
from models.reference.recipes import Recipe

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
