from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from api.dicomweb import stow
from pacs_gateway.ingest import Ingest
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.catalog import studies
from storage.errors import ObjectStoreUnavailable
from storage.records import OnConflict, StudyUid
from tests import builders
from tests.unit.api.conftest import BASE
from tests.unit.api.requests import RELATED, body, store

ROOT = f"{BASE}/dicom-web"
CT = {"00081150": {"vr": "UI", "Value": [builders.CT]}}


def uid(number: int) -> dict[str, Any]:
    return {**CT, "00081155": {"vr": "UI", "Value": [f"2.25.1.1.{number}"]}}


def stored(number: int) -> dict[str, Any]:
    url = f"{ROOT}/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.{number}"
    return {**uid(number), "00081190": {"vr": "UR", "Value": [url]}}


def reason(code: int) -> dict[str, Any]:
    return {"00081197": {"vr": "US", "Value": [code]}}


def test_what_is_stored_is_named_with_its_address(client: TestClient, archive: Archive) -> None:  # W-11, W-22, W-23
    answer = store(client, builders.ct_slice(1), builders.ct_slice(2))
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (
        200,
        "application/dicom+json",
        {
            "00081190": {"vr": "UR", "Value": [f"{ROOT}/studies/2.25.1"]},
            "00081199": {"vr": "SQ", "Value": [stored(1), stored(2)]},
        },
    )
    with archive.database.read() as tx:
        study = studies.get(tx, StudyUid("2.25.1"))
        assert (study.instance_count, study.released_at) == (2, builders.START)


def test_a_second_send_is_stored_again_as_far_as_the_sender_hears(client: TestClient, archive: Archive) -> None:  # W-26
    store(client, builders.ct_slice(1))
    answer = store(client, builders.ct_slice(1))
    assert (answer.status_code, answer.json()["00081199"]["Value"]) == (200, [stored(1)])
    assert len(list(archive.objects.keys())) == 1


def test_other_content_under_a_kept_uid_fails_and_the_first_stays(client: TestClient, archive: Archive) -> None:
    store(client, builders.ct_slice(1))
    answer = store(client, builders.ct_slice(1, value_hu=90), builders.ct_slice(2))
    assert answer.status_code == 202
    assert answer.json()["00081198"]["Value"] == [{**uid(1), **reason(0x0111)}]
    assert answer.json()["00081199"]["Value"] == [stored(2)]


def test_instances_of_one_request_are_kept_and_told_in_the_order_of_their_parts(client: TestClient) -> None:
    slices = [builders.ct_slice(number) for number in range(1, 9)]
    others = [builders.ct_slice(number, value_hu=90) for number in range(1, 9)]
    pairs = [data_set for pair in zip(slices, others, strict=True) for data_set in pair]
    answer = store(client, *pairs).json()
    assert answer["00081199"]["Value"] == [stored(number) for number in range(1, 9)]
    assert answer["00081198"]["Value"] == [{**uid(number), **reason(0x0111)} for number in range(1, 9)]


def test_an_instance_of_another_study_fails_and_nothing_of_it_is_kept(client: TestClient, archive: Archive) -> None:
    # W-23, W-25
    stranger = builders.radiograph()
    answer = store(client, stranger, study="2.25.1")
    assert (answer.status_code, answer.json()) == (
        409,
        {
            "00081190": {"vr": "UR"},
            "00081198": {
                "vr": "SQ",
                "Value": [
                    {
                        "00081150": {"vr": "UI", "Value": [builders.DX]},
                        "00081155": {"vr": "UI", "Value": [stranger.SOPInstanceUID]},
                        **reason(0xC409),
                    }
                ],
            },
        },
    )
    assert list(archive.objects.keys()) == []
    assert store(client, builders.ct_slice(1), stranger, study="2.25.1").status_code == 202


