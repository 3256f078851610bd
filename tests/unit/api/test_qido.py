from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydicom.uid import ImplicitVRLittleEndian

from api import ApiContext, create_app
from api.dicomweb import qido
from api.dicomweb.native import from_xml
from storage.archive import Archive
from storage.records import InstanceUid, StudyUid
from tests import builders
from tests.unit.api.conftest import BASE
from tests.unit.api.requests import parts, store

ROOT = f"{BASE}/dicom-web"


@pytest.fixture
def kept(archive: Archive) -> None:
    for number in (1, 2):
        told = builders.header(number, study_date="20260301", referring_physician_name="Bs^Lan", series_number=4)
        builders.keep(archive, told)


def answer(client: TestClient, path: str) -> list[dict[str, Any]]:
    response = client.get(f"/dicom-web{path}")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/dicom+json")
    found: list[dict[str, Any]] = response.json()
    return found


def test_a_study_answer_carries_what_the_standard_asks(client: TestClient, kept: None) -> None:  # W-47
    assert answer(client, "/studies?PatientName=nguyen*") == [
        {
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            "00080020": {"vr": "DA", "Value": ["20260301"]},
            "00080030": {"vr": "TM"},
            "00080050": {"vr": "SH"},
            "00080056": {"vr": "CS", "Value": ["ONLINE"]},
            "00080061": {"vr": "CS", "Value": ["CT"]},
            "00080090": {"vr": "PN", "Value": [{"Alphabetic": "Bs^Lan"}]},
            "00080201": {"vr": "SH"},
            "00081030": {"vr": "LO"},
            "00081190": {"vr": "UR", "Value": [f"{ROOT}/studies/2.25.1"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Nguyễn^Văn Đạt"}]},
            "00100020": {"vr": "LO", "Value": ["P1"]},
            "00100021": {"vr": "LO"},
            "00100030": {"vr": "DA"},
            "00100040": {"vr": "CS"},
            "0020000D": {"vr": "UI", "Value": ["2.25.1"]},
            "00200010": {"vr": "SH"},
            "00201206": {"vr": "IS", "Value": [1]},
            "00201208": {"vr": "IS", "Value": [2]},
        }
    ]


def test_a_study_whose_images_name_no_modality_has_no_empty_modalities(client: TestClient, archive: Archive) -> None:
    builders.keep(archive, builders.header(modality=None))
    (found,) = answer(client, "/studies")
    assert "00080061" not in found


def test_series_and_instances_are_searched_below_their_study(client: TestClient, kept: None) -> None:  # W-47, W-48
    (series,) = answer(client, "/studies/2.25.1/series?includefield=00080021,00080031,0008103E,00200011")
    assert (series["0020000E"]["Value"], series["00200011"]["Value"], series["00201209"]["Value"]) == (
        ["2.25.1.1"],
        [4],
        [2],
    )
    for path in ("/studies/2.25.1/series/2.25.1.1/instances", "/studies/2.25.1/instances", "/instances"):
        found = answer(client, path)
        assert [one["00080018"]["Value"] for one in found] == [["2.25.1.1.1"], ["2.25.1.1.2"]]
        assert found[0]["00081190"]["Value"] == [f"{ROOT}/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1"]


@pytest.fixture
def requested(archive: Archive) -> None:
    """Two series: one of two requests, started at half past eight, one of none."""
    told = {
        "pps_start_date": "20260301",
        "pps_start_time": "083000",
        "scheduled_procedure_step_ids": "SPS1\\SPS22",
        "requested_procedure_ids": "RP1\\",
    }
    builders.keep(archive, builders.header(1, bits_allocated=16, **told))
    other = {"series_instance_uid": "2.25.1.2", "sop_instance_uid": "2.25.1.2.1"}
    builders.keep(archive, builders.header(2, pps_start_date="20260302", **other))


def test_a_series_tells_its_step_and_its_requests_and_an_instance_its_bits(
    client: TestClient, requested: None
) -> None:  # W-47
    first, second = answer(client, "/studies/2.25.1/series")
    assert first["00400244"]["Value"] == ["20260301"]
    assert first["00400245"]["Value"] == ["083000"]
    assert first["00400275"] == {
        "vr": "SQ",
        "Value": [
            {"00400009": {"vr": "SH", "Value": ["SPS1"]}, "00401001": {"vr": "SH", "Value": ["RP1"]}},
            {"00400009": {"vr": "SH", "Value": ["SPS22"]}, "00401001": {"vr": "SH"}},
        ],
    }
    assert second["00400275"] == {"vr": "SQ"}
    bits = [one["00280100"] for one in answer(client, "/studies/2.25.1/instances")]
    assert bits == [{"vr": "US", "Value": [16]}, {"vr": "US"}]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS1", ["2.25.1.1"]),
        ("00400275.00400009=SPS22", ["2.25.1.1"]),
        ("00400275.00400009=SPS2", []),
        ("00400275.00400009=SPS2*", ["2.25.1.1"]),
        ("00400275.00400009=*2?", ["2.25.1.1"]),
        ("00400275.00400009=", ["2.25.1.1", "2.25.1.2"]),
        ("RequestAttributesSequence.RequestedProcedureID=RP1", ["2.25.1.1"]),
        ("00400275.00401001=RP", []),
        ("PerformedProcedureStepStartDate=20260302-", ["2.25.1.2"]),
        ("00400244=20260301-20260302", ["2.25.1.1", "2.25.1.2"]),
        ("PerformedProcedureStepStartTime=0830", ["2.25.1.1"]),
        ("00400245=09-", []),
    ],
)
def test_series_are_found_by_their_step_and_their_requests(
    client: TestClient, requested: None, query: str, found: list[str]
) -> None:  # W-40, W-41
    response = client.get(f"/dicom-web/series?{query}")
    assert [one["0020000E"]["Value"][0] for one in (response.json() if response.content else [])] == found
    assert "warning" not in response.headers


