"""What the two S3 servers have in common."""

from __future__ import annotations

from urllib.parse import urlsplit

import urllib3
from minio import Minio

from tests.servers.process import Server

ACCESS_KEY = "roi-tests"
SECRET_KEY = "roi-tests-secret"
REGION = "us-east-1"


class S3Server(Server):
    """A server of S3; `url` is its endpoint."""

    access_key = ACCESS_KEY
    secret_key = SECRET_KEY

    def bucket_url(self, bucket: str) -> str:
        """Return a bucket's address as our settings write it."""
        return f"s3://{bucket}?endpoint={self.url}&region={REGION}"


def answers(url: str) -> None:
    """Raise unless the server does a client's bidding: some are up for a while before they serve."""
    client = Minio(
        endpoint=urlsplit(url).netloc,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        secure=False,
        region=REGION,
        http_client=urllib3.PoolManager(timeout=2, retries=False),
    )
    client.list_buckets()
