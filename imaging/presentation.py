"""A frame as a softcopy presentation state shows it (PS3.3 A.33, C.10 and C.11; PS3.4 N.2).

The state takes the place of all that the image itself says of its presentation: modality LUT, VOI, presentation LUT.
Then come its shutters and overlays, the area that it displays, rotation and flip, and what was drawn and written on it.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue

from imaging import display, overlays
from imaging.errors import DecodeRefused
from imaging.lettering import font, writable

if TYPE_CHECKING:
    from imaging.codecs import Samples
    from imaging.display import Shown
    from imaging.jobs import FrameForm, Presentation, Render

Point = tuple[float, float]
"""x to the right and y down, in pixels; the corner of the first pixel is 0, 0 (PS3.3 C.10.5.1.2)."""

COLOUR_SYNTAXES: Final = ("RGB", "YBR", "PALETTE")
_REPLACED: Final = (
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
_LARGEST_SIDE: Final = 8192
_DRAWN_SIDE: Final = 512
"""A small image is enlarged before anything is written on it, so that it can be read."""
_MOST_ENLARGED: Final = 8
_MOST_OBJECTS: Final = 2000
_MOST_LETTERS: Final = 1024
_ARC: Final = [2 * math.pi * step / 72 for step in range(73)]
_LETTERS: Final = (11, 40)
"""The least and the most height of letters, in pixels."""


def presented(job: Render, state: Presentation, samples: Samples) -> Shown:
    """Return a frame as the state presents it, 0 to 255.

    Raises
    ------
    DecodeRefused
        State or image cannot be read, or the state asks for what is not rendered here.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # pydicom warns of values that this passes over
        header = display.header_of(job)
        told = read_dataset(io.BytesIO(state.content), state.implicit, state.little)
        if "MaskSubtractionSequence" in told:
            raise DecodeRefused("under a state that subtracts a mask, which is not rendered here")
        scope = _Scope(uid=str(header.get("SOPInstanceUID", "")), frame=job.number)
        image = _levels(job, header, told, scope, samples)
        image = _shuttered(image, told, samples, job)
        image = _overlaid(image, told, header, samples, job)
        return _Sheet.of(image, told, scope).drawn(told)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scope:
    """The image and frame that is presented."""

    uid: str
    frame: int

    def items(self, told: Dataset, keyword: str) -> Iterator[Dataset]:
        """Yield the items of a sequence that hold for this image: those that name it, and those that name none."""
        for item in _items(told, keyword):
            named = _items(item, "ReferencedImageSequence")
            if not named or any(self._is_named(reference) for reference in named):
                yield item

    def _is_named(self, reference: Dataset) -> bool:
        frames = _numbers(reference, "ReferencedFrameNumber")
        return str(reference.get("ReferencedSOPInstanceUID", "")) == self.uid and (not frames or self.frame in frames)


