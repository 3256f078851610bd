"""dicomweb-client of npm, the library inside of OHIF and SLIM, stores, searches and fetches (T-11)."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import builders
from tests.conformance.dicomweb.conftest import served
from tests.servers.process import find_program

pytestmark = pytest.mark.servers

NODE = Path(__file__).parent / "node"
STUDY, SERIES, INSTANCE = "2.25.1", "2.25.1.1", "2.25.1.1.1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "ours"
    folder.mkdir()
    with served(folder, public=True) as address:
        yield address


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def told(site: str, tmp_path: Path) -> dict[str, Any]:
    """What the client got of three slices that it stored itself."""
    if not find_program("node"):
        pytest.skip("node is not installed")
    if not (NODE / "node_modules" / "dicomweb-client").is_dir():
        pytest.skip(f"run npm ci in {NODE.name} beside this test first")
    files = tmp_path / "files"
    files.mkdir()
    for number in (1, 2, 3):
        (files / f"{number}.dcm").write_bytes(builders.part10(builders.ct_slice(number)))
    command = ["node", "ask.mjs", f"{site}/dicom-web", str(files), STUDY, SERIES, INSTANCE]
    ran = subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_the_client_inside_of_viewers_gets_what_it_stored(told: dict[str, Any]) -> None:  # W-31, W-45, W-47
    pixels = sha256(builders.ct_slice(1).PixelData)
    assert [one["0020000D"]["Value"] for one in told["studies"]] == [[STUDY]]
    assert told["nothing"] == []
    assert [one["0020000E"]["Value"] for one in told["series"]] == [[SERIES]]
    assert [one["00080018"]["Value"][0] for one in told["instances"]] == [f"{SERIES}.{number}" for number in (1, 2, 3)]
    assert told["metadata"] == 3
    assert (told["bulk"], told["frames"], told["picture"]) == ([pixels], [pixels], "ffd8")
    assert len(set(told["files"])) == 3
    assert told["file"] in told["files"]
