"""Objects in an S3 bucket: MinIO or any server of plain S3 (PUT, ranged GET, HEAD, DELETE, LIST, multipart)."""

from __future__ import annotations

import io
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Self
from urllib.parse import parse_qs, urlsplit

import minio
import minio.error
import urllib3

from storage.errors import Misconfigured, ObjectMissing, ObjectStoreUnavailable, OutOfSpace, StorageError
from storage.records import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from urllib3.connectionpool import ConnectionPool

SCHEMES = ("s3",)

_PART = 8 << 20
"""Longer objects go in parts of this length: the client holds a part in memory, however long the object is."""
_AT_ONCE = 8
"""Uploads at a time; further ones wait, and their senders with them."""
_POOL = 64
_CONNECT_S = 3
_READ_S = 30
"""For the next bytes of an answer; less than a modality commonly waits for its response."""
_CODES: dict[str, type[StorageError]] = {
    "NoSuchKey": ObjectMissing,
    "NoSuchBucket": Misconfigured,
    "XAdminUserNotFound": Misconfigured,
    "XMinioStorageFull": OutOfSpace,
    "QuotaExceeded": OutOfSpace,
    "InsufficientStorage": OutOfSpace,
    "RequestTimeTooSkewed": ObjectStoreUnavailable,  # 403, but our clock or theirs will be put right
}
_FORBIDDEN_STATUS = 403
"""Each server has codes of its own for a wrong key or secret."""
_FULL_STATUS = 507


class S3Store:
    """An `ObjectStore` in one bucket, keys ``<first two digits>/<digest>``.

    A put is durable when the server has answered; conditional PUT is not relied on, since not every server has it:
    the key names the content, so a race writes the same data set twice.
    """

    def __init__(self, client: minio.Minio, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._uploads = threading.BoundedSemaphore(_AT_ONCE)

    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        """Keep what `source` yields; see the port."""
        with suppress(ObjectMissing):
            return self.size(key)
        length = _length(source)
        with self._uploads, _world_errors(key):
            self._client.put_object(
                bucket_name=self._bucket,
                object_name=_name(key),
                data=source,
                length=length,
                part_size=_PART,
                content_type="application/dicom",
            )
        return length if length >= 0 else self.size(key)

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open a stream over a range of the object; see the port."""
        if length == 0:
            self.size(key)  # a missing key is missing, however little is wanted of it
            return io.BytesIO()
        with _world_errors(key):
            try:
                response = self._client.get_object(
                    bucket_name=self._bucket, object_name=_name(key), offset=offset, length=length or 0
                )
            except minio.error.S3Error as error:
                if error.code == "InvalidRange":  # begins at the object's end, or behind it
                    return io.BytesIO()
                raise
        return io.BufferedReader(_Body(response, key), 1 << 18)

    def size(self, key: ObjectKey) -> int:
        """Return the object's size in bytes."""
        with _world_errors(key):
            size = self._client.stat_object(bucket_name=self._bucket, object_name=_name(key)).size
        if size is None:
            raise ObjectStoreUnavailable("the object store answered without a size")
        return size

    def remove(self, key: ObjectKey) -> None:
        """Forget the object."""
        with _world_errors(key):
            self._client.remove_object(bucket_name=self._bucket, object_name=_name(key))

    def keys(self) -> Iterator[ObjectKey]:
        """Yield every key once."""
        with _world_errors():
            for item in self._client.list_objects(bucket_name=self._bucket, recursive=True):
                yield ObjectKey((item.object_name or "").rpartition("/")[2])

    def ping(self) -> None:
        """Ask for the bucket."""
        with _world_errors():
            there = self._client.bucket_exists(bucket_name=self._bucket)
        if not there:
            raise Misconfigured(f"the bucket {self._bucket} does not exist")

    def make_bucket(self) -> None:
        """Make the bucket where it is missing; a racing maker is fine."""
        with _world_errors():
            if self._client.bucket_exists(bucket_name=self._bucket):
                return
            try:
                self._client.make_bucket(bucket_name=self._bucket)
            except minio.error.S3Error as error:
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise


class _Body(io.RawIOBase):
    """A response body that gives its connection back and speaks in our errors."""

    def __init__(self, response: urllib3.BaseHTTPResponse, key: ObjectKey) -> None:
        self._response = response
        self._key = key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with _world_errors(self._key):
            part = self._response.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._response.close()
            self._response.release_conn()
        super().close()


def _name(key: ObjectKey) -> str:
    return f"{key[:2]}/{key}"


class _Retry(urllib3.Retry):
    """Tries again over a connection that ended, as one in the pool may have, and never over one that is silent.

    Whoever waits, a modality with a timer of its own, hears so after one time of silence, not after three.
    """

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


def _length(source: BinaryIO) -> int:
    """Return what is left to read, -1 where the source cannot tell."""
    if not source.seekable():
        return -1
    here = source.tell()
    end = source.seek(0, os.SEEK_END)
    source.seek(here)
    return end - here


@contextmanager
def _world_errors(key: ObjectKey | None = None) -> Iterator[None]:
    subject = f"object {key}" if key else "the bucket"
    try:
        yield
    except minio.error.S3Error as error:
        # The key and secret opened the bucket.  A HEAD does not say why it is refused now: a clock may be wrong.
        forbidden = error.response.status == _FORBIDDEN_STATUS and key is None
        refused = Misconfigured if forbidden else ObjectStoreUnavailable
        kind = _CODES.get(error.code or "", refused)
        raise kind(f"object store, {subject}: {error.code}") from error
    except minio.error.ServerError as error:
        kind = OutOfSpace if error.status_code == _FULL_STATUS else ObjectStoreUnavailable
        raise kind(f"object store, {subject}: HTTP {error.status_code}") from error
    except (minio.error.MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise ObjectStoreUnavailable(f"object store, {subject}: {type(error).__name__}") from error


def open_store(url: str, *, access_key: str | None = None, secret_key: str | None = None) -> S3Store:
    """Open ``s3://bucket?endpoint=http://host:9000&region=...``; the bucket is made where it is missing."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    endpoint = urlsplit(query.get("endpoint", ""))
    if not parts.netloc or endpoint.scheme not in {"http", "https"} or not endpoint.netloc:
        raise Misconfigured(f"{url}: expected s3://bucket?endpoint=http://host:9000&region=name")
    if not access_key or not secret_key:
        raise Misconfigured("an S3 object store needs ROI_S3_ACCESS_KEY and ROI_S3_SECRET_KEY")
    pool = urllib3.PoolManager(
        maxsize=_POOL,
        timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
        retries=_Retry(total=2, backoff_factor=0.1, status_forcelist=()),
        cert_reqs="CERT_REQUIRED",
    )
    client = minio.Minio(
        endpoint=endpoint.netloc,
        access_key=access_key,
        secret_key=secret_key,
        secure=endpoint.scheme == "https",
        region=query.get("region", "us-east-1"),
        http_client=pool,
    )
    store = S3Store(client, parts.netloc)
    store.make_bucket()
    return store
