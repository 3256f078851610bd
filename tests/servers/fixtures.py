"""One running server of each kind for a whole test session, started when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pytest

from tests.servers import minio, orthanc, postgres, rabbitmq, redis, versitygw
from tests.servers.orthanc import OrthancServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import Server
from tests.servers.s3 import S3Server

S = TypeVar("S", bound=Server)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL cluster; make a database of your own in it."""
    yield from _run(postgres, postgres.running_postgres, tmp_path_factory)


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A MinIO; use a bucket of your own in it."""
    yield from _run(minio, minio.running_minio, tmp_path_factory)


@pytest.fixture(scope="session")
def versitygw_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A versitygw; use a bucket of your own in it."""
    yield from _run(versitygw, versitygw.running_versitygw, tmp_path_factory)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Redis broker."""
    yield from _run(redis, redis.running_redis, tmp_path_factory)


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A RabbitMQ broker."""
    yield from _run(rabbitmq, rabbitmq.running_rabbitmq, tmp_path_factory)


@pytest.fixture(scope="session")
def orthanc_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """An Orthanc, shared: look only at studies of your own."""
    yield from _run(orthanc, orthanc.running_orthanc, tmp_path_factory)


def _run(
    module: ModuleType, running: Callable[[Path], AbstractContextManager[S]], folders: pytest.TempPathFactory
) -> Iterator[S]:
    if reason := module.available():
        pytest.skip(reason)
    name = module.__name__.rpartition(".")[2]
    with running(folders.mktemp(name) / "server") as server:
        yield server
