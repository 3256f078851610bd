"""Drawing on a pixel grid: soft edges, blur, grain and enlargement, in plain NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float32]


def soft(depth: Grid, width: float) -> Grid:
    """Give 1 where `depth` is inside (positive), 0 outside, with a linear edge of `width` around zero."""
    cover: Grid = np.clip(depth * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return cover


def bump(distance: Grid, width: float) -> Grid:
    """Give a smooth ridge: 1 at `distance` zero, falling like a Gaussian of `width`."""
    scaled = distance * np.float32(1 / width)
    return np.exp(np.float32(-0.5) * scaled * scaled)


def paint(image: Grid, alpha: Grid, value: Grid | float) -> None:
    """Lay `value` over `image` in place where `alpha` (0..1) covers it."""
    image += alpha * (np.float32(value) - image if isinstance(value, float) else value - image)


def blur(image: Grid, sigma_px: float) -> Grid:
    """Give the image (or stack) convolved with a Gaussian of `sigma_px` along its last two axes."""
    reach = max(1, round(3 * sigma_px))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (-1, -2):
        image = _convolve(image, kernel, axis)
    return image


def _convolve(image: Grid, kernel: Grid, axis: int) -> Grid:
    reach, length = len(kernel) // 2, image.shape[axis]
    padding = [(0, 0)] * image.ndim
    padding[axis] = (reach, reach)
    padded = np.moveaxis(np.pad(image, padding, mode="edge"), axis, 0)
    total = kernel[0] * padded[:length]
    for offset in range(1, len(kernel)):
        total += kernel[offset] * padded[offset : offset + length]
    return np.ascontiguousarray(np.moveaxis(total, 0, axis))


def grain(rng: np.random.Generator, size: int, sigma_px: float) -> Grid:
    """Give square Gaussian noise of unit variance whose neighbours are alike over about `sigma_px` pixels."""
    white: Grid = rng.standard_normal((size, size), dtype=np.float32)
    field: Grid = blur(white, sigma_px)
    field *= np.float32(1 / float(field.std()))
    return field


def mottle(rng: np.random.Generator, size: int, cell_px: int) -> Grid:
    """Give a smooth square random field of about unit variance with lumps of `cell_px` pixels."""
    nodes = size // cell_px + 2
    coarse: Grid = rng.standard_normal((nodes, nodes), dtype=np.float32)
    return _between(_between(coarse, size).T, size) * np.float32(1.4)


def _between(nodes: Grid, size: int) -> Grid:
    """Give `size` rows that go smoothly from each row of `nodes` to the next."""
    at = np.linspace(0, len(nodes) - 1.001, size)
    low = at.astype(np.intp)
    share = at - low
    weight: Grid = (share * share * (3 - 2 * share)).astype(np.float32)[:, None]
    rows: Grid = nodes[low] * (1 - weight) + nodes[low + 1] * weight
    return rows


def enlarge(image: Grid) -> Grid:
    """Give the image (or stack) at twice the rows and columns, bilinear, with pixel centres kept in place."""
    for axis in (-1, -2):
        image = _double(image, axis)
    return image


def _double(image: Grid, axis: int) -> Grid:
    near = np.moveaxis(image, axis, 0)
    before = np.concatenate([near[:1], near[:-1]])
    after = np.concatenate([near[1:], near[-1:]])
    doubled = np.empty((2 * near.shape[0], *near.shape[1:]), dtype=np.float32)
    doubled[0::2] = np.float32(0.75) * near + np.float32(0.25) * before
    doubled[1::2] = np.float32(0.75) * near + np.float32(0.25) * after
    return np.ascontiguousarray(np.moveaxis(doubled, 0, axis))
