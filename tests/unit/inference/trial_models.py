"""What a model's process finds instead of the installed models: some that behave, and one of each that does not.

Used through `configure`, which that process calls before it loads anything.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from inference import child
from models.contract import ModelCard, Prediction, Radiograph, Volume
from storage.adapters.memory import MemoryStore
from storage.records import ObjectKey
from tests.builders import TrialModel, card

MEMORY = 256 << 20
"""What the process may take in these tests; the interpreter and NumPy need less than half of it."""
_HUNGRY_FOR = 16
"""More slices or images at once than this are too much for the hungry models."""


class Hungry(TrialModel):
    """Needs more memory than there is for more than 16 items at once."""

    def predict_many(self, images: Sequence[Volume | Radiograph], *, items_at_once: int) -> list[Prediction]:
        if items_at_once > _HUNGRY_FOR:
            self.take()
        return [self.predict(image) for image in images]

    def take(self) -> None:
        np.ones(MEMORY, dtype=np.uint8)


class AlwaysHungry(Hungry):
    def predict_many(self, images: Sequence[Volume | Radiograph], *, items_at_once: int) -> list[Prediction]:
        self.take()
        raise AssertionError("there was memory")


class Killed(Hungry):
    """Is killed while it has much in use, as by a kernel that is out of memory."""

    def take(self) -> None:
        held = np.ones(MEMORY * 6 // 10, dtype=np.uint8)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
        held.sum()


class Together(TrialModel):
    """Tells how many images it was shown at once; refuses a batch with an image that is white all over."""

    def predict_many(self, images: Sequence[Volume | Radiograph], *, items_at_once: int) -> list[Prediction]:
        if any(_is_poisoned(image) for image in images):
            raise ValueError("poisoned")
        return [self.predict(image) for image in images]


class Hangs(TrialModel):
    def predict(self, image: Volume | Radiograph) -> Prediction:
        time.sleep(3600)
        return super().predict(image)


class Crashes(TrialModel):
    def predict(self, image: Volume | Radiograph) -> Prediction:
        os.abort()


def _is_poisoned(image: Volume | Radiograph) -> bool:
    return isinstance(image, Radiograph) and float(image.pixels.mean()) > 0.9


def _raises(_: ModelCard) -> TrialModel:
    raise AttributeError("a model's own mistake")


def _dies(_: ModelCard) -> TrialModel:
    os.abort()


def _hangs(_: ModelCard) -> TrialModel:
    time.sleep(3600)
    raise AssertionError("it woke up")


_LOAD = {
    "a-steady": TrialModel,
    "b-raises-at-load": _raises,
    "c-dies-at-load": _dies,
    "d-hangs-at-load": _hangs,
    "e-hungry": Hungry,
    "f-always-hungry": AlwaysHungry,
    "g-killed": Killed,
    "h-hangs": Hangs,
    "i-crashes": Crashes,
    "j-together": Together,
}
_KIND = {"j-together": "radiograph"}
CARDS = {name: card(name, kind=_KIND.get(name, "volume")) for name in _LOAD}


def configure(names: tuple[str, ...]) -> None:
    """Be called in the model's process: leave it these models, none of which needs torch."""
    child.registry.cards = lambda _imported=None: tuple(CARDS[name] for name in names)  # type: ignore[assignment]
    child.registry.device = lambda: "cpu"
    child.registry.load = lambda wanted, _device, _imported=None: _LOAD[wanted.id](wanted)  # type: ignore[assignment]
    child.registry.golden_of = lambda _wanted, _imported=None: None  # type: ignore[assignment]
    child.golden.replay = lambda _model, _path: None  # type: ignore[assignment]
    child.runtime.use_threads = lambda _count: None  # type: ignore[assignment]
    child.runtime.versions = dict  # type: ignore[assignment]


def store_of(content: dict[ObjectKey, bytes]) -> MemoryStore:
    """Return a store of these objects, in the process that reads them."""
    store = MemoryStore()
    store._objects.update(content)
    return store


def setup(names: Sequence[str], content: dict[ObjectKey, bytes]) -> child.ChildSetup:
    """Return the set-up of a process with these models and objects."""
    return child.ChildSetup(
        open_objects=partial(store_of, content),
        configure=partial(configure, tuple(names)),
        memory_bytes=MEMORY,
    )
