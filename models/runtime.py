"""The machine under the models: how many threads, which device, which builds."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping


def available() -> bool:
    """Tell whether this installation can run models at all, without loading torch."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "monai", "safetensors"))


def use_threads(count: int) -> None:
    """Let torch use `count` threads within one operation, and one between operations."""
    import torch

    torch.set_num_threads(count)
    torch.set_num_interop_threads(1)


def versions() -> Mapping[str, str]:
    """Return the builds that a result depends on."""
    import monai
    import torch

    return {"torch": str(torch.__version__), "monai": str(monai.__version__)}
