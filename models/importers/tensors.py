"""Gets the named tensors out of a foreign weight file; runs in the jail."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.errors import ImportRefused
from models.importers import archives, inert

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]

_DAMAGED: Final = (RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError)
"""What torch raises where a file breaks off or its parts do not fit."""

_WRAPPERS: Final = ("state_dict", "model_state_dict", "model")
"""Under which keys training scripts put a network's tensors beside their own notes."""


def read_state(path: Path, *, unsafe_pickle: bool) -> State:
    """Give the tensors of a weight file by name, on the CPU.

    With `unsafe_pickle`, and only then, a pickle may hold objects beside tensors.  They are not made even so:
    `inert` puts a stand-in for each.  Nothing is tried a second, less careful time.

    Raises
    ------
    ImportRefused
        The file is no weight file, holds more than tensors, or a program.
    """
    if _is_safetensors(path):
        from safetensors.torch import load_file  # noqa: PLC0415 - loads torch

        return dict(load_file(path))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            archives.check(archive)
            _refuse_programs(archive)
    return _flat(_unpickled(path, unsafe_pickle=unsafe_pickle))


def save_state(state: State, path: Path) -> None:
    """Write tensors as safetensors, each with memory of its own."""
    from safetensors.torch import save_file  # noqa: PLC0415 - loads torch

    save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, path)


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _refuse_programs(archive: zipfile.ZipFile) -> None:
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist()):
        raise ImportRefused("the file is a TorchScript archive, which is a program; give the state dict instead")


def _unpickled(path: Path, *, unsafe_pickle: bool) -> object:
    import torch

    try:
        if unsafe_pickle:
            return torch.load(path, map_location="cpu", weights_only=False, pickle_module=inert)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if unsafe_pickle:
            raise ImportRefused("the file is no pickle that torch wrote") from error
        raise ImportRefused(
            "the file holds more than tensors, or is no weight file; if you trust who made it, "
            "--unsafe-pickle takes the tensors out of whole pickled models"
        ) from error
    except _DAMAGED as error:
        if "allocate memory" in str(error):
            raise MemoryError from error
        raise ImportRefused(f"the file is damaged, or torch did not write it ({type(error).__name__})") from error


def _flat(read: object) -> State:
    if isinstance(read, inert.StandIn):
        return _of_module(read)
    if isinstance(read, Mapping):
        for key in _WRAPPERS:
            if isinstance(read.get(key), Mapping | inert.StandIn):
                return _flat(read[key])
        if read and all(_is_tensor(value) and isinstance(key, str) for key, value in read.items()):
            return dict(read)
    raise ImportRefused("the file holds no named tensors of one network")


def _of_module(module: inert.StandIn, prefix: str = "", depth: int = 0) -> State:
    """Give the state dict of what was a `torch.nn.Module`: parameters and buffers, then those of its parts."""
    state = module.state
    if not isinstance(state, Mapping) or depth > 32:
        raise ImportRefused("the file holds an object that is no network")
    named: dict[str, Any] = {**_mapping(state, "_parameters"), **_mapping(state, "_buffers")}
    found: State = {prefix + name: tensor for name, tensor in named.items() if _is_tensor(tensor)}
    for name, part in _mapping(state, "_modules").items():
        if isinstance(part, inert.StandIn):
            found |= _of_module(part, f"{prefix}{name}.", depth + 1)
    return found


def _mapping(state: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = state.get(key)
    return value if isinstance(value, Mapping) else {}


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)
