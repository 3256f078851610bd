"""A triage model that is a network between two chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.chains import Chain, Floats, Frames, prepare, reduce_scores, sigmoid
from models.contract import ModelCard, Prediction, Radiograph, Volume

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
        frames = prepare(image, self.chain.before)
        seen = look(self.network, frames.pixels, device=self.device, mirrored=self.chain.mirrored)
        logits, distance = seen.logits, self._distance(seen)
        codes = [finding.code for finding in self.card.findings]
        scores = dict(zip(codes, map(float, reduce_scores(logits, self.chain.after)), strict=True))
        if isinstance(image, Radiograph):
            keys = dict.fromkeys(codes, image.instance_uid)
            batches = _batches(len(frames.pixels))
            return Prediction(scores=scores, key_instance_uids=keys, batches=batches, distance=distance)
        by_slice = sigmoid(logits)[list(frames.source)]
        return Prediction(
            scores=scores,
            key_instance_uids={
                code: image.instance_uids[_middle_of_highest(frames, logits[:, index])]
                for index, code in enumerate(codes)
            },
            slice_scores={code: tuple(map(float, by_slice[:, index])) for index, code in enumerate(codes)},
            batches=_batches(len(frames.pixels)),
            distance=distance,
        )

    def _distance(self, seen: Seen) -> float | None:
        return self.known.distance(seen.features) if self.known is not None else None


def _batches(items: int) -> tuple[int, ...]:
    """Give the sizes in which `forward` takes so many items."""
    return tuple(min(ITEMS_AT_ONCE, items - first) for first in range(0, items, ITEMS_AT_ONCE))


def _middle_of_highest(frames: Frames, logits: Floats) -> int:
    """Give the input slice in the middle of the item that scored highest."""
    into = np.flatnonzero(np.asarray(frames.source) == int(logits.argmax()))
    return int(into[len(into) // 2])


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one pass gives: logits, (items, findings), and what its last layer saw, (items, features), both float32."""

    logits: Floats
    features: Floats


def forward(network: torch.nn.Module, pixels: Floats, *, device: str, mirrored: bool = False) -> Floats:
    """Give the logits alone; see `look`."""
    return look(network, pixels, device=device, mirrored=mirrored).logits


def look(network: torch.nn.Module, pixels: Floats, *, device: str, mirrored: bool = False) -> Seen:
    """Show items to a network in evaluation mode, once; see `Chain.mirrored`.

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
        with torch.inference_mode(), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
            found, features = [], []
            for batch in torch.from_numpy(np.ascontiguousarray(pixels)).split(ITEMS_AT_ONCE):
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
