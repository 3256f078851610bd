"""The viewer's files below /ohif/, with headers of their own; links to it; and an API that does without it."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from api.guard import HEADERS as STRICT
from api.viewer import HEADERS
from storage.archive import Archive
from storage.records import Outcome, TriageResult
from tests import builders
from tests.browser.scene import HEAD, Scene, Told, fill, finding
from tests.unit.api.conftest import BASE
from tests.viewer_package import HASHED, shelf_with
from web.viewer import Shelf

MISSING = {
    "vi": "Chưa cài trình xem ảnh; hãy chạy roi viewer fetch.",
    "en": "The viewer is not installed; run roi viewer fetch.",
}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return shelf_with(tmp_path / "viewers")


@pytest.fixture
def viewing(context: ApiContext, shelf: Shelf) -> Iterator[TestClient]:
    with TestClient(create_app(replace(context, viewers=shelf)), base_url=BASE) as made:
        yield made


def test_the_first_page_is_served_for_every_view_of_the_viewer(viewing: TestClient) -> None:
    pages = [viewing.get(path) for path in ("/ohif/", "/ohif", "/ohif/viewer?StudyInstanceUIDs=1.2", "/ohif/a/b")]
    assert {page.status_code for page in pages} == {200}
    assert {page.text for page in pages} == {pages[0].text}
    assert "fake viewer" in pages[0].text
    assert pages[0].headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    ["/ohif/none.js", "/ohif/../pages.json", "/ohif/%2e%2e/pages.json", "/ohif/%2e%2e%2fLICENSE.x", "/ohif/sw.js"],
)
def test_a_file_that_is_not_the_viewers_is_404(viewing: TestClient, path: str) -> None:
    answer = viewing.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.headers["content-security-policy"] == STRICT["Content-Security-Policy"]


def test_hashed_files_are_kept_for_ever_and_others_asked_again(viewing: TestClient) -> None:
    found = {name: viewing.get(f"/ohif/{name}").headers for name in (HASHED, "0123456789abcdef.wasm", "app.bundle.css")}
    assert [headers["cache-control"] for headers in found.values()] == [
        "public, max-age=31536000, immutable",
        "public, max-age=31536000, immutable",
        "no-cache",
    ]
    assert [headers["content-type"] for headers in found.values()] == [
        "text/javascript; charset=utf-8",
        "application/wasm",
        "text/css; charset=utf-8",
    ]


def test_a_client_that_takes_gzip_gets_the_sibling_and_others_the_file(viewing: TestClient, shelf: Shelf) -> None:
    installed = shelf.installed()
    assert installed is not None
    content = installed.path(HASHED).read_bytes()
    squeezed = viewing.get(f"/ohif/{HASHED}", headers={"Accept-Encoding": "br, gzip"})
    plain = viewing.get(f"/ohif/{HASHED}", headers={"Accept-Encoding": "br"})
    assert (squeezed.headers["content-encoding"], squeezed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert int(squeezed.headers["content-length"]) == len(installed.path(HASHED, squeezed=True).read_bytes())
    assert "content-encoding" not in plain.headers
    assert squeezed.content == plain.content == content
    assert squeezed.headers["etag"] != plain.headers["etag"]
    assert gzip.decompress(installed.path(HASHED, squeezed=True).read_bytes()) == content


def test_what_a_browser_holds_is_not_sent_again(viewing: TestClient) -> None:
    first = viewing.get("/ohif/").headers
    again = viewing.get("/ohif/", headers={"If-None-Match": first["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    # RFC 9110 15.4.5: what a 304 carries takes the place of what the browser held.
    for name in (*HEADERS, "Cache-Control", "ETag", "Vary"):
        assert again.headers[name] == first[name]


def test_the_viewer_may_compile_code_and_nothing_else_may(viewing: TestClient) -> None:
    for path in ("/ohif/", f"/ohif/{HASHED}", "/ohif/app-config.js", "/ohif/viewer"):
        assert {name: viewing.get(path).headers[name] for name in HEADERS} == HEADERS
    for path in ("/", "/vi", "/api/worklist", "/dicom-web/studies", "/static/worklist.css", "/ohif/none.js"):
        headers = viewing.get(path).headers
        assert "unsafe" not in headers["content-security-policy"]
        assert "cross-origin-embedder-policy" not in headers


def test_dicomweb_answers_may_be_read_by_an_isolated_page(viewing: TestClient, archive: Archive) -> None:
    builders.keep_data_set(archive, builders.ct_slice())
    instance = "/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1"
    for path in ("/dicom-web/studies", "/dicom-web/studies/2.25.1/metadata", f"{instance}/frames/1", instance):
        answer = viewing.get(path)
        assert (answer.status_code, answer.headers["cross-origin-resource-policy"]) == (200, "same-origin")


def test_the_settings_are_made_here_and_name_this_site_alone(viewing: TestClient) -> None:
    answer = viewing.get("/ohif/app-config.js")
    assert answer.headers["cache-control"] == "no-store"
    settings = json.loads(answer.text.removeprefix("window.config = ").removesuffix(";\n"))
    assert settings["routerBasename"] == "/ohif"
    [source] = settings["dataSources"]
    assert (source["configuration"]["qidoRoot"], source["configuration"]["wadoRoot"]) == ("/dicom-web", "/dicom-web")
    links = source["configuration"]["bulkDataURI"]
    assert (links["startsWith"], links["prefixWith"]) == (f"{BASE}/dicom-web", "/dicom-web")
    assert answer.text.count("://") == 1


@pytest.mark.parametrize("path", ["/ohif/", "/ohif/viewer?StudyInstanceUIDs=1", "/ohif/app-config.js", "/ohif/x.js"])
def test_a_viewer_that_is_not_installed_is_told_in_both_languages(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert (answer.json()["detail"], answer.json()["text"]) == (MISSING["en"], MISSING)


def test_a_viewer_that_goes_while_we_serve_takes_nothing_with_it(
    viewing: TestClient, shelf: Shelf, archive: Archive
) -> None:
    builders.keep(archive, builders.header())
    assert viewing.get("/ohif/").status_code == 200
    installed = shelf.installed()
    assert installed is not None
    shutil.rmtree(installed.folder / "site")
    assert viewing.get("/ohif/").json()["text"] == MISSING
    shutil.rmtree(installed.folder)
    [row] = viewing.get("/api/worklist").json()["entries"]
    assert row["viewer"] is None


def test_a_worklist_row_leads_to_its_study(viewing: TestClient, client: TestClient, archive: Archive) -> None:
    builders.keep(archive, builders.header())
    link = "/ohif/viewer?StudyInstanceUIDs=2.25.1"
    assert viewing.get("/api/worklist").json()["entries"][0]["viewer"] == link
    assert viewing.get("/api/worklist/2.25.1").json()["viewer"] == link
    assert f'href="{link}"' in viewing.get("/vi").text
    assert client.get("/api/worklist").json()["entries"][0]["viewer"] is None
    assert "/ohif/" not in client.get("/vi").text


def test_a_flagged_row_leads_to_the_key_image_of_its_most_urgent_finding(
    viewing: TestClient, archive: Archive, clock: builders.Clock
) -> None:
    told = Told(number=1, name="Nguyễn^Thị Khai", age_years=71, sex="F", description="CLVT sọ não", images=3)
    found = (
        replace(finding("opacity", "a", "a", 0.9, "urgent"), key_instance_uid="2.25.7.1.1.1"),
        replace(finding("haemorrhage", "b", "b", 0.1), key_instance_uid="2.25.7.1.1.2"),
        replace(finding("bleed", "c", "c", 0.8), key_instance_uid="2.25.7.1.1.3", key_series_uid="2.25.7.1.1"),
    )
    result = TriageResult(outcome=Outcome.FLAGGED, findings=found, urgency="critical", raises=True)
    Scene(archive, clock).judge(told, HEAD, result)
    [row] = viewing.get("/api/worklist").json()["entries"]
    assert parse_qs(urlsplit(row["viewer"]).query) == {
        "StudyInstanceUIDs": ["2.25.7.1"],
        "initialSeriesInstanceUID": ["2.25.7.1.1"],
        "initialSOPInstanceUID": ["2.25.7.1.1.3"],
    }


def test_a_link_holds_uids_and_nothing_of_a_patient(
    viewing: TestClient, archive: Archive, clock: builders.Clock
) -> None:
    fill(Scene(archive, clock))
    rows = viewing.get("/api/worklist").json()["entries"]
    assert len(rows) == 11
    for row in rows:
        values = [value for values in parse_qs(urlsplit(row["viewer"]).query).values() for value in values]
        assert values
        assert all(set(value) <= set("0123456789.") for value in values)
        assert row["patient"]["patient_id"] not in row["viewer"]
