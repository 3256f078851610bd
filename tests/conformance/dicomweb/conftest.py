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


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve an archive of its own below `folder`; yield the server's address."""
    database = Database(f"sqlite:///{folder / 'catalogue.sqlite'}")
    migrate(database)
    objects = open_store(f"dir://{folder / 'objects'}")
    spool = folder / "objects" / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    archive = Archive(objects=objects, database=database, spool_folder=spool)
    # The public address is settled before the port is: links are absolute, and this client follows none of them.
    context = ApiContext(
        archive=archive,
        ingest=Ingest(archive),
        public_base_url="http://127.0.0.1",
        pings={"catalogue": database.ping, "objects": objects.ping},
    )
    server = WebServer(create_app(context), host="127.0.0.1", port=0)
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
