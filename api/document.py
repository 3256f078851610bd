"""The OpenAPI document: one operation id for each method, also where one route serves GET and HEAD."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

if TYPE_CHECKING:
    from fastapi import FastAPI


class Document:
    """Makes an application's document when it is first asked for."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._made: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        """Return the document."""
        if self._made is None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Duplicate Operation ID")  # set right below
                made = get_openapi(title=self._app.title, version=self._app.version, routes=self._app.routes)
            for methods in made["paths"].values():
                for name, operation in methods.items():
                    suffix = "_head" if name == "head" else ""
                    methods[name] = {**operation, "operationId": f"{operation['operationId']}{suffix}"}
            self._made = made
        return self._made
