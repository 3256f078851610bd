"""A web server on a real socket whose workitems are watched through websockets of another implementation's client."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.sync.client import ClientConnection, connect

from api import ApiContext, WebServer, create_app
from api.dicomweb.channels import Channels
from pacs_gateway.ingest import Ingest
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from tests.workitems import Model, attribute

JSON = {"Content-Type": "application/dicom+json"}
PATIENCE_S = 15


@dataclass(frozen=True)
class Site:
    archive: Archive
    port: int
    channels: Channels

    def ask(self, method: str, path: str, model: Model | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        content = b"" if model is None else json.dumps([model]).encode()
        connection.request(method, f"/dicom-web/workitems{path}", content, JSON)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, json.loads(body) if body else None

    def channel(self, aet: str, **options: Any) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}/dicom-web/subscribers/{quote(aet)}", **options)


@contextmanager
def serving(archive: Archive, **more: Any) -> Iterator[Site]:
    """Serve an archive for as long as the block lasts."""
    context = ApiContext(archive=archive, ingest=Ingest(archive), public_base_url="http://127.0.0.1", **more)
    app = create_app(context)
    server = WebServer(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Site(archive, server.port, app.state.channels)
    finally:
        server.stop()
        thread.join()


@contextmanager
def opened(url: str, folder: Path) -> Iterator[Archive]:
    """Open a catalogue beside objects that nobody needs here."""
    database = Database(url)
    migrate(database)
    made = Archive(objects=MemoryStore(), database=database, spool_folder=folder)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def another(archive: Archive) -> Iterator[Site]:
    """Serve the same catalogue through connections of its own, as another process does."""
    with opened(archive.database.url, archive.spool_folder) as again, serving(again) as site:
        yield site


def read(channel: ClientConnection, timeout: float = PATIENCE_S) -> Model:
    """The next event of a channel."""
    return dict(json.loads(channel.recv(timeout=timeout)))


def told(event: Model) -> tuple[str, int, str | None]:
    """Which workitem an event is about, its type, and the state that it tells."""
    return value(event, "AffectedSOPInstanceUID"), value(event, "EventTypeID"), value(event, "ProcedureStepState")


def value(model: Model, keyword: str) -> Any:
    (tag,) = attribute(keyword)
    return model.get(tag, {}).get("Value", [None])[0]


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
