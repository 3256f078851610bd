"""Real chest radiographs with labels, in the layout of the NIH ChestX-ray14 release: PNG files and a label table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import imagecodecs
import numpy as np

from models.contract import Radiograph

LABELS: Mapping[str, frozenset[str]] = {
    "pneumothorax": frozenset({"Pneumothorax"}),
    "effusion": frozenset({"Effusion"}),
    "opacity": frozenset({"Consolidation", "Infiltration", "Pneumonia", "Mass", "Nodule", "Atelectasis", "Edema"}),
}
"""Which of the release's labels count as each of our findings."""


def read_labelled(folder: Path) -> tuple[list[Radiograph], list[frozenset[str]]]:
    """Give the images that `labels.csv` in the folder lists, and each one's labels.

    Raises
    ------
    FileNotFoundError
        The folder, its table or an image is absent.
    """
    images, labels = [], []
    with (folder / "labels.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            images.append(read_image(folder / row["file"], row["view"]))
            labels.append(frozenset(row["finding_labels"].split("|")))
    return images, labels


def read_image(path: Path, view: str | None = None) -> Radiograph:
    """Give one PNG file as a radiograph."""
    grey = imagecodecs.png_decode(path.read_bytes())
    grey = grey[..., 0] if grey.ndim == 3 else grey
    pixels = grey.astype(np.float32) / np.float32(np.iinfo(grey.dtype).max)
    return Radiograph(pixels=pixels, instance_uid=path.stem, view=view)