def test_parts_that_are_no_dicom_files_fail_without_a_name(client: TestClient, archive: Archive) -> None:
    files = [b"", b"not dicom", builders.part10(builders.ct_slice(1)), builders.part10(builders.ct_slice(2))[:-700]]
    answer = client.post("/dicom-web/studies", content=body(files[:2]), headers={"Content-Type": RELATED})
    assert (answer.status_code, answer.json()["0008119A"]["Value"]) == (400, [reason(0xC000), reason(0xC000)])
    answer = client.post("/dicom-web/studies", content=body(files[:3]), headers={"Content-Type": RELATED})
    assert (answer.status_code, answer.json()["00081199"]["Value"]) == (202, [stored(1)])


def test_a_body_cut_short_stores_only_whole_parts_and_speaks_for_no_completion(
    client: TestClient, archive: Archive
) -> None:
    whole = body(builders.part10(builders.ct_slice(number)) for number in (1, 2))
    answer = client.post("/dicom-web/studies", content=whole[:-30], headers={"Content-Type": RELATED})
    assert (answer.status_code, answer.json()["00081199"]["Value"], answer.json()["0008119A"]["Value"]) == (
        202,
        [stored(1)],
        [reason(0xC000)],
    )
    with archive.database.read() as tx:
        assert studies.get(tx, StudyUid("2.25.1")).released_at is None
    answer = client.post("/dicom-web/studies", content=whole[:500], headers={"Content-Type": RELATED})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert list(archive.spool_folder.glob("*.part")) == []


def test_a_file_that_cannot_be_kept_is_named_where_its_meta_information_names_it(client: TestClient) -> None:  # W-22
    cut = builders.part10(builders.ct_slice(2))[:-700]
    answer = client.post("/dicom-web/studies", content=body([cut, b""]), headers={"Content-Type": RELATED})
    assert (answer.status_code, answer.json()) == (
        409,
        {
            "00081190": {"vr": "UR"},
            "00081198": {"vr": "SQ", "Value": [{**uid(2), **reason(0xC000)}]},
            "0008119A": {"vr": "SQ", "Value": [reason(0xC000)]},
        },
    )


@pytest.mark.parametrize("said", ["application/octet-stream", "multipart/related; boundary=b", "image/jpeg"])
def test_a_part_that_says_it_is_something_else_fails_and_the_others_are_kept(  # W-26
    client: TestClient, said: str
) -> None:
    whole = body(builders.part10(builders.ct_slice(number)) for number in (1, 2))
    lied = whole.replace(b"application/dicom", said.encode(), 1)
    answer = client.post("/dicom-web/studies", content=lied, headers={"Content-Type": RELATED})
    assert answer.status_code == 202
    assert answer.json()["00081199"]["Value"] == [stored(2)]
    assert answer.json()["0008119A"]["Value"] == [reason(0xC000)]


def test_a_body_without_a_part_is_refused(client: TestClient) -> None:
    answer = client.post("/dicom-web/studies", content=body([]), headers={"Content-Type": RELATED})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        (OnConflict.REFUSE, 409, reason(0x0111)),
        (OnConflict.WARN, 202, {"00081196": {"vr": "US", "Value": [0xB000]}}),
        (OnConflict.ACCEPT, 200, {}),
    ],
)
def test_a_copy_in_quarantine_is_told_as_is_set_for_its_sender(  # W-24
    context: ApiContext, archive: Archive, said: OnConflict, status: int, told: dict[str, Any]
) -> None:
    ingest = Ingest(archive, on_conflict=lambda origin: said if origin.address == "testclient" else OnConflict.REFUSE)
    with TestClient(create_app(replace(context, ingest=ingest)), base_url=BASE) as client:
        store(client, builders.ct_slice(1))
        for study in ("", "2.25.1"):
            answer = store(client, builders.ct_slice(1, value_hu=90), study=study)
            named = answer.json()["00081198" if status == 409 else "00081199"]["Value"]
            assert (answer.status_code, named) == (status, [{**(uid(1) if status == 409 else stored(1)), **told}])


