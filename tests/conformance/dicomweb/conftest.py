"""A live web server on loopback, over a directory of objects and a SQLite catalogue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api import ApiContext, WebServer, create_app
from pacs_gateway.ingest import Ingest
from storage.adapters.directory import open_store
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from tests.servers.process import free_port


@contextmanager
def served(folder: Path, *, public: bool = False, qido_empty: int = 204) -> Iterator[str]:
    """Serve an archive of its own below `folder`; yield the server's address, which links have if it is `public`."""
    database = Database(f"sqlite:///{folder / 'catalogue.sqlite'}")
    migrate(database)
    objects = open_store(f"dir://{folder / 'objects'}")
    spool = folder / "objects" / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    archive = Archive(objects=objects, database=database, spool_folder=spool)
    # The public address is settled before the port is: links are absolute, and few clients here follow them.
    port = free_port() if public else 0
    context = ApiContext(
        archive=archive,
        ingest=Ingest(archive),
        public_base_url=f"http://127.0.0.1:{port}" if public else "http://127.0.0.1",
        qido_empty=qido_empty,
        pings={"catalogue": database.ping, "objects": objects.ping},
    )
    server = WebServer(create_app(context), host="127.0.0.1", port=port)
    thread = threading.Thread(target=server.run, name="web")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        thread.join()
        archive.close()


@pytest.fixture
def base_url(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path) as address:
        yield address
