"""Weight files: safetensors only, known by their SHA-256, loaded strictly or not at all."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import TorchMissing, WeightsCorrupt, WeightsMissing

if TYPE_CHECKING:
    import torch

WEIGHTS_FOLDER = Path(__file__).parent / "zoo" / "weights"


def weights_path(name: str) -> Path:
    """Give where the weights of one of our own models lie."""
    return WEIGHTS_FOLDER / f"{name}.safetensors"


def golden_beside(weights: Path) -> Path:
    """Give where the golden vectors of a weight file lie."""
    return weights.with_suffix(".golden.safetensors")


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file, in hex.

    Raises
    ------
    WeightsMissing
        There is no such file.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise WeightsMissing(f"no weight file {path.name} in {path.parent}; install it again") from error


def verify(path: Path, sha256: str) -> None:
    """Check that a weight file is the one meant.

    Raises
    ------
    WeightsMissing
        There is no such file.
    WeightsCorrupt
        It has another digest.
    """
    found = sha256_of(path)
    if found != sha256:
        raise WeightsCorrupt(f"{path.name} has SHA-256 {found}, its card says {sha256}; install it again")


def require_torch() -> None:
    """Check that networks can run here, without loading torch.

    Raises
    ------
    TorchMissing
        torch, MONAI or safetensors is not installed.
    """
    absent = [name for name in ("torch", "monai", "safetensors") if find_spec(name) is None]
    if absent:
        raise TorchMissing(f"{' and '.join(absent)} not installed here, so no model can run; install the extra `ai`")


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Fill a network from a safetensors file: every tensor named there and here, in the same shape, or an error.

    Raises
    ------
    WeightsCorrupt
        The file is no safetensors file, or holds other tensors than the network.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - comes with the extra `ai`
    from safetensors.torch import load_file  # noqa: PLC0415 - loads torch

    try:
        tensors = load_file(path)
        _compare_names(set(network.state_dict()), set(tensors))
        network.load_state_dict(tensors, strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise WeightsCorrupt(f"{path.name} does not fit its network: {error}") from error


def _compare_names(wanted: set[str], found: set[str]) -> None:
    """Compare names, since torch itself lets a batch counter be missing; the first few are told."""
    for names, what in ((wanted - found, "it lacks"), (found - wanted, "it has besides")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise RuntimeError(f"{what} {', '.join(sorted(names)[:3])}{more}")


def save_weights(network: torch.nn.Module, path: Path) -> None:
    """Write a network's tensors as safetensors, counters of batches included."""
    from safetensors.torch import save_file  # noqa: PLC0415 - loads torch

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
