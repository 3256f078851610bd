"""A triage model that is a network between two chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.chains import Chain
from models.contract import ModelCard, Prediction, Radiograph, Volume
from models.steps import Floats, Frames, prepare, reduce_scores, sigmoid

if TYPE_CHECKING:
    import torch

    from models.ood import KnownFeatures

ITEMS_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkModel:
    """A `TriageModel`: chain, network, chain.  Output k of the network is finding k of the card."""

    card: ModelCard
    chain: Chain
    network: torch.nn.Module
    device: str
    known: KnownFeatures | None = None

    def predict(self, image: Volume | Radiograph) -> Prediction:
        """Score one input; the same input gives the same bits on the same build, threads and device."""
        [prediction] = self.predict_many([image], items_at_once=ITEMS_AT_ONCE)
        return prediction

    def predict_many(self, images: Sequence[Volume | Radiograph], *, items_at_once: int) -> list[Prediction]:
        """Score inputs in one pass, at most `items_at_once` slices or images in the network at a time."""
        prepared = [prepare(image, self.chain.before) for image in images]
        pixels = prepared[0].pixels if len(prepared) == 1 else np.concatenate([each.pixels for each in prepared])
        seen = look(self.network, pixels, device=self.device, mirrored=self.chain.mirrored, items_at_once=items_at_once)
        batches = _batches(len(pixels), items_at_once)
        ends = np.cumsum([len(each.pixels) for each in prepared])
        return [
            self._prediction(image, frames, seen.of(int(end) - len(frames.pixels), int(end)), batches)
            for image, frames, end in zip(images, prepared, ends, strict=True)
        ]

    def _prediction(
        self, image: Volume | Radiograph, frames: Frames, seen: Seen, batches: tuple[int, ...]
    ) -> Prediction:
        logits, distance = seen.logits, self._distance(seen)
        codes = [finding.code for finding in self.card.findings]
        scores = dict(zip(codes, map(float, reduce_scores(logits, self.chain.after)), strict=True))
        if isinstance(image, Radiograph):
            keys = dict.fromkeys(codes, image.instance_uid)
            return Prediction(scores=scores, key_instance_uids=keys, batches=batches, distance=distance)
        by_slice = sigmoid(logits)[list(frames.source)]
        return Prediction(
            scores=scores,
            key_instance_uids={
                code: image.instance_uids[_middle_of_highest(frames, logits[:, index])]
                for index, code in enumerate(codes)
            },
            slice_scores={code: tuple(map(float, by_slice[:, index])) for index, code in enumerate(codes)},
            batches=batches,
            distance=distance,
        )

    def _distance(self, seen: Seen) -> float | None:
        return self.known.distance(seen.features) if self.known is not None else None


def _batches(items: int, at_once: int) -> tuple[int, ...]:
    """Give the sizes in which `look` takes so many items."""
    return tuple(min(at_once, items - first) for first in range(0, items, at_once))


def _middle_of_highest(frames: Frames, logits: Floats) -> int:
    """Give the input slice in the middle of the item that scored highest."""
    into = np.flatnonzero(np.asarray(frames.source) == int(logits.argmax()))
    return int(into[len(into) // 2])


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one pass gives: logits, (items, findings), and what its last layer saw, (items, features), both float32."""

    logits: Floats
    features: Floats

    def of(self, first: int, end: int) -> Seen:
        """Give what was seen of the items from `first` up to `end`."""
        return Seen(logits=self.logits[first:end], features=self.features[first:end])


def forward(network: torch.nn.Module, pixels: Floats, *, device: str, mirrored: bool = False) -> Floats:
    """Give the logits alone; see `look`."""
    return look(network, pixels, device=device, mirrored=mirrored).logits


def look(
    network: torch.nn.Module,
    pixels: Floats,
    *,
    device: str,
    mirrored: bool = False,
    items_at_once: int = ITEMS_AT_ONCE,
) -> Seen:
    """Show items to a network in evaluation mode, `items_at_once`; see `Chain.mirrored`.

    The features are those that the network's last linear layer is given: pooled, before anything is decided.  A
    network without one gives its logits as features.
    """
    import torch

    linear = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    given: list[torch.Tensor] = []
    listening = (
        linear[-1].register_forward_pre_hook(lambda _, arguments: given.append(arguments[0].float()))
        if linear
        else network.register_forward_hook(lambda _, __, result: given.append(result.float()))
    )
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
            found, features = [], []
            for batch in torch.from_numpy(np.ascontiguousarray(pixels)).split(items_at_once):
                seen = batch.to(device)
                logits = network(seen).float()
                if mirrored:
                    logits = (logits + network(seen.flip(-1)).float()) / 2
                found.append(logits.cpu())
                features.append((sum(given[1:], given[0]) / len(given)).cpu())
                given.clear()
            return Seen(logits=torch.cat(found).numpy(), features=torch.cat(features).numpy())
    finally:
        listening.remove()
