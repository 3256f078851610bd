"""A triage model that is a network between two chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.chains import Chain, Floats, Frames, prepare, reduce_scores, sigmoid
from models.contract import ModelCard, Prediction, Radiograph, Volume

if TYPE_CHECKING:
    import torch

ITEMS_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkModel:
    """A `TriageModel`: chain, network, chain.  Output k of the network is finding k of the card."""

    card: ModelCard
    chain: Chain
    network: torch.nn.Module
    device: str

    def predict(self, image: Volume | Radiograph) -> Prediction:
        """Score one input; the same input gives the same bits on the same build, threads and device."""
        frames = prepare(image, self.chain.before)
        logits = forward(self.network, frames.pixels, device=self.device, mirrored=self.chain.mirrored)
        codes = [finding.code for finding in self.card.findings]
        scores = dict(zip(codes, map(float, reduce_scores(logits, self.chain.after)), strict=True))
        if isinstance(image, Radiograph):
            keys = dict.fromkeys(codes, image.instance_uid)
            return Prediction(scores=scores, key_instance_uids=keys, batches=_batches(len(frames.pixels)))
        by_slice = sigmoid(logits)[list(frames.source)]
        return Prediction(
            scores=scores,
            key_instance_uids={
                code: image.instance_uids[_middle_of_highest(frames, logits[:, index])]
                for index, code in enumerate(codes)
            },
            slice_scores={code: tuple(map(float, by_slice[:, index])) for index, code in enumerate(codes)},
            batches=_batches(len(frames.pixels)),
        )


def _batches(items: int) -> tuple[int, ...]:
    """Give the sizes in which `forward` takes so many items."""
    return tuple(min(ITEMS_AT_ONCE, items - first) for first in range(0, items, ITEMS_AT_ONCE))


def _middle_of_highest(frames: Frames, logits: Floats) -> int:
    """Give the input slice in the middle of the item that scored highest."""
    into = np.flatnonzero(np.asarray(frames.source) == int(logits.argmax()))
    return int(into[len(into) // 2])


def forward(network: torch.nn.Module, pixels: Floats, *, device: str, mirrored: bool = False) -> Floats:
    """Give the logits, (items, findings) float32, of a network in evaluation mode; see `Chain.mirrored`."""
    import torch

    with torch.inference_mode(), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        found = []
        for batch in torch.from_numpy(np.ascontiguousarray(pixels)).split(ITEMS_AT_ONCE):
            seen = batch.to(device)
            logits = network(seen).float()
            if mirrored:
                logits = (logits + network(seen.flip(-1)).float()) / 2
            found.append(logits.cpu())
        joined: Floats = torch.cat(found).numpy()
    return joined
