"""Words in headers that tell what an image is, as tables: reconstruction kernels, derived images, contrast medium.

Header text is typed by people and copied between protocols, so a word can rule an input out and never in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal

Kernel = Literal["soft", "bone", "unknown"]

KERNELS: Mapping[Kernel, re.Pattern[str]] = {
    "bone": re.compile(r"BONE|EDGE|SHARP|LUNG|^(HR?|J|B[RVF]?|I)[5-9]\d|^U[5-9]0|^FC[358]\d|^Y[A-E]\b"),
    "soft": re.compile(r"STANDARD|SOFT|BRAIN|SMOOTH|^(H[RCV]?|J|B[RVF]?|I|T)[1-4]\d|^FC(0[1-9]|[126]\d)|^U[A-C]\b"),
}
"""Siemens H30s, Hr38, J40; GE STANDARD, BONE; Canon FC26, FC30; Philips UB, YB."""

DERIVED = frozenset(
    [
        "MIP",
        "MINIP",
        "MAXIP",
        "MPR",
        "MPVR",
        "REFORMATTED",
        "VRT",
        "SSD",
        "3D",
        "PERFUSION",
        "RCBF",
        "CBF",
        "RCBV",
        "CBV",
        "MTT",
        "TTP",
        "TMAX",
        "DOSE",
        "SCREENSAVE",
        "SECONDARY",
        "PROJECTION",
        "SUBTRACTION",
        "IODINE",
        "VNC",
        "MONOENERGETIC",
        "SUMMARY",
        "PASTED",
        "COLOR",
    ]
)
"""Words of (0008,0008) Image Type, after its first value, of what is computed from slices rather than reconstructed."""

DERIVED_TEXT = re.compile(r"\b(DOSE (REPORT|INFO|RECORD)|PATIENT PROTOCOL|SCREEN ?(SAVE|SHOT|CAPTURE)|MIP|VRT)\b")

_WITHOUT = re.compile(
    r"\bW ?/ ?O\b|\bWO\b|WITHOUT|\bNON?[- ]?(CONTRAST|CE|ENHANCED)\b|\bNCCT\b|\bPLAIN\b|KHONG (TIEM|THUOC|CAN QUANG)"
    r"|TRUOC (TIEM|THUOC)|\bC-(?!\w)"
)
_WITH = re.compile(
    r"(?<!\w)\+ ?C\b|\bC ?\+|\bCTA\b|\bCTP\b|\bCTV\b|\bPOST\b(?! ?-?(FOSSA|OP))|\bANGIO|CONTRAST|\bCE\b|ENHANCED"
    r"|\bARTERIAL\b|\bVENOUS\b|\bPORTAL\b|(CO|SAU) (TIEM|THUOC|CAN QUANG)|TIEM THUOC|CAN QUANG"
)
_NO_AGENT = frozenset({"", "NONE", "NO", "N", "NIL", "N/A", "NA", "KHONG"})


def kernel_kind(kernel: str) -> Kernel:
    """Tell whether a (0018,1210) Convolution Kernel is for soft tissue or for bone."""
    said = kernel.upper().strip()
    return next((kind for kind, signs in KERNELS.items() if signs.search(said)), "unknown")


def is_localizer(image_type: Iterable[str]) -> bool:
    """Tell whether an Image Type is a scout's."""
    return bool({"LOCALIZER", "SCOUT"} & set(image_type))


def is_derived(image_type: tuple[str, ...]) -> bool:
    """Tell whether an Image Type is that of a projection, reformat, map or screen save.

    Its first value alone does not count: DERIVED also says that slices were compressed with a loss.
    """
    words = {word for value in image_type[1:] for word in re.findall(r"[A-Z0-9]+", value.upper())}
    return bool(DERIVED & words) or {"SCREEN", "SAVE"} <= words


def says_contrast(agent: str, texts: Iterable[str]) -> bool:
    """Tell whether an agent or a description says that contrast medium was given.

    "C+", "CTA", "post", "sau tiêm" count, unless the same text also says "W/O", "non contrast", "không tiêm".
    """
    if _plain(agent) not in _NO_AGENT:
        return True
    return any(_WITH.search(text) and not _WITHOUT.search(text) for text in map(_plain, texts))


def _plain(text: str) -> str:
    """Give a text in capitals without marks: "tiêm thuốc" and "TIEM THUOC" are the same words."""
    apart = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(letter for letter in apart if not unicodedata.combining(letter)).upper().replace("_", " ").strip()
