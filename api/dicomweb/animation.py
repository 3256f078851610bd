"""Still GIFs put together to a moving one (GIF89a), without decoding a pixel."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

_SCREEN: Final = Struct("<6sHHBBB")
_DESCRIPTOR: Final = Struct("<BHHHHB")
_CONTROL: Final = Struct("<BBBBHBB")
_LOOP: Final = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
_TRAILER: Final = b"\x3b"
_EXTENSION, _IMAGE = 0x21, 0x2C


def animated(pictures: Iterator[bytes], *, delay_ms: float) -> Iterator[bytes]:
    """Yield a GIF that shows `pictures` one after another, for ever, each for `delay_ms`.

    Each is a GIF of one image, and keeps its own colours.
    """
    control = _CONTROL.pack(_EXTENSION, 0xF9, 4, 0, round(delay_ms / 10), 0, 0)
    for number, picture in enumerate(pictures):
        _, width, height, flags, _, _ = _SCREEN.unpack_from(picture)
        if number == 0:
            yield _SCREEN.pack(b"GIF89a", width, height, 0x70, 0, 0) + _LOOP
        colours = 3 << (flags & 7) + 1 if flags & 0x80 else 0
        image = _image_at(picture, _SCREEN.size + colours)
        _, left, top, width, height, _ = _DESCRIPTOR.unpack_from(picture, image)
        head = _DESCRIPTOR.pack(_IMAGE, left, top, width, height, 0x80 | flags & 7)
        data = picture[image + _DESCRIPTOR.size : -1]
        yield control + head + picture[_SCREEN.size : _SCREEN.size + colours] + data
    yield _TRAILER


def _image_at(picture: bytes, position: int) -> int:
    """Return where the image begins, behind what extends it."""
    while picture[position] == _EXTENSION:
        position += 2
        while length := picture[position]:
            position += 1 + length
        position += 1
    return position
