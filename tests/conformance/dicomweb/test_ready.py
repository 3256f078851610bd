"""Metadata of real files that was made ready after ingest is, byte for byte, what is made from the objects."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from api.dicomweb.atlas import Atlas
from api.extractor import Extractor
from pacs_gateway.ingest import Ingest
from storage import schema
from storage.archive import Archive
from storage.catalog import studies
from tests import builders
from tests.conformance.dicomweb.test_corpus import BASE

FOLDERS = ("modality", "transfer_syntax", "charset", "derived", "bad", "fuzz")
OCTETS = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
MOVED = "https://pacs.example"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = builders.archive(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("folder", FOLDERS)
def test_real_files_are_told_the_same(archive: Archive, shared_data: Path, folder: str) -> None:
    context = ApiContext(archive=archive, ingest=Ingest(archive), public_base_url=BASE)
    with TestClient(create_app(context), base_url=BASE) as client:
        for path in sorted((shared_data / "dicom" / folder).iterdir()):
            headers = {"Content-Type": "application/dicom"}
            assert client.post("/dicom-web/studies", content=path.read_bytes(), headers=headers).status_code < 500
    with archive.database.write() as tx:
        for (uid,) in tx.execute(sa.select(schema.studies.c.study_instance_uid)).all():
            studies.complete(tx, studies.get(tx, uid), reason="test", now=builders.START)
    # Made for one address, asked for by two.
    assert Extractor(archive, f"{BASE}/dicom-web", rest=lambda _seconds: None).run() > 0
    with archive.database.read() as tx:
        made = tx.execute(sa.select(sa.func.count()).select_from(schema.extracts)).scalar_one()
    assert made > 0
    ready = {base: everything(replace(context, public_base_url=base, atlas=Atlas())) for base in (BASE, MOVED)}
    with archive.database.write() as tx:
        tx.execute(sa.delete(schema.extracts))
        tx.execute(sa.delete(schema.places))
    for base, told in ready.items():
        assert told == everything(replace(context, public_base_url=base, atlas=Atlas()))


def everything(context: ApiContext) -> dict[str, list[tuple[int, bytes]]]:
    """Every study's metadata, plain and squeezed, every instance's, and its first frame as it is stored."""
    with context.archive.database.read() as tx:
        uids = tx.execute(sa.select(schema.studies.c.study_instance_uid)).scalars().all()
        kept = [one for uid in uids for one in studies.instances_of(tx, uid)]
    given: dict[str, list[tuple[int, bytes]]] = {}
    with TestClient(create_app(context), base_url=BASE) as client:
        for uid in uids:
            path = f"/dicom-web/studies/{uid}/metadata"
            given[path] = [ask(client, path, **{"Accept-Encoding": how}) for how in ("identity", "gzip")]
            assert given[path][0] == given[path][1]
        for one in kept:
            path = f"/dicom-web/studies/{one.study_instance_uid}/series/{one.series_instance_uid}"
            path += f"/instances/{one.sop_instance_uid}"
            given[path] = [ask(client, f"{path}/metadata"), ask(client, f"{path}/frames/1", **OCTETS)]
    return given


def ask(client: TestClient, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and content; of a problem the status alone, since it names its request."""
    with client.stream("GET", path, headers=headers) as answer:
        raw = b"".join(answer.iter_raw())
    if answer.status_code != 200:
        return answer.status_code, b""
    return 200, gzip.decompress(raw) if answer.headers.get("content-encoding") == "gzip" else raw
