"""The image viewer below ``/ohif/``: its files as they were installed, its settings, and links into it.

It is a program of others that compiles code while it runs, so its pages, and they alone, may do that (PS3.18 knows
nothing of it; the list is what the viewer was seen to need).  They are isolated from other sites, which lets them
share memory between their workers.
"""

from __future__ import annotations

from mimetypes import types_map
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from api import problems
from api.answers import unchanged
from api.context import ApiContext, Context
from api.crossorigin import ROOT
from api.dicomweb import compression
from api.words import VIEWER_MISSING
from web.viewer.edits import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.entries import Entry
    from web.viewer import Page

router = APIRouter(include_in_schema=False)

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; font-src 'self' data:; object-src 'self' blob:; frame-src blob:; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""On every answer below `PREFIX` that is a part of the viewer."""

_SETTINGS: Final[Mapping[str, Any]] = {
    "routerBasename": PREFIX.rstrip("/"),
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "showWarningMessageForCrossOrigin": True,
    "showCPUFallbackMessage": True,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "groupEnabledModesFirst": True,
    "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 25},
    "investigationalUseDialog": {"option": "never"},  # the worklist page says it
    "showErrorDetails": "production",
    "defaultDataSourceName": "roi",
}
_SOURCE: Final[Mapping[str, Any]] = {
    "friendlyName": "Rọi",
    "name": "roi",
    "qidoRoot": ROOT,
    "wadoRoot": ROOT,
    "qidoSupportsIncludeField": True,
    "imageRendering": "wadors",
    "thumbnailRendering": "wadors",
    "enableStudyLazyLoad": True,
    "supportsFuzzyMatching": False,
    "supportsWildcard": True,
    "singlepart": "bulkdata,video",
    "omitQuotationForMultipartRequest": True,
    "dicomUploadEnabled": True,
}


def settings_for(context: ApiContext) -> dict[str, Any]:
    """Return what the viewer is told: everything comes by DICOMweb from paths of the site that it is called by.

    Links in our metadata begin with the public address; a reader who calls us by another one stays on that.
    """
    links = {"enabled": True, "startsWith": context.dicomweb_url, "prefixWith": ROOT}
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "roi",
        "configuration": {**_SOURCE, "bulkDataURI": links},
    }
    return {**_SETTINGS, "dataSources": [source]}


_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"
_MEDIA_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    ".webapp": "application/manifest+json",
}
_RANKS: Final = {"critical": 0, "urgent": 1}


@router.api_route(PREFIX.rstrip("/"), methods=["GET", "HEAD"])
def without_slash() -> Response:
    """Lead to the viewer's study list."""
    return RedirectResponse(PREFIX, status_code=308)


@router.api_route(f"{PREFIX}app-config.js", methods=["GET", "HEAD"])
def settings(context: Context, request: Request) -> Response:
    """Return the viewer's settings as the script that it reads them from."""
    if context.viewers.installed() is None:
        return _missing(request)
    script = b"window.config = " + orjson.dumps(settings_for(context)) + b";\n"
    return Response(script, media_type=_MEDIA_TYPES[".js"], headers={**HEADERS, "Cache-Control": "no-store"})


@router.api_route(PREFIX + "{name:path}", methods=["GET", "HEAD"])
def page(context: Context, request: Request, name: str) -> Response:
    """Return a file of the viewer; a path without an extension is one of its own views, so its first page.

    The name is looked up in the list of what was installed and never becomes a path.
    """
    viewer = context.viewers.installed()
    if viewer is None:
        return _missing(request)
    found = name if name in viewer.pages else "index.html" if "." not in PurePosixPath(name).name else None
    if found is None:
        return problems.respond(404, "The viewer has no such file.", problems.request_id_of(request))
    of = viewer.pages[found]
    squeezed = of.squeezed and compression.wanted(request)
    path = viewer.path(found, squeezed=squeezed)
    if not path.is_file():
        return _missing(request)
    headers = _headers(of, squeezed=squeezed)
    answer = unchanged(request, headers["ETag"]) or FileResponse(path, media_type=_media_type(found))
    answer.headers.update(headers)  # a 304 too: a browser takes its policy over to the page that it holds
    return answer


def link_to(entry: Entry) -> str:
    """Return where the viewer shows a worklist entry's study, at the key image of its most urgent finding.

    UIDs only: a path with its query may stand in a browser's history and in a proxy's log.
    """
    asked = {"StudyInstanceUIDs": entry["study_instance_uid"]}
    found = [
        each
        for each in entry["findings"]
        if each["positive"] and each["superseded_by"] is None and each["retracted"] is None
    ]
    keyed = sorted(
        (each for each in found if each["key_instance_uid"]), key=lambda each: _RANKS.get(each["urgency"], 9)
    )
    for key in keyed[:1]:
        asked |= {"initialSeriesInstanceUID": key["key_series_uid"], "initialSOPInstanceUID": key["key_instance_uid"]}
    return f"{PREFIX}viewer?{urlencode({name: uid for name, uid in asked.items() if uid})}"


def _headers(of: Page, *, squeezed: bool) -> dict[str, str]:
    return {
        **HEADERS,
        **(compression.GZIP if squeezed else {}),
        "Vary": "Accept-Encoding",
        "ETag": f'"{of.digest}{"-gz" if squeezed else ""}"',
        "Cache-Control": _FOR_EVER if of.for_ever else _ASK_AGAIN,
    }


def _media_type(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return _MEDIA_TYPES.get(suffix) or types_map.get(suffix, "application/octet-stream")


def _missing(request: Request) -> Response:
    return problems.respond(404, VIEWER_MISSING.en, problems.request_id_of(request), text=VIEWER_MISSING.both())
