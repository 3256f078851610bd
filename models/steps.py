"""What the steps of a chain do: from a volume or radiograph to the network's input, and from its logits to scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from models.chains import Parameter, Step, unknown
from models.contract import Radiograph, Volume
from models.errors import ChainInvalid

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class Frames:
    """What passes from step to step.

    `pixels` is float32, (slices, rows, columns) and, after a channel step, (items, channels, rows, columns).
    `source` says for each input slice which item it went into.
    """

    pixels: Floats
    spacing_mm: tuple[float, float, float]
    source: tuple[int, ...]


def prepare(image: Volume | Radiograph, steps: Sequence[Step]) -> Frames:
    """Run the steps before the network.

    Parameters
    ----------
    image
        A volume in Hounsfield units, or a radiograph in 0..1.
    steps
        `Chain.before`.

    Raises
    ------
    ChainInvalid
        A step that the vocabulary does not hold.
    """
    frames = _from_volume(image) if isinstance(image, Volume) else _from_radiograph(image)
    for step in steps:
        frames = _do(step, _BEFORE)(frames, step.parameters)
    return frames


def reduce_scores(logits: Floats, steps: Sequence[Step]) -> Floats:
    """Run the steps after the network: (items, findings) logits to (findings,) scores in 0..1.

    Raises
    ------
    ChainInvalid
        A step that the vocabulary does not hold.
    """
    for step in steps:
        logits = _do(step, _AFTER)(logits, step.parameters)
    return logits


def sigmoid(logits: Floats) -> Floats:
    """Give 1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64))), dtype=np.float32)


def _from_volume(image: Volume) -> Frames:
    return Frames(pixels=image.voxels, spacing_mm=image.spacing_mm, source=tuple(range(len(image.voxels))))


def _from_radiograph(image: Radiograph) -> Frames:
    return Frames(pixels=image.pixels[None], spacing_mm=(1.0, 1.0, 1.0), source=(0,))


# ------------------------------------------------------------------ before the network


