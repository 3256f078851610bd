"""MinIO."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import Program, find_program, free_port, go_bin
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server, answers


def available() -> str | None:
    """Return why MinIO cannot be run here, or None."""
    return None if _program() else "MinIO is not installed"


@contextmanager
def running_minio(folder: Path) -> Iterator[S3Server]:
    """Run a single-drive MinIO below `folder`, with what an earlier one left there."""
    (folder / "drive").mkdir(parents=True, exist_ok=True)
    port, console = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    program = Program(
        name="MinIO",
        command=[
            str(_program()),
            "server",
            str(folder / "drive"),
            *("--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console}"),
        ],
        folder=folder,
        is_ready=lambda: answers(url),
        env={
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        },
    )
    with S3Server(program, url) as server:
        yield server


def _program() -> Path | None:
    return find_program("minio", folders=[go_bin()])
