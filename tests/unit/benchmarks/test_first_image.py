"""The first-image benchmark counts as it says, and its proxy passes on what it gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from benchmarks.first_image import Contestant, Figures, check, one_site
from benchmarks.peers import MissingError
from tests import builders
from tests.browser.viewing import Collection, served
from tests.viewer_package import HASHED, shelf_with


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Collection, str]]:
    with (
        served(tmp_path, shelf_with(tmp_path / "viewers")) as (collection, url),
        one_site(tmp_path / "proxy", url, url) as proxied,
    ):
        yield collection, proxied


def test_median_and_p95() -> None:
    figures = Figures(case="c", contestant="roi", milliseconds=[5.0, 1.0, 2.0, 4.0, 3.0])
    assert (figures.median, figures.p95) == (3.0, pytest.approx(4.8))


def test_the_proxy_passes_on_viewer_and_dicomweb_as_they_are(site: tuple[Collection, str]) -> None:
    collection, url = site
    collection.keep([builders.ct_slice()])
    script = urllib3.request("GET", f"{url}/ohif/{HASHED}", headers={"Accept-Encoding": "gzip"}, decode_content=False)
    assert (script.status, script.headers["content-encoding"]) == (200, "gzip")
    assert "immutable" in script.headers["cache-control"]
    frame = f"{url}/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/frames/1"
    answer = urllib3.request("GET", frame, headers={"Accept": "application/octet-stream"})
    assert (answer.status, answer.data) == (200, builders.ct_slice().PixelData)


def test_a_server_that_lacks_an_instance_gives_no_number(site: tuple[Collection, str]) -> None:
    collection, url = site
    collection.keep([builders.ct_slice()])
    contestant = Contestant(name="holder", url=url)
    check(contestant, {"2.25.1": 1})
    with pytest.raises(MissingError, match="holds 1 of 2 instances"):
        check(contestant, {"2.25.1": 2})
