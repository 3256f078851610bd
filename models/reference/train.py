"""Retrains a reference model: ``python -m models.reference.train head-ct-haemorrhage --seed 0``."""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import Progress

from models.networks import small_densenet
from models.reference.cases import SAMPLERS, Samples, join, make_all
from models.reference.recipes import RECIPES, Course, Recipe
from models.weights import save_weights, weights_path

if TYPE_CHECKING:
    import torch

SHIFT_PX = 8
"""Training images are moved by at most this much, and mirrored half of the time."""


def draw_samples(recipe: Recipe, span: tuple[int, int], *, processes: int, progress: Progress | None = None) -> Samples:
    """Draw the samples of `span` = (first seed, count) phantoms."""
    first, count = span
    found = make_all(SAMPLERS[recipe.name], range(first, first + count), processes=processes)
    return join(progress.track(found, total=count, description="drawing phantoms") if progress else found)


def untrained(recipe: Recipe, *, seed: int) -> torch.nn.Module:
    """Give the recipe's network as it is before any training."""
    import torch

    torch.manual_seed(seed)
    return small_densenet(channels=recipe.channels, findings=len(recipe.findings))


def fit(
    recipe: Recipe,
    network: torch.nn.Module,
    samples: Samples,
    *,
    seed: int,
    epochs: int,
    learning_rate: float,
    device: str = "cpu",
    arithmetic: str = "bfloat16",
    progress: Progress | None = None,
) -> torch.nn.Module:
    """Train a network of the recipe's, or train it further.

    Parameters
    ----------
    recipe
        Which batch.
    network
        What to train; changed in place.
    samples
        What to learn from.
    seed
        Of the order of the samples.
    epochs
        Rounds over the samples.
    learning_rate
        The highest on the way up and down.
    device
        ``cpu`` or ``cuda``.
    arithmetic
        ``bfloat16``, the faster, or ``float32``: some processors' libraries refuse bfloat16 for some layers.

    Returns
    -------
    torch.nn.Module
        The trained network, in evaluation mode, on the CPU.
    """
    import torch

    order = np.random.default_rng(seed)
    network = network.train().to(device).to(memory_format=torch.channels_last)
    inputs, truth = torch.from_numpy(samples.inputs).to(device), torch.from_numpy(samples.truth).to(device)
    batches = len(inputs) // recipe.batch
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.01)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * batches)
    loss_of = torch.nn.BCEWithLogitsLoss()
    task = progress.add_task("training", total=epochs * batches) if progress else None
    for _ in range(epochs):
        shuffled = torch.from_numpy(order.permutation(len(inputs))[: batches * recipe.batch]).to(device)
        for chosen in shuffled.split(recipe.batch):
            seen = _vary(inputs[chosen].float() / 255, order).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=arithmetic == "bfloat16"):
                logits = network(seen)
            loss = loss_of(logits.float(), truth[chosen].float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            pace.step()
            if progress and task is not None:
                progress.update(task, advance=1, description=f"training, loss {loss.item():.3f}")
    return network.eval().cpu()


def _vary(seen: torch.Tensor, order: np.random.Generator) -> torch.Tensor:
    """Give a batch moved, and mirrored one time in two."""
    down, across = (int(by) for by in order.integers(-SHIFT_PX, SHIFT_PX + 1, 2))
    moved = seen.roll((down, across), (-2, -1))
    return moved.flip(-1) if order.random() < 0.5 else moved


def main() -> None:
    """Train one model and write its weights, with a note of what it took."""
    parser = argparse.ArgumentParser(prog="python -m models.reference.train", description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="processes that draw, and threads that train")
    parser.add_argument("--phantoms", type=int, help="one course over so few phantoms, to try things")
    parser.add_argument("--arithmetic", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--output", type=Path, help="weight file; the committed one where left out")
    asked = parser.parse_args()
    recipe = RECIPES[asked.name]
    courses = recipe.courses
    if asked.phantoms:
        courses = (replace(courses[0], phantoms=(courses[0].phantoms[0], asked.phantoms)),)
    output = asked.output or weights_path(recipe.name)
    _set_threads(asked.processes)
    network = untrained(recipe, seed=asked.seed)
    note = Note(seed=asked.seed, cores=asked.processes)
    with Progress() as progress:
        for number, course in enumerate(courses):
            started = time.monotonic()
            samples = draw_samples(recipe, course.phantoms, processes=asked.processes, progress=progress)
            drawn = time.monotonic()
            network = fit(
                recipe,
                network,
                samples,
                seed=asked.seed + number,
                epochs=course.epochs,
                learning_rate=course.learning_rate,
                arithmetic=asked.arithmetic,
                progress=progress,
            )
            note.add(course, len(samples.truth), drawn - started, time.monotonic() - drawn)
    save_weights(network, output)
    note.cpu_seconds = round(_cpu_seconds())
    output.with_suffix(".training.json").write_text(json.dumps(asdict(note), indent=2) + "\n")


@dataclass(kw_only=True, slots=True)
class Note:
    """What a training took, over all its courses."""

    seed: int
    cores: int
    phantoms: int = 0
    samples: int = 0
    epochs: list[int] = field(default_factory=list)
    seconds_drawing: int = 0
    seconds_training: int = 0
    cpu_seconds: int = 0

    def add(self, course: Course, samples: int, drawing_s: float, training_s: float) -> None:
        """Add one course."""
        self.phantoms += course.phantoms[1]
        self.samples += samples
        self.epochs.append(course.epochs)
        self.seconds_drawing += round(drawing_s)
        self.seconds_training += round(training_s)


def _cpu_seconds() -> float:
    """Give the processor time of this process and of those it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


if __name__ == "__main__":
    main()
