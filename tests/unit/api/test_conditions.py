"""Conditions of a request, whatever it asks for: methods, tags, ranges, compression, other sites' pages."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from dataclasses import replace
from xml.etree.ElementTree import fromstring

import pytest
from fastapi.testclient import TestClient
from pydicom.uid import ExplicitVRBigEndian

from api import ApiContext, create_app
from api.dicomweb.ranges import MAX_RANGES
from tests import builders
from tests.unit.api.conftest import BASE
from tests.unit.api.requests import parts, store

SERIES = "/dicom-web/studies/2.25.1/series/2.25.1.1"
ONE = f"{SERIES}/instances/2.25.1.1.1"
PIXELS = f"{ONE}/bulkdata/7FE00010"
ALONE = {"Accept": "application/dicom"}
OCTETS = {"Accept": "application/octet-stream"}
VIEWER = "https://viewer.example"
ASKING = {"Origin": VIEWER, "Access-Control-Request-Method": "GET"}


@pytest.fixture
def kept(client: TestClient) -> TestClient:
    assert store(client, builders.ct_slice(1), builders.ct_slice(2)).status_code == 200
    return client


@pytest.fixture
def open_client(context: ApiContext) -> Iterator[TestClient]:
    """A site that lets one other site's pages in."""
    with TestClient(create_app(replace(context, cors_origins=frozenset({VIEWER}))), base_url=BASE) as made:
        yield made


# ----------------------------------------------------------------------------------------------------- methods
def test_capabilities_name_every_resource_and_what_it_gives(client: TestClient) -> None:  # W-8
    answer = client.options("/dicom-web/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.sun.wadl+xml")
    wadl = fromstring(answer.content)
    space = "{http://wadl.dev.java.net/2009/02}"
    assert wadl.tag == f"{space}application"
    (resources,) = wadl.findall(f"{space}resources")
    assert resources.attrib["base"] == f"{BASE}/dicom-web/"
    named = {one.attrib["path"]: {m.attrib["name"] for m in one.iter(f"{space}method")} for one in resources}
    assert {"GET", "POST"} <= named["studies"]
    assert named["studies/{study}/series/{series}/instances/{instance}/metadata"] == {"GET"}
    given = {one.attrib["mediaType"] for one in resources.iter(f"{space}representation")}
    assert 'multipart/related; type="application/dicom"' in given
    as_json = client.options("/dicom-web", headers={"Accept": "application/json"}).json()
    assert {one["path"] for one in as_json["resources"]} == set(named)


@pytest.mark.parametrize(("path", "known"), [("/dicom-web/studies", {"GET", "HEAD", "POST", "OPTIONS"})])
def test_a_resource_names_the_methods_of_all_its_routes(client: TestClient, path: str, known: set[str]) -> None:  # W-6
    refused, asked = client.put(path), client.options(path)
    assert (refused.status_code, set(refused.headers["allow"].split(", "))) == (405, known)
    assert (asked.status_code, set(asked.headers["allow"].split(", ")), asked.content) == (204, known, b"")
    assert client.options("/dicom-web/nowhere").status_code == 404


@pytest.mark.parametrize("path", [ONE, SERIES, f"{ONE}/metadata", PIXELS, f"{ONE}/rendered?viewport=8,8"])
def test_what_is_retrieved_names_its_place_below_the_configured_address(kept: TestClient, path: str) -> None:  # W-11
    """PS3.18 8.4.3."""
    got = kept.get(path, headers={"Host": "localhost"})
    again = kept.get(path, headers={"If-None-Match": got.headers["etag"]})
    assert (got.status_code, again.status_code) == (200, 304)
    assert got.headers["content-location"] == again.headers["content-location"] == f"{BASE}{path}"


@pytest.mark.parametrize("path", [ONE, f"{ONE}/metadata", PIXELS, "/dicom-web/studies"])
@pytest.mark.parametrize("accept", ["*/*", "application/octet-stream, application/dicom, */*;q=0.1"])
def test_head_has_the_headers_of_get(kept: TestClient, path: str, accept: str) -> None:  # W-8
    got, told = (kept.request(method, path, headers={"Accept": accept}) for method in ("GET", "HEAD"))
    own = {"x-request-id", "transfer-encoding"}
    assert {name: value for name, value in told.headers.items() if name not in own} == {
        name: value for name, value in got.headers.items() if name not in own
    }
    assert told.content == b""


