"""The contract of `storage.ports.ObjectStore`, on every adapter."""

from __future__ import annotations

import hashlib
import io
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import minio.time
import pytest

from storage.adapters import open_store
from storage.errors import Misconfigured, ObjectMissing, ObjectStoreUnavailable
from storage.landing import LandedObjects, Landing, LateStore
from storage.ports import ObjectStore
from storage.records import ObjectKey
from tests.servers.minio import running_minio
from tests.servers.process import free_port
from tests.servers.s3 import S3Server
from tests.servers.versitygw import running_versitygw

KiB, MiB = 1 << 10, 1 << 20

S3_SERVERS = [
    pytest.param("minio_server", marks=pytest.mark.servers, id="s3-minio"),
    pytest.param("versitygw_server", marks=pytest.mark.servers, id="s3-versitygw"),
]


@pytest.fixture(params=["memory", "directory", "landing", "behind a landing", *S3_SERVERS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    match request.param:
        case "memory":
            return open_store("memory:")
        case "directory":
            return open_store(f"dir://{tmp_path}/objects")
        case "landing" | "behind a landing":
            landing = Landing(tmp_path / "landing", limit_bytes=1 << 30)
            takes = request.param == "landing"
            return LandedObjects(LateStore(lambda: open_store("memory:")), landing=landing, takes=takes)
        case server:
            return _open_s3(request.getfixturevalue(server))


@pytest.fixture(params=S3_SERVERS)
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each S3 server, running."""
    return request.getfixturevalue(request.param)


# ----------------------------------------------------------------------------------------------- what is kept
@pytest.mark.parametrize("size", [0, 1, 70 * KiB, 5 * MiB, 20 * MiB + 3])
def test_what_was_put_is_what_is_read(store: ObjectStore, size: int) -> None:
    key, content = _object(size)
    assert store.put(key, io.BytesIO(content)) == size
    assert store.size(key) == size
    assert _read(store, key) == content


def test_put_keeps_from_the_current_position_to_the_end(store: ObjectStore) -> None:
    key, content = _object(9 * KiB)
    source = io.BytesIO(b"already read" + content)
    source.seek(len(b"already read"))
    store.put(key, source)
    assert _read(store, key) == content


def test_put_takes_a_stream_of_unknown_length(store: ObjectStore) -> None:
    key, content = _object(20 * MiB + 3)
    store.put(key, _Pipe(content))
    assert store.size(key) == len(content)
    assert _digest(store, key) == hashlib.sha256(content).hexdigest()


def test_second_put_of_a_key_changes_nothing(store: ObjectStore) -> None:
    key, content = _object(4 * KiB)
    store.put(key, io.BytesIO(content))
    assert store.put(key, io.BytesIO(b"\0" + content)) == len(content)
    assert _read(store, key) == content
    assert list(store.keys()) == [key]


def test_racing_puts_of_one_key_leave_one_whole_object(store: ObjectStore) -> None:
    key, content = _object(300 * KiB)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.put(key, io.BytesIO(content)), range(16)))
    assert _read(store, key) == content
    assert list(store.keys()) == [key]


def test_threads_put_and_read_different_keys_at_once(store: ObjectStore) -> None:
    objects = dict(_object(20 * KiB) for _ in range(40))

    def put_and_read(key: ObjectKey) -> bytes:
        store.put(key, io.BytesIO(objects[key]))
        return _read(store, key)

    with ThreadPoolExecutor(8) as pool:
        assert dict(zip(objects, pool.map(put_and_read, objects), strict=True)) == objects
    assert sorted(store.keys()) == sorted(objects)


# ----------------------------------------------------------------------------------------------------- ranges
@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, None),
        (0, 0),
        (0, 1),
        (10, 20),
        (10, None),
        (990, 10),
        (990, 11),
        (0, 1000),
        (0, 5000),
        (999, None),
        (1000, None),
        (1000, 5),
        (4000, 5),
        (500, 0),
    ],
)
def test_range_is_cut_at_the_end(store: ObjectStore, offset: int, length: int | None) -> None:
    key, content = _object(1000)
    store.put(key, io.BytesIO(content))
    expected = content[offset:] if length is None else content[offset : offset + length]
    assert _read(store, key, offset=offset, length=length) == expected


def test_range_of_an_empty_object_is_empty(store: ObjectStore) -> None:
    key, content = _object(0)
    store.put(key, io.BytesIO(content))
    assert _read(store, key, offset=0, length=10) == b""
    assert _read(store, key, offset=3) == b""


def test_stream_can_be_read_in_pieces_and_left_half_read(store: ObjectStore) -> None:
    key, content = _object(2 * MiB)
    store.put(key, io.BytesIO(content))
    for _ in range(100):  # a leaked connection each time would exhaust any pool
        with store.open(key, offset=7) as stream:
            assert [stream.read(5), stream.read(3)] == [content[7:12], content[12:15]]


# ------------------------------------------------------------------------------------------ missing and gone
@pytest.mark.parametrize("ask", [ObjectStore.open, ObjectStore.size], ids=["open", "size"])
def test_missing_key_raises_object_missing(store: ObjectStore, ask: Callable[..., object]) -> None:
    key, _ = _object(1)
    with pytest.raises(ObjectMissing):
        getattr(store, ask.__name__)(key)


def test_range_of_a_missing_key_raises_object_missing(store: ObjectStore) -> None:
    key, _ = _object(1)
    for offset, length in [(0, 10), (10, None), (0, 0)]:
        with pytest.raises(ObjectMissing):
            store.open(key, offset=offset, length=length)


def test_removed_key_is_missing_and_removing_it_again_is_fine(store: ObjectStore) -> None:
    (gone, content), (stays, other) = _object(100), _object(100)
    store.put(gone, io.BytesIO(content))
    store.put(stays, io.BytesIO(other))
    store.remove(gone)
    store.remove(gone)
    with pytest.raises(ObjectMissing):
        store.size(gone)
    assert list(store.keys()) == [stays]


def test_removed_key_can_be_put_again(store: ObjectStore) -> None:
    key, content = _object(100)
    store.put(key, io.BytesIO(content))
    store.remove(key)
    store.put(key, io.BytesIO(content))
    assert _read(store, key) == content


def test_keys_are_all_there_once(store: ObjectStore) -> None:
    assert list(store.keys()) == []
    objects = dict(_object(3) for _ in range(1100))  # more than one page of a LIST answer
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: store.put(item[0], io.BytesIO(item[1])), objects.items()))
    assert sorted(store.keys()) == sorted(objects)


# --------------------------------------------------------------------------------------------------- failures
@pytest.mark.parametrize("size", [100 * KiB, 20 * MiB], ids=["small", "several parts"])
def test_source_that_fails_leaves_nothing(store: ObjectStore, size: int) -> None:
    key, content = _object(size)
    with pytest.raises(_PeerGoneError):
        store.put(key, _Pipe(content, fails_at=size - 10))
    with pytest.raises(ObjectMissing):
        store.size(key)
    assert list(store.keys()) == []
    store.put(key, io.BytesIO(content))
    assert _read(store, key) == content


def test_ping_of_a_working_store_returns(store: ObjectStore) -> None:
    store.ping()


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "ftp://host/folder", "dir:relative", "s3://", "s3://bucket", "s3://bucket?endpoint=host:9000"],
)
def test_url_that_cannot_work_is_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(Misconfigured, match="expected"):
        open_store(url, access_key="a", secret_key="b")


def test_s3_without_keys_is_refused() -> None:
    with pytest.raises(Misconfigured, match="ROI_S3_SECRET_KEY"):
        open_store("s3://bucket?endpoint=http://127.0.0.1:9", access_key="a")


def test_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match="cannot be written"):
        open_store(f"dir://{tmp_path}/file/objects")


def test_wrong_secret_is_a_clear_misconfiguration(s3_server: S3Server) -> None:
    with pytest.raises(Misconfigured, match=r"SignatureDoesNotMatch|AccessDenied"):
        open_store(s3_server.bucket_url(_bucket()), access_key=s3_server.access_key, secret_key="not the secret")


def test_unknown_access_key_is_a_clear_misconfiguration(s3_server: S3Server) -> None:
    with pytest.raises(Misconfigured, match=r"Invalid|Denied|NotFound"):
        open_store(s3_server.bucket_url(_bucket()), access_key="nobody", secret_key=s3_server.secret_key)


def test_a_clock_that_the_store_finds_wrong_is_no_wrong_key(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _open_s3(s3_server)
    key, content = _object(KiB)
    true_time = minio.time.utcnow
    monkeypatch.setattr(minio.time, "utcnow", lambda: true_time() + timedelta(hours=5))
    with pytest.raises(ObjectStoreUnavailable):
        store.put(key, io.BytesIO(content))
    monkeypatch.undo()
    store.put(key, io.BytesIO(content))


def test_bucket_is_shared_by_whoever_opens_it_next(s3_server: S3Server) -> None:
    key, content = _object(1000)
    bucket = _bucket()
    _open_s3(s3_server, bucket).put(key, io.BytesIO(content))
    assert _read(_open_s3(s3_server, bucket), key) == content


def test_nobody_at_the_endpoint_is_unavailable_within_seconds() -> None:
    began = time.monotonic()
    with pytest.raises(ObjectStoreUnavailable):
        open_store(f"s3://bucket?endpoint=http://127.0.0.1:{free_port()}", access_key="a", secret_key="b")
    assert time.monotonic() - began < 5


@pytest.mark.servers
@pytest.mark.parametrize("running", [running_minio, running_versitygw])
def test_server_that_died_is_unavailable_within_seconds_and_usable_when_back(
    running: Callable[[Path], Iterator[S3Server]], tmp_path: Path
) -> None:
    key, content = _object(64 * KiB)
    with running(tmp_path / "server") as server:
        store = _open_s3(server)
        store.put(key, io.BytesIO(content))
        server.kill()
        for ask in (
            lambda: store.put(_object(1)[0], io.BytesIO(b"x")),
            lambda: store.open(key),
            lambda: store.size(key),
            lambda: store.remove(key),
            lambda: list(store.keys()),
            store.ping,
        ):
            began = time.monotonic()
            with pytest.raises(ObjectStoreUnavailable):
                ask()
            assert time.monotonic() - began < 5
        server.restart()
        assert _read(store, key) == content


# ---------------------------------------------------------------------------------------------------- helpers
class _PeerGoneError(Exception):
    """The sender went away while its bytes were read."""


class _Pipe(io.RawIOBase):
    """A stream that cannot tell its length, yields what it likes, and may break."""

    def __init__(self, content: bytes, fails_at: int | None = None) -> None:
        self._content = io.BytesIO(content)
        self._fails_at = fails_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        if self._fails_at is not None and self._content.tell() >= self._fails_at:
            raise _PeerGoneError
        limit = len(buffer) if self._fails_at is None else min(len(buffer), self._fails_at - self._content.tell())
        part = self._content.read(min(limit, 50_000))
        buffer[: len(part)] = part
        return len(part)


def _object(size: int) -> tuple[ObjectKey, bytes]:
    """Return new content and its key."""
    content = secrets.token_bytes(size)
    name = content if size > 16 else secrets.token_bytes(16)  # a store never looks whether the key fits
    return ObjectKey(hashlib.sha256(name).hexdigest()), content


def _read(store: ObjectStore, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> bytes:
    with store.open(key, offset=offset, length=length) as stream:
        return stream.read()


def _digest(store: ObjectStore, key: ObjectKey) -> str:
    with store.open(key) as stream:
        return _digest_of(stream)


def _digest_of(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while part := stream.read(1 << 20):
        digest.update(part)
    return digest.hexdigest()


def _bucket() -> str:
    return f"objects-{secrets.token_hex(8)}"


def _open_s3(server: S3Server, bucket: str | None = None) -> ObjectStore:
    url = server.bucket_url(bucket or _bucket())
    return open_store(url, access_key=server.access_key, secret_key=server.secret_key)
