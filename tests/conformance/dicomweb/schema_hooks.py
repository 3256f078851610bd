"""What a schema-driven client has to be told of DICOMweb: how its bodies are written, and what is kept here.

Loaded by `schemathesis` (``SCHEMATHESIS_HOOKS``) in the run of `test_schema`.
"""

from __future__ import annotations

import os
from typing import Any

import schemathesis

KEPT = dict(zip(("study", "series", "instance"), os.environ.get("ROI_TEST_KEPT", "").split("/"), strict=False))
"""UIDs that lead somewhere: a path of random ones is 404 before anything else of a request is looked at."""


@schemathesis.hook
def map_path_parameters(_: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    if not path_parameters or not all(_is_legal(path_parameters.get(name, "1")) for name in KEPT):
        return path_parameters
    return {name: KEPT.get(name, value) for name, value in path_parameters.items()}


def _is_legal(uid: object) -> bool:
    """A generated UID that is wrong on purpose stays wrong."""
    return isinstance(uid, str) and len(uid) <= 64 and all(part.isdecimal() for part in uid.split("."))


@schemathesis.serializer("application/dicom", "multipart/related")
def as_bytes(_: Any, value: Any) -> bytes | None:
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogatepass") if value is not None else None
