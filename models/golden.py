"""Golden vectors: what three drawn images gave when a model was made, asked again whenever it is loaded.

A file that has the right digest can still meet another build, another network behind the same names, or a step that
changed: the logits tell.  ``python -m models.golden`` writes those of the models that ship anew.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from models.contract import Radiograph, Volume
from models.errors import GoldenMismatch, WeightsMissing
from models.network_model import NetworkModel, forward
from models.steps import Floats, prepare
from models.weights import WEIGHTS_FOLDER

if TYPE_CHECKING:
    from models.contract import TriageModel

SEEDS: Final = (1, 2, 3)
TOLERANCE: Final[Mapping[str, float]] = {"cpu": 1e-4, "cuda": 2e-2}
"""Of a logit, or of its size where that is above 1.  A GPU multiplies in TF32 or bf16, a CPU in fp32."""

_SIDE, _CELL, _SLICES = 96, 12, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Golden:
    """The logits of each drawn image, (images, items, outputs) float32, and the SHA-256 of the images."""

    logits: Floats
    images_sha256: str


def record(model: NetworkModel, path: Path) -> None:
    """Write a model's golden vectors, as it computes them here and now."""
    from safetensors.numpy import save_file  # noqa: PLC0415 - comes with the extra `ai`

    images = draw(model.card.input_rules.kind)
    save_file({"logits": _logits(model, images)}, path, metadata={"images_sha256": _digest(images)})


def replay(model: TriageModel, path: Path) -> None:
    """Ask a loaded model its golden vectors again.

    A model of another package may be no network between chains; its package then answers for it.

    Raises
    ------
    WeightsMissing
        The model has no golden vectors, or none that can be read.
    GoldenMismatch
        It gives other logits than when they were written, beyond `TOLERANCE`.
    """
    if not isinstance(model, NetworkModel):
        return
    found, allowed = apart(model, path), TOLERANCE[model.device]
    if not found <= allowed:  # NaN is not below anything
        raise GoldenMismatch(f"{model.card.id} is {found:.2g} off its golden vectors; {allowed:g} is let by")


def apart(model: NetworkModel, path: Path) -> float:
    """Give the farthest that a logit lies from its golden one, as `TOLERANCE` counts it.

    Raises
    ------
    WeightsMissing, GoldenMismatch
        As `replay`; of the latter, that the golden vectors are of other images or another shape.
    """
    images, golden = draw(model.card.input_rules.kind), read(path)
    if _digest(images) != golden.images_sha256:
        raise GoldenMismatch(f"{path.name} was written for other images than those drawn here; write it again")
    found = _logits(model, images)
    if found.shape != golden.logits.shape:
        raise GoldenMismatch(f"{model.card.id} gives logits of shape {found.shape}, not {golden.logits.shape}")
    return float((np.abs(found - golden.logits) / np.maximum(1, np.abs(golden.logits))).max())


def read(path: Path) -> Golden:
    """Read golden vectors.

    Raises
    ------
    WeightsMissing
        There is no such file, or it holds something else.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - comes with the extra `ai`

    try:
        with safe_open(path, framework="np") as file:
            return Golden(logits=file.get_tensor("logits"), images_sha256=(file.metadata() or {})["images_sha256"])
    except (OSError, KeyError, SafetensorError) as error:
        raise WeightsMissing(f"no golden vectors in {path.name}; install the model again") from error


def draw(kind: str) -> tuple[Volume | Radiograph, ...]:
    """Give the images of a kind of input, ``volume`` or ``radiograph``: patches and noise, the same bits everywhere."""
    if kind == "radiograph":
        return tuple(Radiograph(pixels=_patches(seed, 1)[0], instance_uid=f"2.25.{seed}", view="PA") for seed in SEEDS)
    uids = tuple(f"2.25.{number}" for number in range(1, _SLICES + 1))
    return tuple(
        Volume(
            voxels=_patches(seed, _SLICES) * np.float32(500) - np.float32(200),
            spacing_mm=(5.0, 2.5, 2.5),
            affine_lps=np.diag([2.5, 2.5, 5.0, 1.0]),
            instance_uids=uids,
        )
        for seed in SEEDS
    )


def _patches(seed: int, slices: int) -> Floats:
    """Give (slices, `_SIDE`, `_SIDE`) in 0..1, from the raw bits of a generator whose stream NumPy never changes."""
    cells = _SIDE // _CELL
    wanted = slices * (cells * cells + _SIDE * _SIDE)
    bits = np.random.PCG64(seed).random_raw(wanted) >> np.uint64(40)
    coarse, fine = np.split((bits / 2.0**24).astype(np.float32), [slices * cells * cells])
    patches = coarse.reshape(slices, cells, cells).repeat(_CELL, axis=1).repeat(_CELL, axis=2)
    mixed: Floats = np.float32(0.75) * patches + np.float32(0.25) * fine.reshape(slices, _SIDE, _SIDE)
    return mixed


def _logits(model: NetworkModel, images: Sequence[Volume | Radiograph]) -> Floats:
    chain = model.chain
    every = [
        forward(model.network, prepare(image, chain.before).pixels, device=model.device, mirrored=chain.mirrored)
        for image in images
    ]
    stacked: Floats = np.stack(every)
    return stacked


def _digest(images: Sequence[Volume | Radiograph]) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update((image.voxels if isinstance(image, Volume) else image.pixels).tobytes())
    return digest.hexdigest()


def main() -> None:
    """Write the golden vectors of every model that ships."""
    from models import registry  # noqa: PLC0415 - the registry knows golden files, not the other way round

    for card in registry.cards():
        model = registry.load(card, "cpu")
        if isinstance(model, NetworkModel) and registry.weights_of(card).parent == WEIGHTS_FOLDER:
            record(model, registry.golden_of(card))
            sys.stdout.write(f"{registry.golden_of(card).name}\n")


if __name__ == "__main__":
    main()