@pytest.mark.parametrize(
    "query",
    [
        "PatientID=P1",
        "00100020=P1",
        "00100010=Nguy%E1%BB%85n%5E*",
        "StudyInstanceUID=1.2,2.25.1",
        "StudyInstanceUID=1.2%5C2.25.1",
        "0020000d=2.25.1",
        "StudyDate=20260101-20261231&ModalitiesInStudy=CT",
        "limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060,00080090,00100030",
        "includefield=all&includefield=StudyDescription",
        "PatientName=&AccessionNumber=*",
        "accept=application/dicom%2Bjson",
        "charset=ISO-8859-1,utf-8%3Bq=0.5&PatientID=P1",
    ],
)
def test_keys_come_by_keyword_or_tag(client: TestClient, kept: None, query: str) -> None:  # W-40, W-41, W-42, W-48
    assert len(answer(client, f"/studies?{query}")) == 1


@pytest.mark.parametrize("query", ["PatientID=P2", "limit=0", "offset=1", "StudyDate=-20251231"])
def test_no_match_is_204_without_a_body(client: TestClient, kept: None, query: str) -> None:  # W-43, W-45
    response = client.get(f"/dicom-web/studies?{query}")
    assert (response.status_code, response.content) == (204, b"")


def test_a_site_may_have_an_empty_list_instead(context: ApiContext, kept: None) -> None:  # W-45
    with TestClient(create_app(replace(context, qido_empty=200)), base_url=BASE) as client:
        assert answer(client, "/studies?PatientID=P2") == []
        assert answer(client, "/instances?limit=0") == []


def test_an_instance_tells_the_syntax_it_leaves_in(client: TestClient) -> None:  # W-33
    implicit = builders.ct_slice(1)
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert store(client, implicit).status_code == 200
    (told,) = answer(client, "/instances")
    assert told["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]


@pytest.mark.parametrize(
    "query",
    [
        "PatientNmae=x",
        "00100011=x",
        "limit=-1",
        "limit=1.5",
        "limit=1e3",
        "limit=1&limit=2",
        "offset=x",
        "limit=99999999999999999999",
        "PatientID=a&00100020=b",
        "PatientID=%00",
        "StudyDescription=a%0D%0Ab",
        "limit=%D9%A1",
        "fuzzymatching=maybe",
        "includefield=Nonsense",
        "StudyDate=yesterday",
        "&".join(f"PatientID={number}" for number in range(100)),
    ],
)
def test_a_malformed_search_is_400(client: TestClient, query: str) -> None:  # W-40, W-41, W-43
    assert client.get(f"/dicom-web/studies?{query}").status_code == 400


def test_what_is_not_matched_is_said(client: TestClient, kept: None) -> None:  # W-40, W-46
    response = client.get("/dicom-web/studies?emptyvaluematching=true&Modality=MR&00091010=x")
    assert response.status_code == 200
    assert response.headers.get_list("warning") == [
        f"299 {ROOT}: The emptyvaluematching parameter is not supported. Empty Value Matching has not been performed.",
        f"299 {ROOT}: The attribute Modality is not supported for matching here and has been ignored.",
        f"299 {ROOT}: The attribute 00091010 is not supported for matching here and has been ignored.",
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "multiplevaluematching=true",
            "The multiplevaluematching parameter is not supported. Multiple Value Matching has not been performed.",
        ),
        ("charset=ISO-8859-1", "The charset parameter is not supported. The answer is in UTF-8."),
        ("charset=UTF-8", None),
        ("charset=iso-8859-1%3Bq=1,*", None),
    ],
)
@pytest.mark.parametrize("path", ["studies", "series", "instances", "workitems"])
def test_common_parameters_are_no_keys(client: TestClient, path: str, query: str, said: str | None) -> None:  # W-46
    """PS3.18 8.3.3.2, 8.3.4.4; Tables 8.3.3-1 and 11.1.2-1."""
    response = client.get(f"/dicom-web/{path}?{query}")
    assert response.status_code == 204
    assert response.headers.get("warning") == (None if said is None else f"299 {ROOT}: {said}")


