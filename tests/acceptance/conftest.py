"""The sites on which the same steps run: one small, two large."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.site import Site, apart, embedded

_APART = {"apart-redis": "redis_server", "apart-rabbitmq": "rabbitmq_server"}


@pytest.fixture(
    scope="session",
    params=["embedded", *(pytest.param(name, marks=pytest.mark.servers) for name in _APART)],
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running site, shared: look only at studies of your own."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        with embedded(folder) as small:
            yield small
        return
    postgres, minio = request.getfixturevalue("postgres_server"), request.getfixturevalue("minio_server")
    broker = request.getfixturevalue(_APART[request.param])
    with apart(folder, postgres=postgres, minio=minio, broker=broker, name=request.param) as large:
        yield large
