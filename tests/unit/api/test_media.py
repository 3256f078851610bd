from __future__ import annotations

import pytest
from starlette.requests import Request

from api.dicomweb.media import Choice, MediaType, choose, parse
from api.errors import NotAcceptable

FILES = 'multipart/related; type="application/dicom"'
OFFERS = (FILES, "application/dicom")


def request(accept: str | None, query: str = "") -> Request:
    headers = [] if accept is None else [(b"accept", accept.encode())]
    return Request({"type": "http", "headers": headers, "query_string": query.encode()})


@pytest.mark.parametrize(
    ("accept", "choice"),
    [
        (None, Choice(offer=FILES)),
        ("*/*", Choice(offer=FILES)),
        ("application/dicom", Choice(offer="application/dicom")),
        ("application/*", Choice(offer="application/dicom")),
        ("multipart/related", Choice(offer=FILES)),
        ("multipart/related; type=application/dicom", Choice(offer=FILES)),
        ('Multipart/Related; Type="application/dicom"; boundary=*', Choice(offer=FILES)),
        (
            'multipart/related; type="application/dicom"; transfer-syntax=*',
            Choice(offer=FILES, transfer_syntaxes=("*",)),
        ),
        (
            "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90",
            Choice(offer="application/dicom", transfer_syntaxes=("1.2.840.10008.1.2.4.90",)),
        ),
        ("image/jpeg, application/dicom;q=0.5", Choice(offer="application/dicom")),
        ("application/dicom;q=0.1, multipart/related;q=0.9", Choice(offer=FILES)),
    ],
)
def test_an_accept_header_chooses_among_the_offers(accept: str | None, choice: Choice) -> None:  # W-3
    assert choose(request(accept), OFFERS) == choice


@pytest.mark.parametrize(
    "accept",
    [
        "image/jpeg",
        "application/dicom;q=0",
        "multipart/related; type=application/dicom+xml",
        "junk",
        "application/dicom;q=x",
    ],
)
def test_what_cannot_be_given_is_not_acceptable(accept: str) -> None:  # W-3
    with pytest.raises(NotAcceptable):
        choose(request(accept), OFFERS)


def test_the_query_parameter_wins_over_the_header() -> None:  # W-3
    assert choose(request("image/jpeg", "accept=application%2Fdicom"), OFFERS) == Choice(offer="application/dicom")


def test_where_nothing_that_the_query_parameter_names_is_offered_the_header_counts() -> None:  # W-3, PS3.18 8.7.8.1
    assert choose(request("application/dicom", "accept=text%2Fhtml"), OFFERS) == Choice(offer="application/dicom")
    with pytest.raises(NotAcceptable):
        choose(request("image/jpeg", "accept=text%2Fhtml"), OFFERS)


@pytest.mark.parametrize("query", ["accept=application/dicom+json", "accept=application%2Fdicom%2Bjson"])
def test_a_plus_in_the_query_parameter_may_be_bare(query: str) -> None:  # W-3
    assert (
        choose(request(None, query), ("application/json", "application/dicom+json")).offer == "application/dicom+json"
    )


@pytest.mark.parametrize(
    ("accept", "offer"),
    [
        ("*/*, multipart/related;q=0", "application/dicom"),
        (f"{FILES};q=0.2, */*", "application/dicom"),
        ("application/dicom;q=0.2, application/*;q=0.9, multipart/related;q=0.5", FILES),
        ('multipart/related; type="application/*"', FILES),
    ],
)
def test_the_closest_range_gives_an_offer_its_weight(accept: str, offer: str) -> None:  # W-3, RFC 9110 12.5.1
    assert choose(request(accept), OFFERS).offer == offer


def test_what_the_closest_range_refuses_no_wildcard_brings_back() -> None:  # W-3, RFC 9110 12.5.1
    with pytest.raises(NotAcceptable):
        choose(request("*/*, application/dicom;q=0, multipart/related;q=0"), OFFERS)


def test_quoted_values_may_hold_separators() -> None:
    assert parse('multipart/related; start="a;b,\\"c\\""; type=x/y, text/html') == [
        MediaType(name="multipart/related", parameters={"start": 'a;b,"c"', "type": "x/y"}),
        MediaType(name="text/html"),
    ]


def test_a_hostile_header_takes_no_time() -> None:
    assert len(parse("a/b" + ";a=" * 100_000)) == 1
