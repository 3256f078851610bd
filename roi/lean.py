"""Processes that receive and serve carry no pixels, and lay nothing out for a terminal.

Libraries load more where more is installed: pydicom numpy, Pillow, every codec and a client for downloads; structlog a
terminal's colours; SQLAlchemy what its asynchronous side needs.  They work without.  In a process that uses none of
it, that is 20 MB less, of 120.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

NOT_NEEDED: Final = ("numpy", "PIL", "requests", "rich", "greenlet")


def leave_out() -> None:
    """Let these count as not installed in this process from here on; processes that it starts have them."""
    for name in NOT_NEEDED:
        if name in sys.modules:
            raise ImportError(f"{name} is loaded already")
    sys.meta_path.insert(0, _NotInstalled())


class _NotInstalled:
    """Answers before those who look for modules on the disk."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:  # noqa: ARG002
        """Refuse what is left out, and know nothing of anything else."""
        if name.partition(".")[0] in NOT_NEEDED:
            raise ModuleNotFoundError(f"No module named {name!r} in a process that needs none", name=name)
