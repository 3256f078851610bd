"""Our own OpenAPI document, tried out by Schemathesis with all its checks (T-14b).

No input leads to a 5xx, what the document allows is accepted, what it forbids is refused, and every status and media
type of an answer is one that it tells.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import builders
from tests.conformance.dicomweb.conftest import served

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path) as made:
        for number in (1, 2):
            content = builders.part10(builders.ct_slice(number))
            told = {"Content-Type": "application/dicom"}
            assert httpx.post(f"{made}/dicom-web/studies", content=content, headers=told).status_code == 200
        yield made


@pytest.mark.timeout(600)
def test_the_document_is_honest_and_nothing_that_it_leads_to_is_5xx(address: str, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"{address}/api/openapi.json",
        f"--url={address}",
        "--checks=all",
        "--exclude-method=HEAD",  # the same routes, without a body; tests/unit/api/test_conditions.py has them
        "--workers=1",
        "--no-color",
    ]
    told = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.conformance.dicomweb.schema_hooks",
        "ROI_TEST_KEPT": "2.25.1/2.25.1.1/2.25.1.1.1",
    }
    ran = subprocess.run(command, cwd=tmp_path, env=told, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-20_000:]
    assert httpx.get(f"{address}/health/ready").status_code == 200
