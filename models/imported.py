"""Models that a site imported: a folder each, with card, weights and golden vectors, read without loading torch.

What lies there was written by `models.importers` and is believed only as far as it fits: the card's digest is
worked out anew, the weight file is held to the card's SHA-256, and the network is one of a closed list.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from models.cards import model_digest
from models.chains import Chain
from models.contract import ModelCard, TriageModel
from models.errors import CardInvalid, ImportRefused, ModelError, ModelStays
from models.networks import NetworkSpec, build
from models.weights import load_weights

if TYPE_CHECKING:
    import torch

    from models.network_model import NetworkModel

logger = logging.getLogger(__name__)

ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""What a model may be called: its id is the name of its folder."""

_CARD_FILE: Final = "card.json"
_CARD_LIMIT_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What `card.json` holds: the card, and what makes the model of the weights."""

    card: ModelCard
    chain: Chain
    network: NetworkSpec

    def sealed(self) -> Written:
        """Give the same with the digest that its content has, in the form in which it is read again."""
        read = _adapter().validate_json(_adapter().dump_json(self))
        return replace(read, card=replace(read.card, digest=read.digest()))

    def digest(self) -> str:
        """Give the digest that the card ought to have."""
        return model_digest(self.card.weights_sha256, self.chain, self.card.findings, network=self.network)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedModel:
    """An imported model as the registry sees it: what a file in `models/zoo` offers."""

    written: Written
    folder: Path

    @property
    def CARD(self) -> ModelCard:  # noqa: N802 - as a module of models/zoo has it
        """The model's card."""
        return self.written.card

    def load(self, device: str, weights: Path) -> TriageModel:
        """Give the model on `device`, its weights already verified."""
        return assemble(self.written, device, weights)


def assemble(written: Written, device: str, weights: Path) -> NetworkModel:
    """Put a model together from what is written of it and a weight file that was verified.

    Raises
    ------
    NetworkRefused
        A network outside the closed list.
    WeightsCorrupt
        The file holds other tensors than the network.
    OnnxMissing
        It is an ONNX file, and this machine cannot run any.
    """
    from models.network_model import NetworkModel  # noqa: PLC0415 - a card is read where nothing reckons

    if written.network.name == "onnx":
        from models.onnx_network import open_network  # noqa: PLC0415 - loads torch

        return NetworkModel(card=written.card, chain=written.chain, network=open_network(weights), device=device)
    network = build(written.network)
    load_weights(network, weights)
    network = network.eval().to(device)
    if device == "cpu":
        network = network.to(memory_format=_fastest_layout())
    return NetworkModel(card=written.card, chain=written.chain, network=network, device=device)


def _fastest_layout() -> torch.memory_format:
    """Give how a CPU likes its tensors: a fifth faster by ``python -m benchmarks.model_paths``, the logits the same."""
    import torch

    return torch.channels_last


def find(folder: Path) -> Mapping[str, ImportedModel]:
    """Give the models below a folder, by id; one whose card cannot be believed is left out, loudly."""
    found: dict[str, ImportedModel] = {}
    for each in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not each.name.startswith(".") and each.is_dir():
            try:
                found[each.name] = read(each)
            except ModelError as error:
                logger.exception("model left out", extra={"action": "model-left-out", "error": str(error)})
    return found


def read(folder: Path) -> ImportedModel:
    """Read one model's folder.

    Raises
    ------
    CardInvalid
        There is no card, it says too little, it calls itself something else, or its digest is not its content's.
    NetworkRefused
        It names a network outside the closed list.
    """
    try:
        with (folder / _CARD_FILE).open("rb") as file:
            written = _adapter().validate_json(file.read(_CARD_LIMIT_BYTES))
    except (OSError, ValidationError) as error:
        raise CardInvalid(
            f"{_CARD_FILE} of {folder.name} cannot be read ({type(error).__name__}); import it again"
        ) from error
    card = written.card
    if card.id != folder.name or card.origin != "imported" or Path(card.weights_file).name != card.weights_file:
        raise CardInvalid(f"{_CARD_FILE} of {folder.name} is the card of something else; import it again")
    if card.digest != written.digest():
        raise CardInvalid(f"{_CARD_FILE} of {folder.name} was changed after the import; import it again")
    if written.network.name != "onnx":
        written.network.check()
    return ImportedModel(written=written, folder=folder)


def as_json(written: Written) -> str:
    """Give what `card.json` holds."""
    return _adapter().dump_json(written, indent=2).decode()


def from_json(text: str) -> Written:
    """Give what `as_json` was given."""
    return _adapter().validate_json(text)


@contextmanager
def being_written(folder: Path) -> Iterator[Path]:
    """Give a new folder to fill, which nobody takes for a model; it is gone afterwards, unless it was `publish`ed."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    made = folder / f".import-{secrets.token_hex(8)}"
    made.mkdir(mode=0o700)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def publish(made: Path, written: Written) -> ImportedModel:
    """Write the card into a filled folder and give the folder its name: from then on, and whole, it is a model.

    Raises
    ------
    ImportRefused
        A model of that name is there already.
    """
    name = written.card.id
    (made / _CARD_FILE).write_text(as_json(written) + "\n", encoding="utf-8")
    for path in made.iterdir():
        path.chmod(0o640)
        _sync(path)
    made.chmod(0o750)
    _sync(made)
    target = made.parent / name
    try:
        made.rename(target)
    except OSError as error:
        raise ImportRefused(f"a model called {name} is there already; choose another --name") from error
    _sync(made.parent)
    return read(target)


def withdraw(folder: Path, name: str) -> None:
    """Take a model away: at once nobody finds it any more, then its files go.

    Raises
    ------
    ModelStays
        The folder cannot be changed, and the model is where it was.
    """
    gone = folder / f".removed-{secrets.token_hex(8)}"
    try:
        (folder / name).rename(gone)
    except OSError as error:
        raise ModelStays(
            f"the folder of {name} cannot be removed ({error.strerror}); do so again once it can"
        ) from error
    _sync(folder)
    shutil.rmtree(gone, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _adapter() -> TypeAdapter[Written]:
    return TypeAdapter(Written)