# -------------------------------------------------------------------------------------------------------- tags
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/dicom-web/studies/2.25.1", {}),
        (SERIES, {}),
        (ONE, {}),
        (ONE, ALONE),
        (f"{SERIES}/metadata", {}),
        (PIXELS, {}),
        (PIXELS, OCTETS),
    ],
)
def test_equal_tags_are_equal_bytes_and_are_not_sent_twice(
    kept: TestClient, path: str, headers: dict[str, str]
) -> None:  # W-9
    first, second = kept.get(path, headers=headers), kept.get(path, headers=headers)
    tag = first.headers["etag"]
    assert not tag.startswith("W/")
    assert (second.headers["etag"], second.content) == (tag, first.content)
    held = kept.get(path, headers={**headers, "If-None-Match": f'"other", {tag}'})
    assert (held.status_code, held.headers["etag"], held.content) == (304, tag, b"")
    assert held.headers["cache-control"].startswith("private")
    assert kept.get(path, headers={**headers, "If-None-Match": '"other"'}).status_code == 200


def test_forms_of_one_resource_have_tags_of_their_own(kept: TestClient) -> None:
    asked = [{"Accept": "application/json"}, {}, {"Accept-Encoding": "gzip"}]
    tags = [kept.get(f"{ONE}/metadata", headers={"Accept-Encoding": "", **one}).headers["etag"] for one in asked]
    assert len(set(tags)) == 3


def test_a_series_that_grew_has_another_tag(kept: TestClient) -> None:
    tag = kept.get(f"{SERIES}/metadata").headers["etag"]
    store(kept, builders.ct_slice(3))
    assert kept.get(f"{SERIES}/metadata", headers={"If-None-Match": tag}).status_code == 200


def test_caches_hear_that_answers_are_private_and_negotiated(kept: TestClient) -> None:
    for path in (ONE, "/dicom-web/studies", f"{ONE}/metadata", "/dicom-web/nowhere"):
        headers = kept.get(path).headers
        assert headers["cache-control"].startswith("private")
        assert headers["vary"] == "Accept, Accept-Encoding, Authorization"


# ------------------------------------------------------------------------------------------------------ ranges
@pytest.mark.parametrize(("path", "headers"), [(ONE, ALONE), (PIXELS, OCTETS)])
def test_a_range_is_that_part_of_the_whole(kept: TestClient, path: str, headers: dict[str, str]) -> None:  # W-9
    answer = kept.get(path, headers=headers)
    whole, size = answer.content, len(answer.content)
    assert answer.headers["accept-ranges"] == "bytes"
    for asked, part in (
        ("0-0", whole[:1]),
        ("3-12", whole[3:13]),
        ("500-", whole[500:]),
        ("-7", whole[-7:]),
        (f"0-{size * 9}", whole),
        (f"-{size * 9}", whole),
    ):
        given = kept.get(path, headers={**headers, "Range": f"bytes={asked}"})
        assert (given.status_code, given.content) == (206, part)
        start = whole.index(part) if len(part) > 16 else int(given.headers["content-range"].split()[1].split("-")[0])
        assert given.headers["content-range"] == f"bytes {start}-{start + len(part) - 1}/{size}"
        assert given.headers["content-length"] == str(len(part))
        assert given.headers["etag"] == answer.headers["etag"]


def test_ranges_of_a_value_kept_in_big_endian_are_turned(client: TestClient) -> None:
    data_set = builders.ct_slice(1)
    data_set.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert store(client, data_set).status_code == 200
    whole = client.get(PIXELS, headers=OCTETS).content
    for start, end in ((0, 1), (1, 1), (7, 9), (13, 40)):
        given = client.get(PIXELS, headers={**OCTETS, "Range": f"bytes={start}-{end}"})
        assert (given.status_code, given.content) == (206, whole[start : end + 1])


def test_several_ranges_come_as_parts(kept: TestClient) -> None:
    whole = kept.get(PIXELS, headers=OCTETS).content
    given = kept.get(PIXELS, headers={**OCTETS, "Range": "bytes=0-3, 10-19"})
    assert (given.status_code, parts(given)) == (206, [whole[:4], whole[10:20]])