# ----------------------------------------------------------------------------------------------------- grey levels
def _levels(job: Render, header: Dataset, told: Dataset, scope: _Scope, samples: Samples) -> Shown:
    if job.form.samples == 3 or job.form.photometric.startswith(COLOUR_SYNTAXES):
        return display.shown(job, samples)
    steered = copy(header)
    for keyword in _REPLACED:
        if keyword in steered:
            del steered[keyword]
    _copy(told, steered, "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
    voi = next(scope.items(told, "SoftcopyVOILUTSequence"), None)
    if voi is not None:
        _copy(voi, steered, "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction")
    elif job.picture.window is None:
        _show_all(steered, job.form)
    _copy(told, steered, "PresentationLUTShape")
    # P-values come from the state alone: the image's own MONOCHROME1 has no say (PS3.3 C.11.6.1.2).
    plain = replace(job, form=replace(job.form, photometric="MONOCHROME2"))
    grey = display.grey(plain, steered, samples)
    table = _presentation_table(told)
    return grey if table is None else np.take(table, grey)


def _show_all(steered: Dataset, form: FrameForm) -> None:
    """Have every value that the modality LUT can give shown, where the state has no VOI transformation."""
    if "ModalityLUTSequence" in steered or form.floating:
        return  # what is in use is shown, from least to most
    low, high = (
        (-(1 << form.bits_stored - 1), (1 << form.bits_stored - 1) - 1)
        if form.signed
        else (0, (1 << form.bits_stored) - 1)
    )
    slope, intercept = (
        _numbers(steered, name, float) or [default]
        for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    ends = low * slope[0] + intercept[0], high * slope[0] + intercept[0]
    steered.VOILUTFunction = "LINEAR_EXACT"
    steered.WindowCenter, steered.WindowWidth = sum(ends) / 2, abs(ends[1] - ends[0]) or 1.0


def _presentation_table(told: Dataset) -> Shown | None:
    """Return the presentation LUT over 256 levels, None where there is none that can be followed (PS3.3 C.11.4)."""
    for item in _items(told, "PresentationLUTSequence"):
        descriptor = _numbers(item, "LUTDescriptor")
        entries = display.entries(item.get("LUTData"), descriptor[0] or 65536) if len(descriptor) == 3 else None
        if entries is None or not 8 <= descriptor[2] <= 16:
            return None
        place = np.rint(np.arange(256) / 255 * (len(entries) - 1)).astype(np.int64)
        level = np.rint(entries[place] / ((1 << descriptor[2]) - 1) * 255)
        return np.asarray(level.clip(0, 255), dtype=np.uint8)
    return None


# ----------------------------------------------------------------------------------------------------- on the pixels
def _shuttered(image: Shown, told: Dataset, samples: Samples, job: Render) -> Shown:
    """Cover what lies outside the shutters (PS3.3 C.7.6.11, C.7.6.15)."""
    shapes = set(_texts(told, "ShutterShape"))
    if not shapes:
        return image
    rows, columns = np.ogrid[1 : image.shape[0] + 1, 1 : image.shape[1] + 1]
    open_ = np.ones(image.shape[:2], dtype=bool)
    edges = [
        _numbers(told, name)
        for name in (
            "ShutterLeftVerticalEdge",
            "ShutterRightVerticalEdge",
            "ShutterUpperHorizontalEdge",
            "ShutterLowerHorizontalEdge",
        )
    ]
    if "RECTANGULAR" in shapes and all(edges):
        left, right, upper, lower = (edge[0] for edge in edges)
        open_ &= (columns >= left) & (columns <= right) & (rows >= upper) & (rows <= lower)
    centre, radius = _numbers(told, "CenterOfCircularShutter"), _numbers(told, "RadiusOfCircularShutter")
    if "CIRCULAR" in shapes and len(centre) == 2 and radius:
        open_ &= (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius[0] ** 2
    vertices = _numbers(told, "VerticesOfThePolygonalShutter")
    if "POLYGONAL" in shapes and len(vertices) >= 6:
        inside = Image.new("1", (image.shape[1], image.shape[0]))
        pairs = [(vertices[place + 1] - 1, vertices[place] - 1) for place in range(0, len(vertices) - 1, 2)]
        ImageDraw.Draw(inside).polygon(pairs, fill=1)
        open_ &= np.asarray(inside)
    group = (_numbers(told, "ShutterOverlayGroup") or [0])[0]
    if "BITMAP" in shapes and group:
        for found, mask in overlays.planes(told, samples, job.number):
            open_ &= ~mask if found == group else True
    covered = image.copy()
    covered[~open_] = (_numbers(told, "ShutterPresentationValue") or [0])[0] >> 8
    return covered


def _overlaid(image: Shown, told: Dataset, header: Dataset, samples: Samples, job: Render) -> Shown:
    """Draw the overlays that the state activates: the image's, and its own (PS3.3 C.11.7)."""
    shades = _shades(told)
    for holder in (header, told):
        for group, mask in overlays.planes(holder, samples, job.number):
            layer = str(told[group, 0x1001].value) if (group, 0x1001) in told else ""
            if layer:
                image = overlays.drawn(image, mask, shades.get(layer, 255))
    return image


def _shades(told: Dataset) -> dict[str, int]:
    """Return the grey of each graphic layer."""
    return {
        str(layer.get("GraphicLayer", "")): (
            _numbers(layer, "GraphicLayerRecommendedDisplayGrayscaleValue") or [0xFFFF]
        )[0]
        >> 8
        for layer in _items(told, "GraphicLayerSequence")
    }


# ----------------------------------------------------------------------------------------------------- on the sheet
@dataclass(frozen=True, kw_only=True, slots=True)
class _Sheet:
    """The displayed area, turned as the state says, with its way from the image's pixels to its own."""

    image: Image.Image
    left: float
    top: float
    across: float
    down: float
    turns: int
    mirrored: bool
    scope: _Scope

    @classmethod
    def of(cls, image: Shown, told: Dataset, scope: _Scope) -> _Sheet:
        left, top, right, bottom, stretch = _area(told, scope, image.shape)
        width, height = right - left, bottom - top
        part = Image.new("RGB" if image.ndim == 3 else "L", (width, height))
        part.paste(Image.fromarray(image), (-left, -top))
        factor = _enlarged(told, max(width, height))
        size = max(1, round(width * factor)), max(1, round(height * factor * stretch))
        if size != part.size:
            part = part.resize(size, Image.Resampling.BILINEAR)
        across, down = part.size[0] / width, part.size[1] / height
        turns = (_numbers(told, "ImageRotation") or [0])[0] % 360 // 90
        mirrored = str(told.get("ImageHorizontalFlip", "N")) == "Y"
        if turns:
            part = part.transpose(_CLOCKWISE[turns])
        if mirrored:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return cls(
            image=part, left=left, top=top, across=across, down=down, turns=turns, mirrored=mirrored, scope=scope
        )

    def drawn(self, told: Dataset) -> Shown:
        """Return the sheet with the state's annotations (PS3.3 C.10.5)."""
        shades, pen = _shades(told), ImageDraw.Draw(self.image)
        left = _MOST_OBJECTS
        for annotation in self.scope.items(told, "GraphicAnnotationSequence"):
            shade = shades.get(str(annotation.get("GraphicLayer", "")), 255)
            objects = [*_items(annotation, "GraphicObjectSequence")]
            texts = [*_items(annotation, "TextObjectSequence")]
            left -= len(objects) + len(texts)
            if left < 0:
                raise DecodeRefused(f"under a state with more than {_MOST_OBJECTS} drawings")
            for each in objects:
                self._draw(pen, each, self._ink(shade))
            for each in texts:
                self._write(pen, each, self._ink(shade))
        return np.asarray(self.image)

    def _ink(self, shade: int) -> int | tuple[int, int, int]:
        return shade if self.image.mode == "L" else (shade, shade, shade)

    def _place(self, x: float, y: float, units: str) -> Point:
        """Return where a point lies: in pixels of the image, or in parts of the area as it is displayed."""
        if units == "DISPLAY":
            return x * self.image.size[0], y * self.image.size[1]
        width, height = self.image.size if self.turns % 2 == 0 else self.image.size[::-1]
        along, below = (x - self.left) * self.across, (y - self.top) * self.down
        turned = ((along, below), (height - below, along), (width - along, height - below), (below, width - along))
        placed = turned[self.turns]
        return (self.image.size[0] - placed[0], placed[1]) if self.mirrored else placed

    def _draw(self, pen: ImageDraw.ImageDraw, each: Dataset, ink: Any) -> None:  # noqa: ANN401 - a level, or three
        data, kind = _numbers(each, "GraphicData", float), str(each.get("GraphicType", ""))
        units = str(each.get("GraphicAnnotationUnits", "PIXEL"))
        points = [(data[at], data[at + 1]) for at in range(0, len(data) - 1, 2)]
        outline = _OUTLINES.get(kind, _as_it_is)(points)
        placed = [self._place(x, y, units) for x, y in outline]
        if len(placed) == 1 or kind == "POINT":
            for x, y in placed:
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), outline=ink)
        elif placed and str(each.get("GraphicFilled", "N")) == "Y":
            pen.polygon(placed, fill=ink)
        elif placed:
            pen.line(placed, fill=ink, width=2)

    def _write(self, pen: ImageDraw.ImageDraw, each: Dataset, ink: Any) -> None:  # noqa: ANN401 - as above
        text = str(each.get("UnformattedTextValue", ""))[:_MOST_LETTERS]
        lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
        if not lines:
            return
        corners = [_numbers(each, f"BoundingBox{corner}HandCorner", float) for corner in ("TopLeft", "BottomRight")]
        anchor = _numbers(each, "AnchorPoint", float)
        foot = (
            self._place(anchor[0], anchor[1], str(each.get("AnchorPointAnnotationUnits", "PIXEL")))
            if len(anchor) == 2
            else None
        )
        height = 18
        if all(len(corner) == 2 for corner in corners):
            units = str(each.get("BoundingBoxAnnotationUnits", "PIXEL"))
            (one, two) = (self._place(corner[0], corner[1], units) for corner in corners)
            start = min(one[0], two[0]), min(one[1], two[1])
            height = int(abs(one[1] - two[1]) / len(lines) * 0.8)
            if foot is not None and str(each.get("AnchorPointVisibility", "N")) == "Y":
                pen.line([start, foot], fill=ink)
        elif foot is not None:
            start = foot[0] + 4, foot[1] - height / 2
        else:
            return
        size = min(max(height, _LETTERS[0]), _LETTERS[1])
        for number, line in enumerate(lines):
            pen.text((start[0], start[1] + number * size * 1.2), writable(line), fill=ink, font=font(size))


_CLOCKWISE: Final = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_90}
"""Quarter turns clockwise, as Pillow counts them the other way round."""


