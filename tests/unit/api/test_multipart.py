from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dicomweb.media import MediaType
from api.dicomweb.multipart import MAX_PARTS, Related, boundary_of, parts
from api.errors import BodyIncomplete, BodyRejected


def read(body: bytes, boundary: str = "XX", *, size: int = 7) -> list[bytes]:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return [b"".join(part.pieces) for part in parts(chunks, boundary)]


@given(
    contents=st.lists(st.binary(max_size=60) | st.sampled_from([b"--XX", b"\r\n--X", b"\r\n--XXX"]), max_size=4),
    size=st.integers(min_value=1, max_value=50),
)
def test_what_is_written_is_read_back_however_it_is_cut(contents: list[bytes], size: int) -> None:
    related = Related("application/dicom")
    body = b"".join(piece for content in contents for piece in related.part("application/dicom", [content]))
    boundary = related.media_type.rpartition("=")[2]
    if contents:
        assert read(body + related.end(), boundary, size=size) == contents


def test_a_preamble_a_leading_line_end_and_an_epilogue_are_passed_over() -> None:  # W-26
    core = b"--XX\r\n\r\none\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n\r\n--XX--"
    for body in (core, b"\r\n" + core, b"read this --XX first\r\n" + core, core + b"\r\nfarewell"):
        assert read(body) == [b"one", b""]


def test_headers_are_known_by_lower_case_names() -> None:
    (part,) = parts([b"--XX\r\nCONTENT-Type: application/dicom \r\nX: y\r\n\r\n1\r\n--XX--\r\n"], "XX")
    assert part.headers == {"content-type": "application/dicom", "x": "y"}


def test_a_part_that_nobody_reads_is_passed_over() -> None:
    found = parts([b"--XX\r\n\r\none\r\n--XX\r\n\r\ntwo\r\n--XX--\r\n"], "XX")
    next(found)
    assert b"".join(next(found).pieces) == b"two"


@pytest.mark.parametrize(
    "body",
    [b"", b"nothing", b"--XX\r\n\r\n", b"--XX\r\n\r\none", b"--XX\r\n\r\none\r\n--XX", b"--XX\r\n\r\none\r\n--XX\r\n"],
)
def test_a_body_cut_short_is_never_whole(body: bytes) -> None:
    with pytest.raises(BodyIncomplete):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"--XX junk\r\n\r\none\r\n--XX--",
        b"--XX\r\nNo colon here\r\n\r\none\r\n--XX--",
        b"--XX\r\nA: " + b"a" * 10_000 + b"\r\n\r\none\r\n--XX--",
        b"--XX\r\n" + b"A: b\r\n" * 100 + b"\r\none\r\n--XX--",
        b"x" * 100_000,
    ],
)
def test_a_body_that_is_no_multipart_is_refused(body: bytes) -> None:
    with pytest.raises(BodyRejected):
        read(body, size=1000)


def test_more_parts_than_are_taken_are_refused() -> None:
    with pytest.raises(BodyRejected, match="parts"):
        read(b"--XX\r\n\r\n\r\n" * (MAX_PARTS + 1) + b"--XX--", size=65536)


@pytest.mark.parametrize("boundary", ["", "a" * 201, "ends with blank ", 'quote"', "x\r\ny"])
def test_an_illegal_boundary_is_refused(boundary: str) -> None:  # R-43, W-26
    with pytest.raises(BodyRejected):
        boundary_of(MediaType(name="multipart/related", parameters={"boundary": boundary}))


def test_a_boundary_as_long_as_orthancs_is_taken() -> None:  # W-26
    boundary = "-".join(["d4397ee7-a67c-4c71-bf18-713fba3984f1"] * 2)
    assert boundary_of(MediaType(name="multipart/related", parameters={"boundary": boundary})) == boundary
    assert read(f"--{boundary}\r\n\r\none\r\n--{boundary}--".encode(), boundary) == [b"one"]
