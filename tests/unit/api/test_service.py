"""How the application is put together."""

from __future__ import annotations

from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Mount, Route

from api import ApiContext, create_app


def test_every_route_is_one_of_the_application_itself(context: ApiContext) -> None:
    """An included router would be laid out at the first request, and asked at each."""
    routes = create_app(context).routes
    assert not [route for route in routes if not isinstance(route, APIRoute | APIWebSocketRoute | Mount | Route)]
    assert len(routes) > 100


def test_operations_are_called_as_their_functions(context: ApiContext) -> None:
    document = create_app(context).openapi()
    assert document["paths"]["/dicom-web/studies"]["get"]["operationId"] == "search_studies"
    told = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(told) == len(set(told))
