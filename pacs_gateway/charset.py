"""Text of a data set, by its (0008,0005) Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1.2).

pydicom knows the codecs; its own decoder warns where bytes do not fit, which a server may not do per instance.
"""

from __future__ import annotations

import re
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, default_encoding, python_encoding

_ESCAPED: Final = re.compile(rb"(?=\x1b)")
_RESET: Final = re.compile(rb"[\^=\\\r\n\t\f]")
_STATEFUL: Final = frozenset({"iso2022_jp", "iso2022_jp_2"})
"""Codecs that want the escape sequence left in place."""

_CONTROLS: Final = dict.fromkeys((*range(32), 127))


Encodings = tuple[str, ...]
"""Python codecs; the first holds until an escape sequence names another."""


def encodings_of(value: bytes) -> Encodings:
    """Return the Python codecs that a Specific Character Set names, the default one for what is unknown."""
    names = [part.strip() for part in value.decode("ascii", "replace").strip("\0 ").split("\\")]
    return tuple(python_encoding.get(_corrected(name), default_encoding) for name in names)


def _corrected(name: str) -> str:
    """Undo the usual misspellings: ``ISO IR 100``, ``ISO-2022-IR 87``."""
    name = re.sub(r"^ISO[ -]IR[ _-]", "ISO_IR ", name)
    return re.sub(r"^ISO[ _-]2022[ _-]IR[ _-]", "ISO 2022 IR ", name)


def decode_text(value: bytes, encodings: Encodings) -> str:
    """Decode `value`; what does not fit its codec is replaced, padding and control characters are dropped."""
    if b"\x1b" in value:
        parts = _ESCAPED.split(value)
        text = "".join(_decode_part(part, encodings[0]) for part in parts)
    else:
        text = value.decode(encodings[0], "replace")
    return (text if text.isprintable() else text.translate(_CONTROLS)).strip(" ")


def _decode_part(part: bytes, first: str) -> str:
    """Decode the bytes from one escape sequence to the next; a delimiter returns to the first codec."""
    if not part.startswith(b"\x1b"):
        return part.decode(first, "replace")
    length = 4 if part[:3] in {b"\x1b$(", b"\x1b$)"} else 3
    codec = CODES_TO_ENCODINGS.get(part[:length])
    if codec is None:
        return part.decode(first, "replace")
    if codec in _STATEFUL:
        return part.decode(codec, "replace")
    text = part[length:]
    reset = _RESET.search(text)
    split = reset.start() if reset else len(text)
    return text[:split].decode(codec, "replace") + text[split:].decode(first, "replace")
