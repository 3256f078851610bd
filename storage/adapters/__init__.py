"""Places that keep bytes: one file each, found by the scheme of the URL."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from storage.errors import Misconfigured

if TYPE_CHECKING:
    from storage.ports import ObjectStore


class AdapterFile(Protocol):
    """What `storage/adapters/<name>.py` offers."""

    SCHEMES: tuple[str, ...]

    def open_store(self, url: str, *, access_key: str | None = None, secret_key: str | None = None) -> ObjectStore:
        """Open the store that `url` names; `Misconfigured` where it cannot work."""
        ...


def open_store(url: str, *, access_key: str | None = None, secret_key: str | None = None) -> ObjectStore:
    """Open the object store that `url` names (``dir:///folder``, ``s3://bucket?endpoint=...``, ``memory:``).

    Raises
    ------
    Misconfigured
        The scheme is unknown, or the adapter cannot work with this URL.
    """
    scheme = urlsplit(url).scheme
    schemes: list[str] = []
    for module in pkgutil.iter_modules(__path__):
        # An adapter imports its library, so only the one that is asked for is imported whole.
        if scheme in (found := _SCHEMES_OF.get(module.name, (module.name,))):
            adapter: AdapterFile = importlib.import_module(f"{__name__}.{module.name}")
            return adapter.open_store(url, access_key=access_key, secret_key=secret_key)
        schemes.extend(found)
    raise Misconfigured(f"no object store for {scheme or url!r}: expected one of {', '.join(sorted(schemes))}")


_SCHEMES_OF = {"directory": ("dir",)}
"""Only where the scheme is not the file's name."""
