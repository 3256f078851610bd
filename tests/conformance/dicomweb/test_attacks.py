"""What a hostile client sends to the web services: each has a defined answer, and the server goes on."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydicom.dataset import Dataset

from tests import builders
from tests.conformance.dicomweb.conftest import served
from tests.conformance.dicomweb.raw import RELATED, chunked, post, said, status
from tests.unit.api.requests import body

JSON_PARTS = 'multipart/related; type="application/dicom+json"; boundary=b'
XML_PARTS = 'multipart/related; type="application/dicom+xml"; boundary=b'
MARKUP = "<script>alert(1)</script>"
STUDY, SERIES, INSTANCE = "2.25.1", "2.25.1.1", "2.25.1.1.1"
PLACE = f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}"


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("served")) as address:
        kept = builders.ct_slice(1, PatientName=f"A{MARKUP}", StudyDescription=f"B{MARKUP}")
        content = builders.part10(kept)
        sent = httpx.post(
            f"{address}/dicom-web/studies", content=content, headers={"Content-Type": "application/dicom"}
        )
        assert sent.status_code == 200
        yield address


@pytest.fixture
def client(base_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, timeout=60) as made:
        yield made
        assert made.get("/health/ready").status_code == 200


def is_problem(answer: httpx.Response, status_code: int) -> bool:
    return (answer.status_code, answer.headers["content-type"]) == (status_code, "application/problem+json")


# ------------------------------------------------------------------------------------------------------ UIDs, paths
UIDS = [
    "1..2",
    "1.2.",
    ".1",
    "1" * 65,
    "a",
    "1.2x",
    "..%5C..",
    "1.2%00",
    "1.2%0A",
    "%D9%A1.%D9%A2",
    "1.2;x",
    "-1",
    "1,2",
    "1 2",
    "{{7*7}}",
    "$(id)",
    "'%20OR%201=1",
]


@pytest.mark.parametrize("uid", UIDS)
@pytest.mark.parametrize("path", ["", "/series", "/metadata", "/rendered", "/thumbnail", "/instances"])
def test_a_uid_that_is_none_is_400_and_goes_nowhere(client: httpx.Client, uid: str, path: str) -> None:  # W-7, R-48
    answer = client.get(f"/dicom-web/studies/{uid}{path}")
    assert is_problem(answer, 400)


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/studies/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/dicom-web/..;/api/worklist",
        "/dicom-web//studies",
        "//dicom-web/studies",
        "/dicom-web/studies.",
        "/dicom-web/STUDIES",
        "/dicom-web/studies/",
        "/static/..%2f..%2fpyproject.toml",
        "/static/%2e%2e/%2e%2e/pyproject.toml",
        "/static//etc/passwd",
        f"{PLACE}/bulkdata/../../../../../../../../etc/passwd",
        f"{PLACE}/bulkdata/%2e%2e/%2e%2e/etc",
        f"{PLACE}/bulkdata/7fe00010",
        f"{PLACE}/bulkdata/{'0040A730/0/' * 2000}7FE00010",
        f"{PLACE}/frames/1%2F2",
    ],
)
def test_a_path_that_is_none_is_404(base_url: str, path: str) -> None:
    answer = said(base_url, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert status(answer) in {400, 404}
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (f"frames/{','.join(['1'] * 1001)}", 400),
        (f"frames/{'1,' * 5000}1", 400),
        ("frames/0", 400),
        ("frames/-1", 400),
        ("frames/1.0", 400),
        ("frames/1e3", 400),
        ("frames/%EF%BC%91", 400),
        ("frames/2", 404),
        ("frames/9999999999", 404),
        (f"frames/{'9' * 500}", 400),
        ("rendered?viewport=1000000,1000000", 400),
        ("rendered?viewport=0,0", 400),
        ("rendered?viewport=-1,5", 400),
        ("rendered?viewport=5,5,nan,0,1,1", 400),
        (f"rendered?viewport={'9' * 199}", 400),
        ("rendered?quality=0", 400),
        ("rendered?quality=101", 400),
        ("rendered?quality=1e1", 400),
        ("rendered?window=0,0", 400),
        ("rendered?window=1,-1,linear-exact", 400),
        ("rendered?window=nan,1", 400),
        ("rendered?window=1e999,1", 400),
        ("rendered?window=1,2,cubic", 400),
        ("frames/1,1,1/rendered?quality=x", 400),
        (f"frames/{','.join(['1'] * 101)}/rendered", 400),
    ],
)
def test_frames_and_pictures_beyond_measure_are_refused(client: httpx.Client, rest: str, expected: int) -> None:
    assert is_problem(client.get(f"{PLACE}/{rest}"), expected)


@pytest.mark.parametrize(
    "path", ["/patients", "/patients/1/studies", "/commitment-requests/1.2", "/color-palettes", "/inventories"]
)
def test_what_is_not_offered_is_404(client: httpx.Client, path: str) -> None:  # W-71, W-72
    for method in ("GET", "POST"):
        assert is_problem(client.request(method, f"/dicom-web{path}"), 404)


# ------------------------------------------------------------------------------------------------------ multipart
@pytest.mark.parametrize(
    ("content_type", "sent"),
    [
        (RELATED, b"--b\r\n\r\n\r\n" * 10**6 + b"--b--"),
        (RELATED, b"--b\r\nContent-Type: application/dicom\r\n\r\n\r\n" * 100_000 + b"--b--"),
        (RELATED, b"\r\n" * (4 * 1024 * 1024)),
        (RELATED, b"--b\r\n" * 10**6),
        (RELATED, b"--b\r\n\r\nx\r\n--b\r\n\r\nx"),
        (RELATED, b"--b\r\nX: " + b"y" * (10 * 1024 * 1024)),
        (RELATED, b"--b\r\n" + b"X: y\r\n" * 10**6 + b"\r\n--b--"),
        (RELATED, b"--b\r\n" + b"\r\n--b\r\r\n--" * 10**5),
        (RELATED.replace("=b", '="'), b"--b--"),
        (RELATED.replace("=b", "="), b"--b--"),
        (RELATED.replace("=b", '="a\\\r"'), b"--b--"),
        (RELATED + "x" * 200, b"--b--"),
        (RELATED.replace("boundary=b", "x=" + "\\" * 20_000), b"--b--"),
        ("multipart/related" + ";" * 30_000, b"--b--"),
        ('multipart/related; type="' + 'application/dicom";' * 1000, b"--b--"),
    ],
)
def test_a_multipart_that_is_none_is_refused_in_no_time(
    base_url: str, client: httpx.Client, content_type: str, sent: bytes
) -> None:
    if any(letter in content_type for letter in "\r\n"):
        assert status(said(base_url, post(content_type, len(sent), sent))) in {400, 415}
        return
    began = time.process_time()
    answer = client.post("/dicom-web/studies", content=sent, headers={"Content-Type": content_type})
    assert answer.status_code in {400, 415}
    assert time.process_time() - began < 30  # the server is a thread of this process


def test_a_boundary_of_a_mebibyte_is_refused(base_url: str) -> None:
    answer = said(base_url, post(RELATED + "b" * 1024 * 1024, 4, b"--b-"))
    assert not answer or status(answer) in {400, 431}


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health/live HTTP/1.1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"Content-Length: -5\r\n\r\nabcdef",
        b"Content-Length: 5, 5\r\n\r\nabcde",
        b"Content-Length: 0x5\r\n\r\nabcde",
        b"Content-Length: \xd9\xa5\r\n\r\nabcde",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"Transfer-Encoding: identity, chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_lengths_that_contradict_are_refused(base_url: str, framed: bytes) -> None:
    head = b"POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/dicom\r\n"
    answer = said(base_url, head + framed)
    assert status(answer) == 400
    assert b"200 OK" not in answer


def test_chunks_of_any_size_make_a_body(base_url: str) -> None:  # R-43, W-26
    content = body([builders.part10(builders.ct_slice(number)) for number in range(1, 30)])
    related = 'multipart/related; type="application/dicom"; boundary="a boundary"'
    for size in (100, 65_536, 1_000_000):
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        assert status(said(base_url, post(related, None, chunked(pieces)))) in {200, 202}


# ------------------------------------------------------------------------------------------------------ long bodies
def test_a_compressed_body_is_not_inflated(client: httpx.Client) -> None:  # R-44, W-10
    bomb = zlib.compress(bytes(50_000_000), 9)
    for coding in ("gzip", "deflate", "br", "x-gzip", "identity, gzip"):
        told = {"Content-Type": "application/dicom", "Content-Encoding": coding}
        assert is_problem(client.post("/dicom-web/studies", content=bomb, headers=told), 415)


def test_a_length_of_4_gib_is_not_believed(base_url: str) -> None:
    assert status(said(base_url, post("application/json", 2**32, b"{}", path=PLACE.replace("/dicom-web", "/x")))) == 413
    with pytest.raises(TimeoutError):  # what is still to come is waited for, and nothing is held ready for it
        said(base_url, post("application/dicom", 2**32, b"not dicom" * 100), timeout_s=1)


def test_a_zip_file_is_not_taken(client: httpx.Client) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("../../evil", builders.part10(builders.ct_slice(3)))
    for named in (
        "application/zip",
        "application/x-zip-compressed",
        'multipart/related; type="application/zip"; boundary=b',
    ):
        answer = client.post("/dicom-web/studies", content=file.getvalue(), headers={"Content-Type": named})
        assert is_problem(answer, 415)
    told = {"Content-Type": "application/dicom"}
    assert client.post("/dicom-web/studies", content=file.getvalue(), headers=told).status_code == 400


# ------------------------------------------------------------------------------------------------------ searches
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=1000000000", 200),
        ("offset=1000000000000", 204),
        ("limit=0", 204),
        ("includefield=all", 200),
        ("includefield=all&includefield=all", 200),
        ("&".join(f"P{number}=" for number in range(1000)), 400),
        ("PatientID=" + "x" * 40_000, 414),
        ("PatientName=" + "*a" * 9, 400),
        ("PatientName=" + "?" * 30_000, 400),
        ("StudyInstanceUID=" + ",".join(["1.2"] * 2001), 400),
        ("PatientName=" + quote("Nguyễn*"), 204),
        ("PatientID=" + quote("%_\\'; DROP TABLE studies--"), 204),
        ("PatientID=" + quote("{{7*7}}$(id)"), 204),
        ("PatientID=%00", 400),
        ("PatientID=%FF%FE", 204),
        ("PatientID=%ED%A0%80", 204),
        ("StudyDate=99999999", 204),
        ("StudyDate=20200101-20190101", 204),
        ("StudyDate=" + "1" * 5000, 400),
        ("NumberOfStudyRelatedSeries=9999999999999999", 400),
        ("NumberOfStudyRelatedSeries=999999999999", 204),
        ("limit=99999999999999999999999", 400),
        ("00400275." * 50 + "00400009=x", 400),
        ("%00=x", 400),
        ("accept=" + "a" * 20_000, 200),  # names no media type, so the header counts (PS3.18 8.7.8.1)
    ],
)
def test_a_search_beyond_measure_has_a_bounded_answer(client: httpx.Client, query: str, expected: int) -> None:
    answer = client.get(f"/dicom-web/studies?{query}")
    assert answer.status_code == expected
    assert MARKUP not in answer.text or answer.headers["content-type"] == "application/dicom+json"


@pytest.mark.parametrize(
    "query", ["&".join(f"PatientID={number}" for number in range(10_000)), "PatientID=" + "x" * 65_536, "x" * 10**6]
)
def test_a_target_without_end_is_414(base_url: str, query: str) -> None:
    answer = said(base_url, f"GET /dicom-web/studies?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert not answer or status(answer) in {400, 414}  # the parser has a limit of its own


# ------------------------------------------------------------------------------------------------------ JSON and XML
def _as_part(content_type: str, content: bytes) -> bytes:
    return b"--b\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n" + content + b"\r\n--b--"


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"00080018":{"vr":"SQ","Value":[' * 50_000,
        b'[{"00080018":{"vr":"UI"},"00080018":{"vr":"UI"}}]',
        b'[{"00280010":{"vr":"US","Value":[NaN]}}]',
        b'[{"00280010":{"vr":"FD","Value":[Infinity]}}]',
        b'[{"00280010":{"vr":"US","Value":[' + b"9" * 10**7 + b"]}}]",
        '[{"00080018":{"vr":"UI"}}]'.encode("utf-16"),
        "\ufeff[{}]".encode(),
        b"\xff\xfe",
        b"",
        b"null",
        b"[]",
        b"[null]",
        b'"x"',
        b"[{}] x",
    ],
)
def test_json_that_is_hostile_is_400(client: httpx.Client, content: bytes) -> None:
    sent = _as_part("application/dicom+json", content)
    answer = client.post("/dicom-web/studies", content=sent, headers={"Content-Type": JSON_PARTS})
    assert is_problem(answer, 400)


@pytest.mark.parametrize(
    "content", [b"[" * 30_000, b'{"by":"a","by":"b"}', b"NaN", b"9" * 60_000, "{}".encode("utf-16")]
)
@pytest.mark.parametrize(("method", "path"), [("DELETE", PLACE), ("PUT", f"/api/studies/{STUDY}/priority")])
def test_a_hostile_body_of_the_api_is_400(client: httpx.Client, content: bytes, method: str, path: str) -> None:
    answer = client.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert is_problem(answer, 400)


_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><NativeDicomModel>&e;</NativeDicomModel>',
        f'<!DOCTYPE x [<!ENTITY l0 "lol">{_LAUGHS}]><NativeDicomModel>&l9;</NativeDicomModel>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><NativeDicomModel/>',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/">%p;]><NativeDicomModel/>',
        "<NativeDicomModel>&unknown;</NativeDicomModel>",
        '<x xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></x>',
        "<NativeDicomModel>" + "<DicomAttribute tag='00080018' vr='SQ'><Item number='1'>" * 10_000,
        "<" * 100_000,
        "",
    ],
)
def test_xml_that_is_hostile_is_refused(client: httpx.Client, content: str) -> None:
    sent = _as_part("application/dicom+xml", content.encode())
    answer = client.post("/dicom-web/studies", content=sent, headers={"Content-Type": XML_PARTS})
    assert is_problem(answer, 400)
    assert "root:" not in answer.text


def test_an_address_in_metadata_is_never_called(client: httpx.Client) -> None:  # R-41, W-21
    heard: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        port = listener.getsockname()[1]

        def hear() -> None:
            try:
                heard.append(listener.accept())
            except TimeoutError:
                return

        thread = threading.Thread(target=hear)
        thread.start()
        for uri in (f"http://127.0.0.1:{port}/x", f"//127.0.0.1:{port}/x", "file:///etc/passwd", "gopher://x", "../x"):
            model = builders.ct_slice(9).to_json_dict() | {"7FE00010": {"vr": "OW", "BulkDataURI": uri}}
            sent = _as_part("application/dicom+json", json.dumps([model]).encode())
            answer = client.post("/dicom-web/studies", content=sent, headers={"Content-Type": JSON_PARTS})
            assert answer.status_code == 409
        thread.join()
    assert heard == []


# ------------------------------------------------------------------------------------------------------ text
HOSTILE: dict[str, Any] = {
    "latin as utf-8": ("ISO_IR 192", b"\xc4nneas"),
    "utf-8 as latin": ("ISO_IR 100", "Nguyễn".encode()),
    "an escape that is none": ("\\ISO 2022 IR 87", b"\x1b$Zabc\x1b("),
    "an unknown set": ("ISO_IR 999", b"abc\xff"),
    "nul and control characters": ("ISO_IR 192", b"a\0b\x07c\x1b[31md"),
    "right to left override": ("ISO_IR 192", "abc\u202egnp.exe".encode()),
    "a thousand backslashes": ("ISO_IR 192", b"\\" * 1000),
    "half a surrogate pair": ("ISO_IR 192", b"\xed\xa0\x80"),
    "no character": ("ISO_IR 192", "\uffff\u0000".encode()),
}


@pytest.mark.filterwarnings("ignore:Unknown encoding")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_kept_as_it_came_and_its_json_and_xml_are_valid(client: httpx.Client, name: str) -> None:
    charset, text = HOSTILE[name]  # R-28, W-87
    number = 100 + list(HOSTILE).index(name)
    told = builders.ct_slice(number)
    told.SpecificCharacterSet = charset
    told.StudyInstanceUID, told.SeriesInstanceUID = f"2.25.{number}", f"2.25.{number}.1"
    told.PatientName = told.PatientID = told.StudyDescription = "XXXXXXXX" * 2
    told.PatientComments = "YY"
    content = builders.part10(told)
    value = (text[:16] if len(text) > 16 else text).ljust(16)
    content = content.replace(b"XXXXXXXX" * 2, value)
    sent = client.post("/dicom-web/studies", content=content, headers={"Content-Type": "application/dicom"})
    assert sent.status_code == 200
    url = f"/dicom-web/studies/2.25.{number}/series/2.25.{number}.1/instances/{told.SOPInstanceUID}"
    given = client.get(url, headers={"Accept": "application/dicom"}).content
    assert given.count(value) == content.count(value) == 3
    for path in (f"{url}/metadata", f"/dicom-web/studies?StudyInstanceUID=2.25.{number}"):
        answer = client.get(path)
        (model,) = json.loads(answer.content.decode("utf-8"), parse_constant=pytest.fail)
        assert model["0020000D"]["Value"] == [f"2.25.{number}"]
        Dataset.from_json(model, bulk_data_uri_handler=lambda *_: b"")
        xml = client.get(path, headers={"Accept": 'multipart/related; type="application/dicom+xml"'})
        assert xml.status_code == 200
    page = client.get("/")
    assert page.status_code == 200
    assert page.text.count("\0") == 0


def test_markup_in_values_is_text_wherever_it_is_shown(client: httpx.Client) -> None:
    page = client.get("/")
    assert MARKUP not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "script-src" not in page.headers["content-security-policy"].replace("script-src 'self'", "")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path in (f"/dicom-web/studies?{MARKUP}=1", f"/dicom-web/{MARKUP}", f"/dicom-web/studies/{MARKUP}"):
        answer = client.get(path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert MARKUP not in answer.text
    told = client.get(f"{PLACE}/metadata")
    assert (told.headers["content-type"], told.headers["x-content-type-options"]) == (
        "application/dicom+json",
        "nosniff",
    )


# ------------------------------------------------------------------------------------------------------ answers
def test_caches_are_told_whose_answers_they_are(client: httpx.Client) -> None:
    paths = ("/studies", f"/studies/{STUDY}", f"/studies/{STUDY}/metadata", "/nowhere", "")
    for path in (*paths, PLACE.removeprefix("/dicom-web") + "/rendered"):
        headers = client.get(f"/dicom-web{path}").headers
        assert "private" in headers["cache-control"]
        assert {"Accept", "Authorization"} <= set(headers["vary"].split(", "))


@pytest.mark.parametrize(
    "asked", ["bytes=" + "0-," * 1000, "bytes=" + ",".join(f"{n}-{n}" for n in range(9)), "bytes=0-1," * 9 + "0-1"]
)
def test_a_thousand_ranges_are_refused(client: httpx.Client, asked: str) -> None:
    answer = client.get(PLACE, headers={"Accept": "application/dicom", "Range": asked})
    assert is_problem(answer, 416)


INJECTED = "X%0D%0ASet-Cookie:%20a=b%0D%0A%0D%0A%1B%5B31m"


def test_line_ends_in_a_value_reach_no_header_and_no_log_line(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    paths = (
        f"/dicom-web/studies?PatientID={INJECTED}",
        f"/dicom-web/studies?{INJECTED}=1",
        f"/dicom-web/studies/{INJECTED}",
        f"/dicom-web/studies?accept={INJECTED}",
        f"{PLACE}/rendered?annotation={INJECTED}",
        f"{PLACE}/rendered?iccprofile={INJECTED}&charset={INJECTED}",
        f"{PLACE}/frames/{INJECTED}",
        f"{PLACE}/bulkdata/{INJECTED}",
        f"/{INJECTED}",
    )
    with caplog.at_level(logging.DEBUG):
        for path in paths:
            answer = client.get(path)
            assert answer.status_code < 500
            assert "set-cookie" not in answer.headers
            assert not any(re.search(r"[\x00-\x1f]", value) for value in answer.headers.values())
    # The access log is off where pytest does not listen to it.
    others = ("httpx", "httpcore", "uvicorn.access")
    ours = [record for record in caplog.records if not record.name.startswith(others)]
    assert not any("Set-Cookie" in record.getMessage() for record in ours)
