"""versitygw: S3 on plain files, the proof that nothing depends on MinIO."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import Program, find_program, free_port, go_bin
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server, answers


def available() -> str | None:
    """Return why versitygw cannot be run here, or None."""
    return None if _program() else "versitygw is not installed"


@contextmanager
def running_versitygw(folder: Path) -> Iterator[S3Server]:
    """Run an empty versitygw on a folder below `folder`."""
    (folder / "buckets").mkdir(parents=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = Program(
        name="versitygw",
        command=[str(_program()), "--port", f"127.0.0.1:{port}", "posix", str(folder / "buckets")],
        folder=folder,
        is_ready=lambda: answers(url),
        env={"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
    )
    with S3Server(program, url) as server:
        yield server


def _program() -> Path | None:
    return find_program("versitygw", folders=[go_bin()])
