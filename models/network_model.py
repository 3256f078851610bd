"""A triage model that is a network between two chains."""

from __future__ import annotations

from collections.abc import Sequence
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
        [prediction] = self.predict_many([image], items_at_once=ITEMS_AT_ONCE)
        return prediction

    def predict_many(self, images: Sequence[Volume | Radiograph], *, items_at_once: int) -> list[Prediction]:
        """Score inputs in one pass, at most `items_at_once` slices or images in the network at a time."""
        prepared = [prepare(image, self.chain.before) for image in images]
        pixels = prepared[0].pixels if len(prepared) == 1 else np.concatenate([each.pixels for each in prepared])
        logits = forward(
            self.network, pixels, device=self.device, mirrored=self.chain.mirrored, items_at_once=items_at_once
        )
        ends = np.cumsum([len(each.pixels) for each in prepared])[:-1]
        return [
            self._prediction(image, frames, of_image)
            for image, frames, of_image in zip(images, prepared, np.split(logits, ends), strict=True)
        ]

    def _prediction(self, image: Volume | Radiograph, frames: Frames, logits: Floats) -> Prediction:
        codes = [finding.code for finding in self.card.findings]
        scores = dict(zip(codes, map(float, reduce_scores(logits, self.chain.after)), strict=True))
        if isinstance(image, Radiograph):
            return Prediction(scores=scores, key_instance_uids=dict.fromkeys(codes, image.instance_uid))
        by_slice = sigmoid(logits)[list(frames.source)]
        return Prediction(
            scores=scores,
            key_instance_uids={
                code: image.instance_uids[_middle_of_highest(frames, logits[:, index])]
                for index, code in enumerate(codes)
            },
            slice_scores={code: tuple(map(float, by_slice[:, index])) for index, code in enumerate(codes)},
        )


def _middle_of_highest(frames: Frames, logits: Floats) -> int:
    """Give the input slice in the middle of the item that scored highest."""
    into = np.flatnonzero(np.asarray(frames.source) == int(logits.argmax()))
    return int(into[len(into) // 2])


def forward(
    network: torch.nn.Module,
    pixels: Floats,
    *,
    device: str,
    mirrored: bool = False,
    items_at_once: int = ITEMS_AT_ONCE,
) -> Floats:
    """Give the logits, (items, findings) float32, of a network in evaluation mode; see `Chain.mirrored`."""
    import torch

    with torch.inference_mode(), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        found = []
        for batch in torch.from_numpy(np.ascontiguousarray(pixels)).split(items_at_once):
            seen = batch.to(device)
            logits = network(seen).float()
            if mirrored:
                logits = (logits + network(seen.flip(-1)).float()) / 2
            found.append(logits.cpu())
        joined: Floats = torch.cat(found).numpy()
    return joined
