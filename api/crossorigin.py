"""CORS: which other sites' pages may use DICOMweb here (W-12); none, unless a site's settings name it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.types import Scope

ROOT: Final = "/dicom-web"
VARY: Final = "Accept, Accept-Encoding, Authorization"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS"})
"""What such a page may do: to remove something is not among it."""

_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": ", ".join(sorted(METHODS)),
    "Access-Control-Allow-Headers": "Authorization, Accept, Content-Type, If-None-Match, Range",
    "Access-Control-Max-Age": "600",
}
_EXPOSED: Final = "Content-Type, Content-Length, ETag, Warning, Location, Content-Location"


class CrossOrigin:
    """An allow-list of origins (scheme, host and port)."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def admits(self, scope: Scope) -> bool:
        """Tell whether a request comes from an allowed page, asks for DICOMweb, and only what is open to it."""
        return (
            scope["method"] in METHODS
            and self._covers(scope)
            and Headers(scope=scope).get("origin", "") in self._origins
        )

    def headers(self, scope: Scope) -> dict[str, str]:
        """Return what an answer to this request carries."""
        if not (self._origins and self._covers(scope)):
            return {}
        if not self.admits(scope):
            return {"Vary": f"{VARY}, Origin"}
        return {
            "Access-Control-Allow-Origin": Headers(scope=scope)["origin"],
            "Access-Control-Expose-Headers": _EXPOSED,
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Vary": f"{VARY}, Origin",
        }

    def preflight(self) -> dict[str, str]:
        """Return what the answer to an allowed preflight carries beside `headers`."""
        return _PREFLIGHT

    def _covers(self, scope: Scope) -> bool:
        path = str(scope["path"])
        return path == ROOT or path.startswith(f"{ROOT}/")


def is_preflight(scope: Scope) -> bool:
    """Tell a browser's question from a client's OPTIONS (W-8)."""
    headers = Headers(scope=scope)
    return scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