def _slabs(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Average neighbouring thin slices to slabs of about `thickness_mm`; thick slices stay as they are."""
    each = max(1, round(_number(parameters, "thickness_mm") / frames.spacing_mm[0]))
    if each == 1:
        return frames
    starts = range(0, len(frames.pixels), each)
    slabs = np.empty((len(starts), *frames.pixels.shape[1:]), dtype=np.float32)
    for slab, first in zip(slabs, starts, strict=True):  # one at a time: each slice is read once, in the order it lies
        members = frames.pixels[first : first + each]
        np.add.reduce(members, axis=0, out=slab)
        np.divide(slab, np.float32(len(members)), out=slab)
    step, rows, columns = frames.spacing_mm
    source = tuple(item // each for item in frames.source)
    return Frames(pixels=slabs, spacing_mm=(step * each, rows, columns), source=source)


def _resample_in_plane(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Average to square pixels of `pixel_mm` on a centred grid of `size`, `outside` where the image ends."""
    size, pixel_mm, outside = (
        int(_number(parameters, "size")),
        *(_number(parameters, key) for key in ("pixel_mm", "outside")),
    )
    step, row_mm, column_mm = frames.spacing_mm
    pixels, covered = _average(frames.pixels, size, (row_mm / pixel_mm, column_mm / pixel_mm))
    pixels = pixels + np.float32(outside) * (1 - covered)
    return replace(frames, pixels=pixels, spacing_mm=(step, pixel_mm, pixel_mm))


def _windows_with_neighbours(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Make channels: the first window of the slice below, this slice and the slice above, then the others of this one.

    `windows` lists (level, width) in Hounsfield units; each is scaled to 0..1.  The first and last slice stand in for
    the neighbour they lack.
    """
    (level, width), *others = _pairs(parameters, "windows")
    first = _window(frames.pixels, level, width)
    below, above = np.concatenate([first[:1], first[:-1]]), np.concatenate([first[1:], first[-1:]])
    channels = [below, first, above, *(_window(frames.pixels, *other) for other in others)]
    return replace(frames, pixels=np.stack(channels, axis=1))


def _window(pixels: Floats, level: float, width: float) -> Floats:
    low = np.float32(level - width / 2)
    scaled: Floats = np.clip((pixels - low) * np.float32(1 / width), 0, 1)
    return scaled


def _stretch(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Stretch the grey values between the `low` and `high` percentile to 0..1, judged on at most 65,536 pixels."""
    pixels = frames.pixels
    every = max(1, int(np.sqrt(pixels[0].size / 65536)))
    low, high = np.percentile(pixels[:, ::every, ::every], [_number(parameters, "low"), _number(parameters, "high")])
    scaled = np.clip((pixels - np.float32(low)) * np.float32(1 / max(float(high - low), 1e-6)), 0, 1)
    return replace(frames, pixels=scaled)


def _pad_to_square(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Put the image in the middle of a square of `value`."""
    _, rows, columns = frames.pixels.shape
    side = max(rows, columns)
    above, left = (side - rows) // 2, (side - columns) // 2
    border = ((0, 0), (above, side - rows - above), (left, side - columns - left))
    value = np.float32(_number(parameters, "value"))
    return replace(frames, pixels=np.pad(frames.pixels, border, constant_values=value))


def _resize(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Average (or interpolate, where the image is smaller) to `size` rows and columns."""
    size = int(_number(parameters, "size"))
    _, rows, columns = frames.pixels.shape
    pixels, _ = _average(frames.pixels, size, (size / rows, size / columns))
    return replace(frames, pixels=pixels)


def _one_channel(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Add the channel axis."""
    del parameters
    return replace(frames, pixels=frames.pixels[:, None])


def _centre_square(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Cut the image to the square in its middle."""
    del parameters
    _, rows, columns = frames.pixels.shape
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return replace(frames, pixels=frames.pixels[:, top : top + side, left : left + side])


def _scale(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Scale 0..1 to `low`..`high`."""
    low, high = _number(parameters, "low"), _number(parameters, "high")
    return replace(frames, pixels=frames.pixels * np.float32(high - low) + np.float32(low))


def _normalised_channels(frames: Frames, parameters: Mapping[str, Parameter]) -> Frames:
    """Make a channel for each of `means`: the image less the mean, in units of the one of `deviations`."""
    means, deviations = _numbers(parameters, "means"), _numbers(parameters, "deviations")
    channels = [
        (frames.pixels - np.float32(mean)) / np.float32(deviation)
        for mean, deviation in zip(means, deviations, strict=True)
    ]
    return replace(frames, pixels=np.stack(channels, axis=1))


def _average(pixels: Floats, size: int, scales: tuple[float, float]) -> tuple[Floats, Floats]:
    """Give area averages on a centred grid of `size`, and the share of each new pixel that the image covers.

    `scales` are the sides of an old pixel in new ones, down and across.  Outside the image counts as 0.
    """
    _, rows, columns = pixels.shape
    down, across = _taps(rows, size, scales[0]), _taps(columns, size, scales[1])
    half = _average_rows(pixels, down)
    whole = _average_rows(half.swapaxes(1, 2), across).swapaxes(1, 2)
    return whole, np.outer(down[1].sum(axis=0), across[1].sum(axis=0))


def _average_rows(pixels: Floats, taps: tuple[Places, Floats]) -> Floats:
    pixels = np.ascontiguousarray(pixels)
    places, shares = taps
    total: Floats = pixels[:, places[0]] * shares[0][:, None]
    for place, share in zip(places[1:], shares[1:], strict=True):
        total += pixels[:, place] * share[:, None]
    return total


@lru_cache(maxsize=32)
def _taps(source: int, target: int, scale: float) -> tuple[Places, Floats]:
    """Give, for each new pixel, the old pixels below it and the share of it that each covers: two (taps, target)."""
    edges = (np.arange(source + 1) - source / 2) * scale + target / 2
    at = np.arange(target)[:, None]
    overlap = np.clip(np.minimum(edges[None, 1:], at + 1) - np.maximum(edges[None, :-1], at), 0, None)
    reach = max(1, int((overlap > 0).sum(axis=1).max()))
    first = np.minimum((overlap > 0).argmax(axis=1), source - reach)
    places = first[None, :] + np.arange(reach)[:, None]
    shares = np.take_along_axis(overlap, places.T, axis=1).T
    return places, shares.astype(np.float32)


# ------------------------------------------------------------------ after the network


def _to_probability(logits: Floats, parameters: Mapping[str, Parameter]) -> Floats:
    """Apply the logistic function."""
    del parameters
    return sigmoid(logits)


def _to_shares(logits: Floats, parameters: Mapping[str, Parameter]) -> Floats:
    """Apply softmax: what the outputs claim of 1."""
    del parameters
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def _heads(scores: Floats, parameters: Mapping[str, Parameter]) -> Floats:
    """Keep the outputs whose places `outputs` lists, in that order: the others were not trained, or find nothing."""
    places = [int(place) for place in _numbers(parameters, "outputs")]
    return scores[:, places]


def _operating_point_norm(scores: Floats, parameters: Mapping[str, Parameter]) -> Floats:
    """Bend each finding's scores so that its one of `thresholds` becomes 0.5 and 0 and 1 stay.

    As torchxrayvision's `op_norm` does: p / 2t below t, else 1 - (1 - p) / (2 (1 - t)).
    """
    thresholds = np.asarray(_numbers(parameters, "thresholds"), dtype=np.float64)
    p = scores.astype(np.float64)
    bent = np.where(p < thresholds, p / (2 * thresholds), 1 - (1 - p) / (2 * (1 - thresholds)))
    return np.asarray(bent, dtype=np.float32)


def _highest_run(scores: Floats, parameters: Mapping[str, Parameter]) -> Floats:
    """Give per finding the highest mean of `count` items in a row; of all items where they are fewer."""
    count = min(int(_number(parameters, "count")), len(scores))
    runs = np.lib.stride_tricks.sliding_window_view(scores, count, axis=0)
    highest: Floats = runs.mean(axis=-1, dtype=np.float64).max(axis=0).astype(np.float32)
    return highest


def _highest(scores: Floats, parameters: Mapping[str, Parameter]) -> Floats:
    """Give per finding the highest item."""
    del parameters
    highest: Floats = scores.max(axis=0)
    return highest


# ------------------------------------------------------------------ by name

Before = Callable[[Frames, Mapping[str, Parameter]], Frames]
After = Callable[[Floats, Mapping[str, Parameter]], Floats]

_BEFORE: Final[Mapping[str, Before]] = {
    "slabs": _slabs,
    "resample-in-plane": _resample_in_plane,
    "windows-with-neighbours": _windows_with_neighbours,
    "stretch": _stretch,
    "pad-to-square": _pad_to_square,
    "resize": _resize,
    "one-channel": _one_channel,
    "centre-square": _centre_square,
    "scale": _scale,
    "normalised-channels": _normalised_channels,
}
_AFTER: Final[Mapping[str, After]] = {
    "probability": _to_probability,
    "shares": _to_shares,
    "heads": _heads,
    "operating-point-norm": _operating_point_norm,
    "highest": _highest,
    "highest-run": _highest_run,
}

_Kind = TypeVar("_Kind")


def _do(step: Step, table: Mapping[str, _Kind]) -> _Kind:
    if step.name not in table:
        raise unknown(step.name, table)
    return table[step.name]


def _number(parameters: Mapping[str, Parameter], key: str) -> float:
    value = parameters.get(key)
    if not isinstance(value, int | float):
        raise ChainInvalid(f"a step wants the number {key!r}; got {value!r}")
    return float(value)


def _numbers(parameters: Mapping[str, Parameter], key: str) -> list[float]:
    value = parameters.get(key)
    if not isinstance(value, Sequence) or not all(isinstance(one, int | float) for one in value):
        raise ChainInvalid(f"a step wants numbers as {key!r}; got {value!r}")
    return [float(one) for one in value if isinstance(one, int | float)]


def _pairs(parameters: Mapping[str, Parameter], key: str) -> list[tuple[float, float]]:
    value = parameters.get(key)
    if not isinstance(value, Sequence) or not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in value):
        raise ChainInvalid(f"a step wants pairs of numbers as {key!r}; got {value!r}")
    return [(float(pair[0]), float(pair[1])) for pair in value if isinstance(pair, Sequence)]
