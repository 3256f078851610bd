"""The forms in which a result can be told, known without the library that writes them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Final

FORMS: Final[Mapping[str, str]] = {
    "sr": "every run's report: what was found, what was not, why nothing could be said",
    "ko": "the key images of what was flagged",
    "sc": "the key image of what was flagged, with a banner burned in",
    "seg": "where a model that gives masks sees what it flagged",
}
"""Form -> what is told in it.  Which of them a site keeps is its setting `reports`."""


def available() -> bool:
    """Tell whether this installation can write result objects at all, without loading what writes them."""
    return importlib.util.find_spec("highdicom") is not None


def parse(text: str) -> tuple[str, ...]:
    """Return the forms named in a text, comma between; `ValueError` where one is not known."""
    named = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [part for part in named if part not in FORMS]
    if wrong:
        raise ValueError(f"{wrong[0]}: expected some of {', '.join(FORMS)}, comma between")
    return tuple(form for form in FORMS if form in named)
