"""The web application: routers, errors as problems, and a guard around it all."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from api import (
    coverage,
    expectation,
    expectation_page,
    feedback,
    health,
    hidden,
    identity,
    integrity,
    metrics,
    models,
    models_page,
    page,
    priorities,
    problems,
    quarantine,
    reading,
    replay,
    reruns,
    results,
    targets,
    targets_page,
    times,
    viewer,
    worklist,
)
from api.context import ApiContext
from api.crossorigin import CrossOrigin
from api.dicomweb import (
    bulk,
    capabilities,
    channels,
    frames,
    metadata,
    qido,
    removal,
    rendered,
    stow,
    ups,
    uri,
    wado,
)
from api.document import Document
from api.guard import Guard

_DICOMWEB: Final = (qido, frames, wado, metadata, bulk, rendered, uri, stow, removal, ups, channels, capabilities)
_ROI: Final = (
    worklist,
    reading,
    results,
    times,
    health,
    metrics,
    hidden,
    identity,
    integrity,
    quarantine,
    priorities,
    targets,
    reruns,
    feedback,
    models,
    coverage,
    replay,
    expectation,
    expectation_page,
    page,
    targets_page,
    models_page,
)


def create_app(context: ApiContext) -> FastAPI:
    """Return the ASGI application that serves `context`."""
    app = FastAPI(
        title=context.server_name,
        version=context.server_version or "0",
        openapi_url="/api/openapi.json",
        docs_url=None,  # the bundled viewers load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # a query string may hold a patient's name
    )
    app.state.context = context
    app.state.followed = metrics.Followed()
    app.state.searches = qido.lane_for(context.archive.database)
    app.state.stow_places = CapacityLimiter(stow.AT_ONCE)
    # The routes themselves: of an included router FastAPI lays them out at its first request, and asks router by
    # router at every one.  What viewers ask for most comes first.
    for module in (*_DICOMWEB, *_ROI, viewer):  # the viewer's paths go on for ever: last
        app.router.routes.extend(module.router.routes)
    for route in app.routes:
        if isinstance(route, APIRoute):
            route.operation_id = route.name
    app.mount("/static", StaticFiles(directory=Path(str(files("web"))) / "static"), name="static")
    problems.register(app)
    ups.register(app, context)
    app.openapi = Document(app)  # type: ignore[method-assign]  # as FastAPI's own guide extends it
    app.add_middleware(
        Guard,
        host_names=context.host_names,
        origin=context.public_base_url,
        cross_origin=CrossOrigin(context.cors_origins),
    )
    return app
