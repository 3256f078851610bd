"""Reads a pickle of foreign objects without making one: each becomes an inert stand-in that only holds its state.

Whole models are pickled as objects of their authors' classes.  Their tensors are wanted, their code is not, so every
name a pickle asks for is looked up in a closed table, and what is not there is a new, empty class of ours: calling it,
which is how a pickle runs code, makes one more stand-in.  Has the names that `torch.load` wants of a `pickle_module`.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import IO, Any, Self


class StandIn:
    """Holds what was pickled of an object of a foreign class, and does nothing."""

    state: object = None

    def __init__(self, *_arguments: object, **_named: object) -> None:
        pass

    def __new__(cls, *_arguments: object, **_named: object) -> Self:
        """Make one without `__init__`, as pickles do, or with it."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Drop an item of what was a list."""

    def extend(self, items: object) -> None:
        """Drop items of what was a list."""

    def add(self, item: object) -> None:
        """Drop an item of what was a set."""


class Unpickler(pickle.Unpickler):
    """An unpickler whose every name comes from a closed table, or is a stand-in."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as the base class has it
        """Give what a name means here."""
        real = _real().get((module, name))
        return real if real is not None else type("Foreign", (StandIn,), {})


def load(file: IO[bytes], **named: Any) -> Any:  # noqa: ANN401 - as `pickle.load` has it
    """Read one pickle."""
    return Unpickler(file, **named).load()


def _real() -> dict[tuple[str, str], Any]:
    """Give the names that are what they say: how torch puts a tensor together, and nothing else."""
    import torch

    return {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch", "Size"): torch.Size,
        ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,  # noqa: SLF001 - pickles name it
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,  # noqa: SLF001
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,  # noqa: SLF001
    }
