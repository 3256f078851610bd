"""Acknowledged on the gateway's disk: the object store stops, a study comes in, and nobody notices but the operator."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from models.reference.dicom import head_ct_study
from roi import compose
from roi.settings import Settings
from storage import schema
from tests.acceptance.site import ROOT, Site, _program, _settings, embedded
from tests.acceptance.studies import SentFile, small_ct, write
from tests.servers.minio import available, running_minio
from tests.servers.postgres import PostgresServer
from tests.servers.process import connects
from tests.servers.s3 import S3Server

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

SLICES = 20
"""Enough for the head CT model to take the study."""


@pytest.fixture
def minio(tmp_path: Path) -> Iterator[S3Server]:
    """A MinIO of this test's own, to be stopped."""
    if reason := available():
        pytest.skip(reason)
    with running_minio(tmp_path / "minio") as server:
        yield server


def _landing(minio: S3Server, **settings: Any) -> dict[str, Any]:
    return {
        "objects": minio.bucket_url("roi"),
        "s3_access_key": minio.access_key,
        "s3_secret_key": minio.secret_key,
        "ack": "landing",
        **settings,
    }


def _study(number: int, folder: Path) -> list[SentFile]:
    return write(small_ct(number, slices=SLICES), folder / f"study-{number}")


def _head(number: int, folder: Path) -> list[SentFile]:
    """A study that a model gives an answer to; it knows no small ones."""
    return write(head_ct_study(number, haemorrhage=False, slices=SLICES), folder / f"study-{number}")


def _waiting(site: Site) -> int:
    return int(site.rows_of(sa.select(sa.func.count()).select_from(schema.landings))[0][0])


def _uploaded(site: Site) -> bool | None:
    return True if _waiting(site) == 0 else None


def _assert_there(site: Site, files: list[SentFile]) -> None:
    """Everything is in MinIO itself, byte for byte, and nothing is left on the gateway's disk."""
    store = compose.open_objects(site.settings)
    for file in files:
        with store.open(file.digest) as stream:  # type: ignore[arg-type]
            assert hashlib.sha256(_data_set(stream.read())).hexdigest() == file.digest
        assert hashlib.sha256(site.data_set_of(file)).hexdigest() == file.digest
    left = site.settings.data / "landing" / "objects"
    site.wait(lambda: True if not [*left.glob("*/*")] else None, "the landing zone is empty")
    assert site.verify()["missing"] == site.verify()["corrupt"] == []


def _data_set(encoded: bytes) -> bytes:
    return encoded[144 + int.from_bytes(encoded[140:144], "little") :]


def test_a_study_comes_in_and_is_triaged_while_the_object_store_is_away(tmp_path: Path, minio: S3Server) -> None:
    with embedded(tmp_path / "site", **_landing(minio)) as site:
        minio.kill()
        files = _head(801, tmp_path)
        site.send(files, associations=2)  # asserts that every status is 0000
        row = site.settled(files[0].study)
        assert {line["coverage"] for line in row["coverage"]} == {"analysed"}
        told = site.get("/health/ready")
        assert (told["status"], [each["objects"] for each in told["landing"]]) == ("ready", [SLICES])
        site.kill("gateway")  # it starts again without the object store
        more = _study(802, tmp_path)
        site.wait(lambda: _listens(site), "the gateway is back")
        site.send(more)
        assert _waiting(site) == 2 * SLICES
        minio.restart()
        site.wait(lambda: _uploaded(site), "everything is uploaded", limit_s=120)
        _assert_there(site, [*files, *more])
        assert "landing" not in site.get("/health/ready")


def test_two_gateway_processes_share_a_landing_zone(tmp_path: Path, minio: S3Server) -> None:
    with embedded(tmp_path / "site", **_landing(minio, gateway_processes=2)) as site:
        minio.kill()
        files = [file for number in (811, 812, 813) for file in _study(number, tmp_path)]
        site.send(files, associations=6)
        minio.restart()
        site.kill("gateway")
        site.wait(lambda: _uploaded(site), "everything is uploaded", limit_s=120)
        _assert_there(site, files)


def test_other_hosts_wait_and_say_so(tmp_path: Path, minio: S3Server, postgres_server: PostgresServer) -> None:
    settings = _settings(
        tmp_path / "gateway-host", **_landing(minio, catalogue=postgres_server.make_database("landing"))
    )
    compose.open_database(settings).close()
    with _apart(tmp_path, settings) as site:
        minio.kill()
        files = _head(821, tmp_path)
        site.send(files)

        def waits() -> dict[str, Any] | None:
            row = site.row(files[0].study)
            reasons = {line["reason"] for line in row["coverage"]}
            return row if reasons == {"objects_on_their_way"} else None

        row = site.wait(waits, "the worker waits and says why", limit_s=60)
        assert {line["coverage"] for line in row["coverage"]} == {"waiting"}
        answer = site.call(
            "GET", f"/dicom-web/studies/{files[0].study}", accept="multipart/related; type=application/dicom"
        )
        assert (answer.status, answer.media_type) == (503, "application/problem+json")
        minio.restart()
        row = site.settled(files[0].study)
        assert {line["coverage"] for line in row["coverage"]} == {"analysed"}
        assert {job.attempts for job in site.jobs_of(files[0].study)} == {1}
        _assert_there(site, files)


def _listens(site: Site) -> bool | None:
    try:
        connects(site.settings.dicom_port)
    except OSError:
        return None
    return True


def _apart(folder: Path, settings: Settings) -> Site:
    """A gateway with a landing zone, and API and worker on hosts of their own that know nothing of it."""
    programs = [_program("gateway", folder / "gateway", settings, ROOT, {})]
    for role in ("api", "worker"):
        elsewhere = {"ROI_DATA": os.fspath(folder / f"{role}-host" / "data"), "ROI_ACK": "archive"}
        programs.append(_program(role, folder / role, settings, ROOT, elsewhere))
    return Site("hosts", settings, programs)
