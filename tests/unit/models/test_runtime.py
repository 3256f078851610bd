"""What torch says when memory is short is understood, in a process that may take hardly more than it has."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="running a network needs the extra `ai`")

from models.runtime import versions

_HUNGRY = """
import torch
from inference.memory import limit_data
from models.runtime import is_out_of_memory
held = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) * 1024
limit_data(held + (64 << 20))
layer = torch.nn.Conv2d(1, 64, 3)
for ask in (lambda: torch.ones(1 << 28), lambda: layer(torch.zeros(1, 1, 2000, 2000)), lambda: bytearray(1 << 28)):
    try:
        ask()
    except (RuntimeError, MemoryError) as error:
        print(is_out_of_memory(error))
print(is_out_of_memory(ValueError("out of memory")), is_out_of_memory(RuntimeError("shapes differ")))
"""


def test_an_allocation_that_fails_in_torch_or_python_is_told_apart_from_other_errors() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _HUNGRY], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True", "False", "False"]


def test_what_the_bits_depend_on_names_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert versions()["gpu"] == ""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: 91002)
    assert versions()["gpu"] == "NVIDIA H200, CUDA 13.0, cuDNN 91002"