def test_ranges_that_cannot_be_are_416_with_the_size(kept: TestClient) -> None:
    size = len(kept.get(PIXELS, headers=OCTETS).content)
    many = ",".join(f"{at}-{at}" for at in range(MAX_RANGES + 1))
    for asked in (f"{size}-", "-0", many):
        given = kept.get(PIXELS, headers={**OCTETS, "Range": f"bytes={asked}"})
        assert (given.status_code, given.headers["content-range"]) == (416, f"bytes */{size}")
        assert given.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "lines=1-2"},
        {"Range": "bytes=4-2"},
        {"Range": "bytes=x"},
        {"Range": "bytes=-"},
        {"Range": "bytes=0-,0-,0-"},
        {"Range": "bytes=0-3", "If-Range": '"another"'},
    ],
)
def test_what_is_no_range_gives_the_whole(kept: TestClient, headers: dict[str, str]) -> None:
    whole = kept.get(PIXELS, headers=OCTETS)
    given = kept.get(PIXELS, headers={**OCTETS, **headers})
    assert (given.status_code, given.content) == (200, whole.content)


# ------------------------------------------------------------------------------------------------- compression
@pytest.mark.parametrize(("accepted", "squeezed"), [("gzip", True), ("br, *", True), ("gzip;q=0", False), ("", False)])
@pytest.mark.parametrize("path", [f"{SERIES}/metadata", "/dicom-web/studies"])
def test_json_is_squeezed_for_who_takes_it(kept: TestClient, path: str, accepted: str, squeezed: bool) -> None:  # W-10
    with kept.stream("GET", path, headers={"Accept-Encoding": accepted}) as answer:
        sent = b"".join(answer.iter_raw())
    assert (answer.headers.get("content-encoding") == "gzip") is squeezed
    plain = kept.get(path, headers={"Accept-Encoding": ""}).content
    assert (gzip.decompress(sent) if squeezed else sent) == plain


def test_pixels_are_never_squeezed(kept: TestClient) -> None:  # W-10
    assert "content-encoding" not in kept.get(ONE, headers={"Accept-Encoding": "gzip"}).headers


# ------------------------------------------------------------------------------------------------ other origins
def test_no_other_sites_page_is_let_in_unless_it_is_named(client: TestClient) -> None:  # W-12
    assert client.options("/dicom-web/studies", headers=ASKING).status_code == 403
    read = client.get("/dicom-web/studies", headers={"Origin": VIEWER})
    assert "access-control-allow-origin" not in read.headers


def test_a_named_sites_page_reads_and_stores_but_removes_nothing(open_client: TestClient) -> None:  # W-12
    asked = open_client.options("/dicom-web/studies", headers=ASKING)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, VIEWER)
    assert "DELETE" not in asked.headers["access-control-allow-methods"]
    foreign = {"Origin": VIEWER, "Sec-Fetch-Site": "cross-site"}
    read = open_client.get("/dicom-web/studies", headers=foreign)
    assert (read.status_code, read.headers["access-control-allow-origin"]) == (204, VIEWER)
    assert "ETag" in read.headers["access-control-expose-headers"]
    assert read.headers["vary"].endswith("Origin")
    assert open_client.post("/dicom-web/studies", headers=foreign).status_code == 415
    assert open_client.delete("/dicom-web/studies/2.25.1", headers=foreign).status_code == 403
    assert open_client.put("/api/studies/2.25.1/priority", headers=foreign).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", f"{VIEWER}.evil.example", "null", f"{VIEWER}:8443"])
def test_another_origin_than_the_named_one_is_not_let_in(open_client: TestClient, origin: str) -> None:
    asked = open_client.options("/dicom-web/studies", headers={**ASKING, "Origin": origin})
    assert (asked.status_code, "access-control-allow-origin" in asked.headers) == (403, False)
    read = open_client.get("/dicom-web/studies", headers={"Origin": origin})
    assert "access-control-allow-origin" not in read.headers


def test_a_path_beyond_all_measure_is_414(client: TestClient) -> None:
    assert client.get("/dicom-web/studies?PatientID=" + "x" * 40_000).status_code == 414
