"""Processes that receive and serve carry no pixels, and lay nothing out for a terminal.

Libraries load more where more is installed: pydicom numpy, Pillow, every codec and a client for downloads; structlog a
terminal's colours; SQLAlchemy what its asynchronous side needs.  They work without.  In a process that uses none of
it, that is 20 MB less, of 120.
"""

from __future__ import annotations

import sys
from typing import Final

NOT_NEEDED: Final = ("numpy", "PIL", "requests", "rich", "greenlet")


def leave_out() -> None:
    """Let these count as not installed in this process from here on; processes that it starts have them."""
    for name in NOT_NEEDED:
        if name in sys.modules:
            raise ImportError(f"{name} is loaded already")
        sys.modules[name] = None  # type: ignore[assignment]  # what `import` takes for "not there"
