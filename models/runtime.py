"""The machine under the models: how many threads, which device, which builds."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

_OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "out of memory",
    "Cannot allocate memory",
    "could not create a memory",  # oneDNN
    "bad_alloc",
    "can't start new thread",
)
"""What a RuntimeError of torch, or of what it calls, says where an allocation failed."""


def available() -> bool:
    """Tell whether this installation can run models at all, without loading torch."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "monai", "safetensors"))


def use_threads(count: int) -> None:
    """Let torch use `count` threads within one operation, and one between operations."""
    import torch

    torch.set_num_threads(count)
    torch.set_num_interop_threads(1)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of a model says that memory is short: Python's own, or one of torch's many."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and any(sign in text for sign in _OUT_OF_MEMORY)
    )


def versions() -> Mapping[str, str]:
    """Return the builds and the processors that the bits of a result depend on; `gpu` is empty where there is none."""
    import monai
    import torch

    builds = {"torch": str(torch.__version__), "monai": str(monai.__version__)}
    readers = {name: version(name) for name in ("numpy", "pydicom")}
    cpu = f"{torch.backends.cpu.get_cpu_capability()} {_processor()}".rstrip()
    return {**builds, **readers, "cpu": cpu, "gpu": _gpu()}


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return ""
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"


def _processor() -> str:
    """Return what the processor calls itself: libraries choose their kernels by it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
