"""Retrieve Capabilities: what is served, as WADL, made from the application's own routes (PS3.18 8.9, H)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring

from fastapi import APIRouter, Request, Response

from api.answers import as_json
from api.context import Context
from api.crossorigin import ROOT
from api.dicomweb import media

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

WADL: Final = "application/vnd.sun.wadl+xml"
_NAMESPACE: Final = "http://wadl.dev.java.net/2009/02"
_METHODS: Final = ("get", "post", "put", "delete")


@router.options("", include_in_schema=False)
@router.options("/", include_in_schema=False)
def capabilities(context: Context, request: Request) -> Response:
    """Retrieve what this server offers."""
    choice = media.choose(request, (WADL, "application/xml", "text/xml", media.JSON))
    found = [*_resources(request.app.openapi()), _CHANNEL]
    if choice.offer == media.JSON:
        return as_json({"base": context.dicomweb_url, "resources": found})
    return Response(_wadl(context.dicomweb_url, found), media_type=choice.offer)


def _resources(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        if path.startswith(f"{ROOT}/"):
            named = [_method(name, methods[name]) for name in _METHODS if name in methods]
            yield {"path": path.removeprefix(f"{ROOT}/"), "methods": named}


_CHANNEL: Final[dict[str, Any]] = {
    "path": "subscribers/{aet}",
    "methods": [
        {"name": "GET", "id": "open_channel", "parameters": ["aet"], "takes": [], "gives": ["application/json"]}
    ],
}
"""A websocket, which the OpenAPI document cannot tell of."""


def _method(name: str, operation: dict[str, Any]) -> dict[str, Any]:
    given = {type_: True for answer in operation["responses"].values() for type_ in answer.get("content", ())}
    taken = list(operation.get("requestBody", {}).get("content", ()))
    parts = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"]
    return {
        "name": name.upper(),
        "id": operation["operationId"],
        "parameters": parts,
        "takes": taken,
        "gives": [type_ for type_ in given if type_ != "application/problem+json"],
    }


def _wadl(base: str, found: list[dict[str, Any]]) -> bytes:
    top = Element("application", xmlns=_NAMESPACE)
    resources = SubElement(top, "resources", base=f"{base}/")
    for one in found:
        resource = SubElement(resources, "resource", path=one["path"])
        names = {name: True for method in one["methods"] for name in method["parameters"]}
        for name in names:
            SubElement(resource, "param", name=name, style="template", required="true")
        for method in one["methods"]:
            _add_method(resource, method)
    return bytes(tostring(top, encoding="utf-8", xml_declaration=True))


def _add_method(resource: Element, method: dict[str, Any]) -> None:
    made = SubElement(resource, "method", name=method["name"], id=method["id"])
    if method["takes"]:
        request = SubElement(made, "request")
        for type_ in method["takes"]:
            SubElement(request, "representation", mediaType=type_)
    response = SubElement(made, "response")
    for type_ in method["gives"]:
        SubElement(response, "representation", mediaType=type_)