def test_our_own_maximum_is_said(client: TestClient, kept: None, monkeypatch: pytest.MonkeyPatch) -> None:  # W-44
    monkeypatch.setattr(qido, "MAX_RESULTS", 1)
    response = client.get("/dicom-web/instances")
    assert (len(response.json()), response.headers["warning"]) == (
        1,
        f"299 {ROOT}: There are 1 additional results that can be requested",
    )
    assert "warning" not in client.get("/dicom-web/instances?offset=1").headers


def test_other_forms_are_given_or_not_acceptable(client: TestClient, kept: None) -> None:  # W-5
    accept = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    given = client.get("/dicom-web/instances", headers=accept)
    assert [from_xml([part])["00080018"]["Value"] for part in parts(given)] == [["2.25.1.1.1"], ["2.25.1.1.2"]]
    assert client.get("/dicom-web/studies", headers={"Accept": "application/dicom+xml"}).status_code == 406
    assert client.get("/dicom-web/studies?PatientID=-", headers={"Accept": "application/json"}).status_code == 204


def test_answers_below_a_study_that_the_path_does_not_name_carry_it(client: TestClient, kept: None) -> None:
    # W-42, W-47
    (study,) = answer(client, "/studies")
    (series,) = answer(client, "/series")
    one, _ = answer(client, "/instances")
    (below,) = answer(client, "/studies/2.25.1/series")
    assert {**study, **below} == series
    within, _ = answer(client, "/studies/2.25.1/series/2.25.1.1/instances")
    assert {**series, **within} == one
    assert "00100020" not in below
    assert "00100020" not in within


def test_a_page_beyond_all_reach_is_refused_and_not_counted_to(
    client: TestClient, kept: None, monkeypatch: pytest.MonkeyPatch
) -> None:  # W-44, R-45
    monkeypatch.setattr(qido, "MAX_OFFSET", 1)
    answer = client.get("/dicom-web/instances?offset=2")
    assert (answer.status_code, answer.json()["title"]) == (413, "Content Too Large")
    assert "StudyDate" in answer.json()["detail"]
    assert client.get("/dicom-web/studies?offset=2").status_code == 204
    monkeypatch.setattr(qido, "MAX_RESULTS", 1)
    monkeypatch.setattr(qido, "MAX_OFFSET", 0)
    assert "warning" not in client.get("/dicom-web/instances").headers


def test_no_parameter_list_path_or_value_is_beyond_measure(client: TestClient, kept: None) -> None:
    statuses = {
        "ten thousand parameters": "&".join(["PatientID=x"] * 2000),
        "a long path": f"PatientID={'x' * 32768}",
        "a long value": f"PatientID={'x' * 30000}",
        "a long wildcard": f"PatientName=*{'x' * 30000}*",
        "signs of the database": f"PatientID=*{'[' * 4000}",
        "many UIDs": "StudyInstanceUID=" + ",".join(["1.2"] * 2001),
        "many groups": f"PatientName={'=' * 20000}",
        "a deep path": ".".join(["RequestAttributesSequence"] * 9) + "=x",
        "everything": "includefield=all&limit=1000000000",
    }
    found = {name: client.get(f"/dicom-web/studies?{query}").status_code for name, query in statuses.items()}
    assert found == {
        "ten thousand parameters": 400,
        "a long path": 414,
        "a long value": 400,
        "a long wildcard": 400,
        "signs of the database": 204,
        "many UIDs": 400,
        "many groups": 400,
        "a deep path": 400,
        "everything": 200,
    }


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_both_normal_forms_of_a_text_find_it(client: TestClient, archive: Archive, form: str) -> None:
    for number, written in enumerate(("NFC", "NFD"), start=1):
        texts = {
            name: unicodedata.normalize(written, value)  # type: ignore[arg-type]
            for name, value in {"study_description": "Chụp ngực thẳng", "patient_id": "BỆNH1"}.items()
        }
        uids = {"study_instance_uid": StudyUid(f"2.25.{number}"), "sop_instance_uid": InstanceUid(f"2.25.9.{number}")}
        builders.keep(archive, builders.header(number, **uids, **texts))
    for key, value in (("StudyDescription", "Chụp ngực thẳng"), ("StudyDescription", "*ngực*"), ("PatientID", "BỆNH*")):
        asked = unicodedata.normalize(form, value)  # type: ignore[arg-type]
        found = client.get("/dicom-web/studies", params={key: asked}).json()
        assert {one["0020000D"]["Value"][0] for one in found} == {"2.25.1", "2.25.2"}


def test_a_limit_beyond_ours_is_ours(client: TestClient, kept: None) -> None:
    assert len(answer(client, "/instances?limit=1000000000")) == 2
    assert client.get("/dicom-web/instances?offset=1000000000000").status_code == 204
    many = ",".join(["PatientID"] * (qido.MAX_FIELDS + 1))
    assert client.get(f"/dicom-web/studies?includefield={many}").status_code == 400
