"""DCMTK as a foreign peer: its programs are served, refused and survived as the standard says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.dimse.corpus import Site, running_site, split
from tests.raw_scu import echo_status
from tests.servers.dcmtk import NO_DELAY, dcmtk

pytestmark = pytest.mark.servers


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


def _run(site: Site, program: str, *options: str, files: tuple[Path, ...] = (), called: str = "ROI") -> tuple[int, str]:
    done = subprocess.run(
        [dcmtk(program), "-v", "-aec", called, *options, "127.0.0.1", str(site.port), *files],
        env={**os.environ, **NO_DELAY},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-pdu", "4096"),
        ("-pdu", "131072"),
        ("--repeat", "50"),
        ("--abort",),
        ("-ppc", "128", "-pts", "38"),
        ("-aet", "SIXTEEN LETTERS!"),
    ],
)
def test_echoscu_is_answered(site: Site, options: tuple[str, ...]) -> None:  # T-1a
    code, said = _run(site, "echoscu", *options)
    assert (code, said.count("Received Echo Response (Success)")) == (0, 50 if "--repeat" in options else 1), said


def test_echoscu_is_told_that_nobody_has_this_title(site: Site) -> None:
    code, said = _run(site, "echoscu", called="SOMEBODY")
    assert code != 0
    assert "Called AE Title Not Recognized" in said


def test_termscu_shuts_nothing_down(site: Site) -> None:  # T-1f
    code, said = _run(site, "termscu")
    assert code != 0
    assert "No Acceptable Presentation Contexts" in said
    assert echo_status(site.port) == 0


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ((), "modality/CT_small.dcm"),
        (("-xi",), "transfer_syntax/MR_small_implicit.dcm"),
        (("-xb",), "transfer_syntax/MR_small_bigendian.dcm"),
        (("-xd",), "transfer_syntax/image_dfl.dcm"),
        (("-xr",), "transfer_syntax/MR_small_RLE.dcm"),
        (("-xv",), "transfer_syntax/MR_small_jp2klossless.dcm"),
        (("-xt",), "transfer_syntax/MR_small_jpeg_ls_lossless.dcm"),
        (("-usr", "user", "-pwd", "canary"), "modality/CT_small.dcm"),
        (("-pdu", "4096"), "modality/CT_small.dcm"),
    ],
)
def test_storescu_stores(
    site: Site, shared_data: Path, options: tuple[str, ...], name: str, caplog: pytest.LogCaptureFixture
) -> None:  # T-1c, D-13
    caplog.set_level("DEBUG")
    path = shared_data / "dicom" / name
    code, said = _run(site, "storescu", "-nh", *options, files=(path,))
    assert code == 0, said
    assert "canary" not in caplog.text
    (arrival, _) = next(iter(site.archive.kept.values()))
    assert arrival.header.transfer_syntax_uid == split(path.read_bytes())[0].transfer_syntax_uid
    assert len(site.take()) == 1
