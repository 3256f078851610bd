"""An installation of its own, to be broken: a copy of the packages in which weights and models can be changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.acceptance.site import ROOT

_PACKAGES = ("api", "imaging", "inference", "models", "pacs_gateway", "roi", "storage", "web")

_NO_TORCH = """
from importlib.machinery import PathFinder

_find = PathFinder.find_spec


def _find_no_torch(name, path=None, target=None):
    return None if name.partition(".")[0] == "torch" else _find(name, path, target)


PathFinder.find_spec = _find_no_torch
"""

_SPOILT = """


class _Spoilt:
    card = CARD

    def predict(self, image):
        {body}


def load(device, weights):
    return _Spoilt()
"""


def install(folder: Path) -> Path:
    """Copy the packages into `folder` and return it."""
    for package in _PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def weights_of(code: Path, model: str) -> Path:
    """Return a model's weight file in an installation."""
    return code / "models" / "zoo" / "weights" / f"{model}.safetensors"


def spoil(code: Path, module: str, body: str) -> None:
    """Make a model of an installation do `body`, a line of Python, when it is asked; its card stays as it was."""
    with (code / "models" / "zoo" / f"{module}.py").open("a") as file:
        file.write(_SPOILT.format(body=body))


def without_torch(folder: Path) -> dict[str, str]:
    """Return the environment of a Python in which torch is not installed."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(_NO_TORCH)
    return {"PYTHONPATH": str(folder)}