def _area(told: Dataset, scope: _Scope, shape: Sequence[int]) -> tuple[int, int, int, int, float]:
    """Return left, top, right and bottom of the displayed area, and how much taller than wide a pixel is."""
    whole = 0, 0, int(shape[1]), int(shape[0])
    item = next(scope.items(told, "DisplayedAreaSelectionSequence"), None)
    if item is None:
        return *whole, 1.0
    first, last = (_numbers(item, f"DisplayedArea{corner}HandCorner") for corner in ("TopLeft", "BottomRight"))
    pairs = _numbers(item, "PresentationPixelSpacing", float) or _numbers(item, "PresentationPixelAspectRatio", float)
    stretch = pairs[0] / pairs[1] if len(pairs) == 2 and min(pairs) > 0 and 0.1 <= pairs[0] / pairs[1] <= 10 else 1.0
    if len(first) != 2 or len(last) != 2:
        return *whole, stretch
    left, right = sorted((first[0], last[0]))
    top, bottom = sorted((first[1], last[1]))
    if right - left >= _LARGEST_SIDE or bottom - top >= _LARGEST_SIDE:
        return *whole, stretch
    return left - 1, top - 1, right, bottom, stretch


def _enlarged(told: Dataset, side: int) -> float:
    annotated = any(True for _ in _items(told, "GraphicAnnotationSequence"))
    return min(max(1.0, _DRAWN_SIDE / side), _MOST_ENLARGED) if annotated else 1.0


