"""Retrains a reference model: ``python -m models.reference.train head-ct-haemorrhage --seed 0``."""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import Progress

from models.networks import small_densenet
from models.reference.cases import SAMPLERS, Samples, join, make_all
from models.reference.recipes import RECIPES, Recipe
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


def fit(
    recipe: Recipe, samples: Samples, *, seed: int, epochs: int, device: str = "cpu", progress: Progress | None = None
) -> torch.nn.Module:
    """Train the recipe's network from scratch.

    Parameters
    ----------
    recipe
        Which network, batch and learning rate.
    samples
        What to learn from.
    seed
        Of the first weights and the order of the samples.
    epochs
        Rounds over the samples.
    device
        ``cpu`` or ``cuda``; bfloat16 arithmetic on both.

    Returns
    -------
    torch.nn.Module
        The trained network, in evaluation mode, on the CPU.
    """
    import torch

    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    network = small_densenet(channels=recipe.channels, findings=len(recipe.findings)).to(device)
    network = network.to(memory_format=torch.channels_last)
    inputs, truth = torch.from_numpy(samples.inputs).to(device), torch.from_numpy(samples.truth).to(device)
    batches = len(inputs) // recipe.batch
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=epochs * batches)
    loss_of = torch.nn.BCEWithLogitsLoss()
    task = progress.add_task("training", total=epochs * batches) if progress else None
    for _ in range(epochs):
        shuffled = torch.from_numpy(order.permutation(len(inputs))[: batches * recipe.batch]).to(device)
        for chosen in shuffled.split(recipe.batch):
            seen = _vary(inputs[chosen].float() / 255, order).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, dtype=torch.bfloat16):
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
    parser.add_argument("--phantoms", type=int, help="fewer phantoms than the recipe, to try things")
    parser.add_argument("--epochs", type=int, help="other rounds than the recipe")
    parser.add_argument("--output", type=Path, help="weight file; the committed one where left out")
    asked = parser.parse_args()
    recipe = RECIPES[asked.name]
    epochs, (first, count) = asked.epochs or recipe.epochs, recipe.training
    count = asked.phantoms or count
    output = asked.output or weights_path(recipe.name)
    started = time.monotonic()
    with Progress() as progress:
        samples = draw_samples(recipe, (first, count), processes=asked.processes, progress=progress)
        drawn = time.monotonic()
        _set_threads(asked.processes)
        network = fit(recipe, samples, seed=asked.seed, epochs=epochs, progress=progress)
    save_weights(network, output)
    note = {
        "seed": asked.seed,
        "phantoms": count,
        "samples": len(samples.truth),
        "epochs": epochs,
        "cores": asked.processes,
        "seconds_drawing": round(drawn - started),
        "seconds_training": round(time.monotonic() - drawn),
        "cpu_seconds": round(_cpu_seconds()),
    }
    output.with_suffix(".training.json").write_text(json.dumps(note, indent=2) + "\n")


def _cpu_seconds() -> float:
    """Give the processor time of this process and of those it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


if __name__ == "__main__":
    main()