def test_a_syntax_that_the_web_does_not_know_is_named(client: TestClient) -> None:  # W-24
    model = builders.ct_slice(1).to_json_dict()
    model["7FE00010"] = {"vr": "OW", "BulkDataURI": "pixels"}
    head = b"--b\r\nContent-Type: application/dicom+json\r\n\r\n" + json.dumps([model]).encode()
    pixels = (
        b"\r\n--b\r\nContent-Type: application/octet-stream; transfer-syntax=1.2.840.10008.1.2.2\r\n"
        b"Content-Location: pixels\r\n\r\n\0\0\r\n--b--"
    )
    said = {"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=b'}
    answer = client.post("/dicom-web/studies", content=head + pixels, headers=said)
    assert (answer.status_code, answer.json()["00081198"]["Value"]) == (409, [{**uid(1), **reason(0xC122)}])


def test_more_senders_than_may_wait_come_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow, "MAX_WAITING", 0)
    answer = store(client, builders.ct_slice(1))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_a_single_file_is_taken_without_multipart(client: TestClient) -> None:  # W-20
    content = builders.part10(builders.ct_slice(1))
    answer = client.post("/dicom-web/studies", content=content, headers={"Content-Type": "application/dicom"})
    assert (answer.status_code, answer.json()["00081199"]["Value"]) == (200, [stored(1)])


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ('multipart/related; type="application/dicom+json"; boundary=x', 400),
        ('multipart/related; type="image/jpeg"; boundary=x', 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/json", 415),
        ("", 415),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom"; boundary=""', 400),
    ],
)
def test_other_bodies_are_refused(client: TestClient, content_type: str, status: int) -> None:
    answer = client.post("/dicom-web/studies", content=b"--x--", headers={"Content-Type": content_type})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_compressed_body_is_refused(client: TestClient) -> None:
    headers = {"Content-Type": "application/dicom", "Content-Encoding": "gzip"}
    assert client.post("/dicom-web/studies", content=b"x", headers=headers).status_code == 415


def test_a_part_of_another_type_is_400(client: TestClient) -> None:
    nested = b"--x\r\nContent-Type: multipart/related; boundary=y\r\n\r\n--y--\r\n--x--\r\n"
    content_type = 'multipart/related; type="application/dicom"; boundary=x'
    assert client.post("/dicom-web/studies", content=nested, headers={"Content-Type": content_type}).status_code == 400


def test_an_answer_that_cannot_be_given_stores_nothing(client: TestClient, archive: Archive) -> None:
    content = body([builders.part10(builders.ct_slice(1))])
    headers = {"Content-Type": RELATED, "Accept": "text/html"}
    assert client.post("/dicom-web/studies", content=content, headers=headers).status_code == 406
    assert list(archive.objects.keys()) == []


def test_a_store_that_is_away_is_503_and_may_be_tried_again(
    client: TestClient, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:  # W-6, W-23
    def away(*_: object) -> None:
        raise ObjectStoreUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryStore, "put", away)
        answer = store(client, builders.ct_slice(1))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["00081198"]["Value"] == [{**uid(1), **reason(0xA700)}]
    assert store(client, builders.ct_slice(1)).status_code == 200


def test_a_file_without_preamble_is_taken(client: TestClient) -> None:  # as pydicom writes what never was a file
    content = builders.part10(builders.ct_slice(1))
    bare = content[132:]
    answer = client.post("/dicom-web/studies", content=body([bare]), headers={"Content-Type": RELATED})
    assert (answer.status_code, answer.json()["00081199"]["Value"]) == (200, [stored(1)])
    again = client.post("/dicom-web/studies", content=body([content]), headers={"Content-Type": RELATED})
    assert again.status_code == 200
    assert again.json()["00081199"]["Value"] == [stored(1)]