def _as_it_is(points: list[Point]) -> list[Point]:
    return points


def _circle(points: list[Point]) -> list[Point]:
    """Return a circle about the first point through the second."""
    if len(points) != 2:
        return []
    (x, y), radius = points[0], math.dist(*points)
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in _ARC]


def _ellipse(points: list[Point]) -> list[Point]:
    """Return an ellipse by the ends of its major axis, then of its minor axis."""
    if len(points) != 4:
        return []
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    x, y = (ax + bx) / 2, (ay + by) / 2
    major, minor = ((bx - ax) / 2, (by - ay) / 2), ((dx - cx) / 2, (dy - cy) / 2)
    return [
        (x + major[0] * math.cos(at) + minor[0] * math.sin(at), y + major[1] * math.cos(at) + minor[1] * math.sin(at))
        for at in _ARC
    ]


_OUTLINES: Final = {"CIRCLE": _circle, "ELLIPSE": _ellipse}
"""Graphic Type -> the line that draws it; POLYLINE and INTERPOLATED go from point to point."""


# ----------------------------------------------------------------------------------------------------- attributes
def _items(place: Dataset, keyword: str) -> list[Dataset]:
    sequence = place.get(keyword)
    return [item for item in sequence if isinstance(item, Dataset)] if isinstance(sequence, list | Sequence) else []


def _copy(source: Dataset, target: Dataset, *keywords: str) -> None:
    for keyword in keywords:
        if keyword in source:
            target[keyword] = source[keyword]


def _numbers(place: Dataset, keyword: str, kind: type[Any] = int) -> list[Any]:
    """Return the values of an attribute, none where one of them is no number that can be worked with."""
    found = place.get(keyword)
    values = list(found) if isinstance(found, MultiValue | list | tuple) else [] if found in (None, "") else [found]
    try:
        numbers = [kind(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if all(abs(number) < 1e9 for number in numbers) else []


def _texts(place: Dataset, keyword: str) -> list[str]:
    found = place.get(keyword)
    return [str(value) for value in found] if isinstance(found, MultiValue | list) else [str(found)] if found else []
