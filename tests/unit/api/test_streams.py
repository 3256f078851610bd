"""Answers that leave in pieces: read ahead, told how long they are, and cut where they cannot be whole."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from pydicom.uid import ImplicitVRLittleEndian

from api.dicomweb.streams import Crossing, Piece, _leaving, gathered, stream
from tests import builders
from tests.unit.api.requests import parts, store

STUDY = "/dicom-web/studies/2.25.1"


def failing() -> Iterator[bytes]:
    yield b"a"
    yield b"b"
    raise OSError


async def _all(pieces: Iterator[bytes]) -> list[Piece]:
    crossing = Crossing(pieces)
    return [piece async for piece in _leaving(crossing, crossing.next())]


def test_pieces_cross_in_their_order() -> None:
    pieces = [bytes([number]) * 300_000 for number in range(9)]
    assert anyio.run(_all, iter(pieces)) == pieces


def test_what_was_read_before_an_error_goes_out_before_it() -> None:
    batches = Crossing(failing())
    assert batches.next() == [b"ab"]
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011 - this very error
            batches.next()
    with pytest.raises(OSError):  # noqa: PT011 - as above
        anyio.run(_all, failing())


def test_head_makes_no_more_than_the_first_piece() -> None:
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(5):
            made.append(number)
            yield b"x"

    stream(Request({"type": "http", "method": "HEAD", "headers": []}), pieces(), "text/plain", {})
    assert made == [0]


def test_small_pieces_are_put_together() -> None:
    assert list(gathered([b"ab", b"c", b"", b"d"], least=3)) == [b"abc", b"d"]
    assert list(gathered([])) == []


def test_a_study_says_how_long_it_is_where_it_leaves_as_it_is_kept(client: TestClient) -> None:
    assert store(client, builders.ct_slice(1), builders.ct_slice(2)).status_code == 200
    answer = client.get(STUDY)
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert len(parts(answer)) == 2
    assert client.head(STUDY).headers["content-length"] == answer.headers["content-length"]


def test_a_study_that_is_framed_anew_does_not(client: TestClient) -> None:
    implicit = builders.ct_slice(2)
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    store(client, builders.ct_slice(1), implicit)
    answer = client.get(STUDY)
    assert "content-length" not in answer.headers
    assert len(parts(answer)) == 2
