"""UPS-RS as its clients see it (PS3.18 Chapter 11).  W-60, W-61, W-62, W-63, W-64, W-65, W-66, W-67."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.dicomweb import ups
from api.dicomweb.native import as_xml
from storage.archive import Archive
from storage.catalog import jobs
from storage.catalog.jobs import ModelRef
from storage.records import Job, JobState, StudyUid
from storage.workitems import worklist
from storage.workitems.records import uid_of_job
from tests import builders
from tests.unit.api.conftest import BASE
from tests.workitems import Model, attribute, code, data_set, instances, performed, request, state, workitem

ROOT = "/dicom-web/workitems"
JSON = {"Content-Type": "application/dicom+json"}
UID = "2.25.4711"
LOCK, OTHER_LOCK = "2.25.1001", "2.25.1002"
ALL = "1.2.840.10008.5.1.4.34.5"
FILTERED = "1.2.840.10008.5.1.4.34.5.1"
SERVICE = f"299 {BASE}/dicom-web: "


def send(client: TestClient, method: str, path: str, model: Model | None = None, **more: Any) -> Any:
    content = None if model is None else json.dumps([model])
    return client.request(method, ROOT + path, content=content, headers=JSON, **more)


def create(client: TestClient, uid: str = UID, **changed: Any) -> Any:
    return send(client, "POST", f"?{uid}", workitem(**changed))


def claim(client: TestClient, uid: str = UID, lock: str = LOCK) -> Any:
    return send(client, "PUT", f"/{uid}/state", state("IN PROGRESS", lock))


def retrieve(client: TestClient, uid: str = UID) -> Model:
    (model,) = client.get(f"{ROOT}/{uid}").json()
    return dict(model)


def value(model: Model, keyword: str) -> Any:
    (tag,) = attribute(keyword)
    return model[tag].get("Value", [None])[0]


def found(client: TestClient, query: str = "") -> list[str]:
    answer = client.get(f"{ROOT}?{query}")
    assert answer.status_code in {200, 204}, answer.text
    return [] if answer.status_code == 204 else [value(model, "SOPInstanceUID") for model in answer.json()]


# ------------------------------------------------------------------------------------------------------------ create
def test_a_workitem_is_created_under_the_uid_of_the_query_string(client: TestClient) -> None:
    answer = create(client)
    url = f"{BASE}/dicom-web/workitems/{UID}"
    assert (answer.status_code, answer.content) == (201, b"")
    assert (answer.headers["location"], answer.headers["content-location"]) == (url, url)
    assert "warning" not in answer.headers


@pytest.mark.parametrize("query", [f"?workitem={UID}", f"?AffectedSOPInstanceUID={UID}", f"?{UID}"])
def test_the_uid_comes_as_clients_write_it(client: TestClient, query: str) -> None:
    assert send(client, "POST", query, workitem()).headers["location"].endswith(f"/{UID}")


def test_a_workitem_without_uid_gets_one_of_ours(client: TestClient) -> None:
    location = send(client, "POST", "", workitem()).headers["location"]
    uid = location.rpartition("/")[2]
    assert uid.startswith("2.25.")
    assert value(retrieve(client, uid), "SOPInstanceUID") == uid


def test_a_uid_in_the_body_is_taken_where_the_query_string_names_none(client: TestClient) -> None:
    inner = workitem() | attribute("SOPInstanceUID", UID)
    assert send(client, "POST", "", inner).headers["location"].endswith(f"/{UID}")
    assert send(client, "POST", "?2.25.5", inner).status_code == 400


def test_a_second_workitem_of_a_uid_is_409(client: TestClient) -> None:
    create(client)
    assert create(client).status_code == 409


def test_a_worklist_label_is_filled_in_and_said(client: TestClient) -> None:
    answer = create(client, WorklistLabel=None)
    assert answer.headers["warning"] == f"{SERVICE}The Workitem was created with modifications."
    assert value(retrieve(client), "WorklistLabel") == "ROI"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"ProcedureStepState": "IN PROGRESS"}, "ProcedureStepState of a new workitem is SCHEDULED"),
        ({"ScheduledProcedureStepPriority": None}, "ScheduledProcedureStepPriority has no value"),
        ({"ScheduledProcedureStepPriority": "STAT"}, "ScheduledProcedureStepPriority is not one of"),
        ({"InputReadinessState": "PERHAPS"}, "InputReadinessState is not one of"),
        ({"ScheduledProcedureStepStartDateTime": "tomorrow"}, "ScheduledProcedureStepStartDateTime is no date"),
        (
            {"ScheduledStationNameCodeSequence": [data_set(CodeMeaning="x")]},
            "ScheduledStationNameCodeSequence has an item without CodeValue",
        ),
        (
            {"ScheduledWorkitemCodeSequence": [data_set(CodeValue="1")]},
            "ScheduledWorkitemCodeSequence.CodeMeaning is missing",
        ),
        (
            {"ReferencedRequestSequence": [data_set(AccessionNumber="1")]},
            "ReferencedRequestSequence.StudyInstanceUID is missing",
        ),
        (
            {"ProcedureStepProgressInformationSequence": [data_set(ProcedureStepProgress="1")]},
            "ProcedureStepProgressInformationSequence is not empty",
        ),
        ({"SOPClassUID": "1.2.3"}, "SOPClassUID is not"),
        ({"TransactionUID": LOCK}, "TransactionUID is not empty"),
        (
            {"ScheduledStationNameCodeSequence": [data_set(CodeValue="1", CodeMeaning="x")]},
            "ScheduledStationNameCodeSequence.CodingSchemeDesignator is missing, wanted with CodeValue",
        ),
        (
            {"InputInformationSequence": [instances(SeriesInstanceUID=None)]},
            "InputInformationSequence.SeriesInstanceUID has no value, wanted where TypeOfInstances is DICOM",
        ),
    ],
)
def test_what_the_create_column_does_not_allow_is_400(client: TestClient, changed: dict[str, Any], named: str) -> None:
    answer = create(client, **changed)
    assert answer.status_code == 400
    assert named in answer.json()["detail"]
    assert client.get(f"{ROOT}/{UID}").status_code == 404


def test_everything_that_is_missing_is_named_at_once(client: TestClient) -> None:
    detail = send(client, "POST", f"?{UID}", attribute("ProcedureStepState", "SCHEDULED")).json()["detail"]
    assert "PatientName is missing" in detail
    assert "InputReadinessState is missing" in detail
    assert "WorklistLabel" not in detail


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{",
        b'[{"00741000":{"vr":"CS","Value":["SCHEDULED"]},"00741000":{"vr":"CS"}}]',
        b'[{"00741000":{"vr":"CS","Value":[NaN]}}]',
        b"[" * 100_000,
        "[{}]".encode("utf-16"),
        b"\xef\xbb\xbf[{}]",
        b'[{},{"00741000":{"vr":"CS"}}]',
        b'[{"0040a370":{"vr":"SQ"},"0040A370":{"vr":"SQ"}}]',
        b'[{"PatientName":{"vr":"PN"}}]',
        b'[{"00100010":{"vr":"LO","Value":["ZZ^PHI"]}}]',
        b'[{"00100010":{"vr":"PN","Value":["ZZ^PHI"]}}]',
        b'[{"00100020":{"vr":"LO","Value":["ZZ\\u0000PHI"]}}]',
        b'[{"00100020":{"vr":"LO","Value":["ZZ\\ud800"]}}]',
        b'[{"00100020":{"vr":"LO","Value":{"a":1}}}]',
        b'[{"00100020":"ZZ^PHI"}]',
        b'[{"00404025":{"vr":"SQ","Value":["ZZ^PHI"]}}]',
        b'[{"7FE00010":{"vr":"OB","BulkDataURI":"http://evil.example/x"}}]',
        b'[{"0040A370":{"vr":"SQ","Value":[' * 65 + b"{}" + b"]}}]" * 65,
        b'{"0040A370":{"vr":"SQ","Value":[' * 200 + b"{}" + b"]}}" * 200,
        b'[{"00404025":{"vr":"SQ","BulkDataURI":["ZZ^PHI"]}}]',
        b'[{"00404025":{"vr":"SQ","InlineBinary":"AAAA"}}]',
        b'[{"00741204":{"vr":"LO","InlineBinary":"AAAA"}}]',
    ],
)
def test_a_body_that_is_no_data_set_is_400_and_repeats_nothing(client: TestClient, content: bytes) -> None:
    answer = client.post(f"{ROOT}?{UID}", content=content, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "ZZ" not in answer.text


def test_a_long_body_is_413_and_another_form_415(client: TestClient) -> None:
    long = json.dumps([workitem(CommentsOnTheScheduledProcedureStep="x" * worklist.MAX_BYTES)])
    assert client.post(f"{ROOT}?{UID}", content=long, headers=JSON).status_code == 413
    assert client.post(f"{ROOT}?{UID}", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_workitem_that_grows_beyond_measure_is_413(client: TestClient) -> None:
    create(client)
    half = "x" * (worklist.MAX_BYTES // 2)
    assert send(client, "POST", f"/{UID}", data_set(CommentsOnTheScheduledProcedureStep=half)).status_code == 200
    assert send(client, "POST", f"/{UID}", data_set(MedicalAlerts=half)).status_code == 413


def test_a_full_worklist_is_503(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worklist, "MAX_WORKITEMS", 1)
    create(client)
    assert create(client, "2.25.2").status_code == 503


def test_xml_is_taken_and_given(client: TestClient) -> None:
    headers = {"Content-Type": "application/dicom+xml"}
    assert client.post(f"{ROOT}?{UID}", content=as_xml(workitem()), headers=headers).status_code == 201
    answer = client.get(f"{ROOT}/{UID}", headers={"Accept": "application/dicom+xml"})
    assert answer.headers["content-type"] == "application/dicom+xml"
    assert b"Lung nodule detection" in answer.content
    assert b'keyword="TransactionUID"' not in answer.content


def multipart(*documents: bytes, content_type: str = "application/dicom+xml") -> bytes:
    parts = [f"--x\r\nContent-Type: {content_type}\r\n\r\n".encode() + one + b"\r\n" for one in documents]
    return b"".join([*parts, b"--x--\r\n"])


def test_xml_is_taken_and_given_in_a_part_too(client: TestClient) -> None:
    """PS3.18 Table 11.1.3-1 asks for it."""
    form = 'multipart/related; type="application/dicom+xml"'
    headers = {"Content-Type": f"{form}; boundary=x"}
    body = as_xml(workitem())
    assert client.post(f"{ROOT}?{UID}", content=multipart(body), headers=headers).status_code == 201
    answer = client.get(f"{ROOT}/{UID}", headers={"Accept": form})
    assert answer.headers["content-type"].startswith(form)
    assert answer.content.count(b"Lung nodule detection") == 1
    for content, sent in (
        (multipart(body, body), headers),
        (multipart(), headers),
        (multipart(body, content_type="text/plain"), headers),
        (multipart(body, content_type="?"), headers),
        (multipart(body)[:-20], headers),
        (multipart(body), {"Content-Type": form}),
    ):
        assert client.post(f"{ROOT}?2.25.5", content=content, headers=sent).status_code == 400
    other = {"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=x'}
    assert client.post(f"{ROOT}?2.25.5", content=multipart(body), headers=other).status_code == 415


# ---------------------------------------------------------------------------------------------------------- retrieve
def test_a_workitem_is_given_as_it_was_made_with_what_we_add(client: TestClient) -> None:
    create(client)
    answer = client.get(f"{ROOT}/{UID}")
    assert answer.headers["content-location"] == f"{BASE}/dicom-web/workitems/{UID}"
    (model,) = answer.json()
    sent = {key: element for key, element in workitem().items() if key not in attribute("TransactionUID")}
    assert {key: model[key] for key in sent} == sent
    assert list(model) == sorted(model)
    assert value(model, "SOPClassUID") == "1.2.840.10008.5.1.4.34.6.1"
    assert value(model, "ScheduledProcedureStepModificationDateTime") == "20260301080000.000000+0000"


def test_the_transaction_uid_is_never_given_out(client: TestClient) -> None:
    create(client)
    claim(client)
    for path in (f"/{UID}", "", "?includefield=all", "?includefield=TransactionUID", "?includefield=00081195"):
        answer = client.get(ROOT + path)
        assert "00081195" not in answer.json()[0]
        assert LOCK not in answer.text


def test_a_workitem_that_is_not_here_is_404(client: TestClient) -> None:
    for method, path, model in (
        ("GET", "/1.2.3", None),
        ("POST", "/1.2.3", data_set(ProcedureStepLabel="x")),
        ("PUT", "/1.2.3/state", state("IN PROGRESS", LOCK)),
        ("POST", "/1.2.3/cancelrequest", None),
        ("POST", "/1.2.3/subscribers/WATCHER", None),
        ("DELETE", "/1.2.3/subscribers/WATCHER", None),
        ("POST", f"/{ALL}/subscribers/WATCHER/suspend", None),
    ):
        assert send(client, method, path, model).status_code == 404, path


# ------------------------------------------------------------------------------------------------------------ update
def test_a_scheduled_workitem_is_set_without_a_transaction(client: TestClient) -> None:
    create(client)
    assert send(client, "POST", f"/{UID}", data_set(ProcedureStepLabel="Other")).status_code == 200
    assert value(retrieve(client), "ProcedureStepLabel") == "Other"
    assert value(retrieve(client), "WorklistLabel") == "AI"
    refused = send(client, "POST", f"/{UID}?{LOCK}", data_set(ProcedureStepLabel="x"))
    assert refused.status_code == 409
    assert refused.headers["warning"] == f"{SERVICE}The target URI did not reference a claimed Workitem."


def test_a_time_of_change_is_ours_and_the_sender_hears_it(client: TestClient) -> None:
    """PS3.18 11.4.3.2, 11.6.3.2; PS3.4 Table CC.2.5-3: the server's clock says when."""
    foreign = {"ScheduledProcedureStepModificationDateTime": "19990101"}
    created = create(client, **foreign)
    assert created.headers["warning"] == f"{SERVICE}The Workitem was created with modifications."
    updated = send(client, "POST", f"/{UID}", data_set(SOPInstanceUID=UID, **foreign))
    assert (updated.status_code, updated.headers["warning"]) == (
        200,
        f"{SERVICE}The Workitem was updated with modifications.",
    )
    assert value(retrieve(client), "ScheduledProcedureStepModificationDateTime") == "20260301080000.000000+0000"
    assert "warning" not in send(client, "POST", f"/{UID}", data_set(ProcedureStepLabel="x")).headers


@pytest.mark.parametrize("form", ["{}", "transaction-uid={}", "transaction={}", "TransactionUID={}"])
def test_a_claimed_workitem_is_set_by_whoever_holds_it(client: TestClient, form: str) -> None:
    create(client)
    claim(client)
    inconsistent = f"{SERVICE}The submitted request is inconsistent with the current state of the Workitem."
    for query in ("", f"?{form.format(OTHER_LOCK)}"):
        refused = send(client, "POST", f"/{UID}{query}", data_set(ProcedureStepLabel="x"))
        assert (refused.status_code, refused.headers["warning"]) == (400, inconsistent)
    assert send(client, "POST", f"/{UID}?{form.format(LOCK)}", data_set(ProcedureStepLabel="Mine")).status_code == 200
    assert value(retrieve(client), "ProcedureStepLabel") == "Mine"


def test_the_transaction_may_come_in_the_body_as_dimse_has_it(client: TestClient) -> None:
    create(client)
    claim(client)
    assert send(client, "POST", f"/{UID}", data_set(TransactionUID=LOCK, ProcedureStepLabel="x")).status_code == 200
    both = data_set(TransactionUID=OTHER_LOCK, ProcedureStepLabel="x")
    assert send(client, "POST", f"/{UID}?{LOCK}", both).status_code == 400


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"PatientName": {"Alphabetic": "Other"}}, "PatientName is not allowed"),
        ({"ProcedureStepState": "COMPLETED"}, "ProcedureStepState is not allowed"),
        ({"ReferencedRequestSequence": [request()]}, "ReferencedRequestSequence is not allowed"),
        ({"ScheduledProcedureStepPriority": None}, "ScheduledProcedureStepPriority has no value"),
        (
            {"ProcedureStepProgressInformationSequence": [data_set(ProcedureStepProgress=None)]},
            "ProcedureStepProgressInformationSequence.ProcedureStepProgress has no value",
        ),
        (
            {"UnifiedProcedureStepPerformedProcedureSequence": [data_set(OutputInformationSequence=[data_set()])]},
            "OutputInformationSequence.TypeOfInstances is missing",
        ),
        (
            {"ScheduledWorkitemCodeSequence": [data_set(LongCodeValue="1", CodeMeaning="x")]},
            "ScheduledWorkitemCodeSequence.CodeValue is missing, wanted of a code of at most 16 characters",
        ),
        ({"SOPInstanceUID": "2.25.5"}, "SOPInstanceUID is that of another workitem"),
    ],
)
def test_what_the_set_column_does_not_allow_is_400(client: TestClient, changed: dict[str, Any], named: str) -> None:
    create(client)
    before = retrieve(client)
    answer = send(client, "POST", f"/{UID}", data_set(**changed))
    assert answer.status_code == 400
    assert named in answer.json()["detail"]
    assert retrieve(client) == before


# ------------------------------------------------------------------------------------------------------------- state
def test_a_workitem_is_claimed_performed_and_completed(client: TestClient) -> None:
    create(client)
    assert claim(client).status_code == 200
    refused = send(client, "PUT", f"/{UID}/state", state("COMPLETED", LOCK))
    assert refused.status_code == 409
    assert "UnifiedProcedureStepPerformedProcedureSequence" in refused.json()["detail"]
    half = performed(PerformedProcedureStepEndDateTime=None)
    (item,) = half["00741216"]["Value"]
    del item["00404051"]
    assert send(client, "POST", f"/{UID}?{LOCK}", half).status_code == 200
    refused = send(client, "PUT", f"/{UID}/state", state("COMPLETED", LOCK))
    assert refused.headers["warning"] == (
        f"{SERVICE}The submitted request is inconsistent with the state of the UPS Instance."
    )
    assert "PerformedProcedureStepEndDateTime" in refused.json()["detail"]
    assert send(client, "POST", f"/{UID}?{LOCK}", performed()).status_code == 200
    assert send(client, "PUT", f"/{UID}/state", state("COMPLETED", LOCK)).status_code == 200
    assert value(retrieve(client), "ProcedureStepState") == "COMPLETED"


def test_a_final_state_is_never_left_and_may_be_asked_for_again(client: TestClient) -> None:
    create(client)
    claim(client)
    assert send(client, "PUT", f"/{UID}/state", state("CANCELED", LOCK)).status_code == 200
    again = send(client, "PUT", f"/{UID}/state", state("CANCELED", LOCK))
    assert again.status_code == 200
    assert again.headers["warning"] == f"{SERVICE}The UPS is already in the requested state of CANCELED."
    assert send(client, "PUT", f"/{UID}/state", state("COMPLETED", LOCK)).status_code == 409
    assert send(client, "PUT", f"/{UID}/state", state("IN PROGRESS", LOCK)).status_code == 409
    refused = send(client, "POST", f"/{UID}?{LOCK}", data_set(ProcedureStepLabel="x"))
    inconsistent = f"{SERVICE}The submitted request is inconsistent with the current state of the Workitem."
    assert (refused.status_code, refused.headers["warning"]) == (400, inconsistent)


def test_a_canceled_workitem_says_when_and_why_also_where_its_performer_did_not(client: TestClient) -> None:
    create(client)
    claim(client)
    send(client, "PUT", f"/{UID}/state", state("CANCELED", LOCK))
    progress = value(retrieve(client), "ProcedureStepProgressInformationSequence")
    assert value(progress, "ProcedureStepCancellationDateTime") == "20260301080000.000000+0000"
    assert value(value(progress, "ProcedureStepDiscontinuationReasonCodeSequence"), "CodeValue") == "110513"


@pytest.mark.parametrize(
    ("asked", "transaction", "status", "warning"),
    [
        ("COMPLETED", None, 400, "The Transaction UID is missing."),
        ("COMPLETED", OTHER_LOCK, 400, "The Transaction UID is incorrect."),
        ("CANCELED", OTHER_LOCK, 400, "The Transaction UID is incorrect."),
        ("IN PROGRESS", OTHER_LOCK, 409, "The submitted request is inconsistent with the state of the UPS Instance."),
        ("COMPLETED", LOCK, 409, "The submitted request is inconsistent with the state of the UPS Instance."),
        ("SCHEDULED", LOCK, 409, "The submitted request is inconsistent with the state of the UPS Instance."),
    ],
)
def test_a_change_that_is_refused_says_why_in_the_standards_words(
    client: TestClient, asked: str, transaction: str | None, status: int, warning: str
) -> None:
    """PS3.18 Table 11.7.3-1 and 11.7.3.2: a Transaction UID that is missing or wrong is 400, the state 409."""
    create(client)
    claim(client)
    refused = send(client, "PUT", f"/{UID}/state", state(asked, transaction))
    assert (refused.status_code, refused.headers["warning"]) == (status, SERVICE + warning)
    assert LOCK not in refused.text


def test_a_workitem_that_nobody_claimed_cannot_be_ended_by_its_state(client: TestClient) -> None:
    create(client)
    for asked in ("COMPLETED", "CANCELED"):
        assert send(client, "PUT", f"/{UID}/state", state(asked, LOCK)).status_code == 409
    assert send(client, "PUT", f"/{UID}/state/PERFORMER", state("IN PROGRESS", LOCK)).status_code == 200


@pytest.mark.parametrize("model", [{}, state("DONE", LOCK), state("IN PROGRESS", "not a uid")])
def test_a_body_without_a_state_or_with_no_uid_is_400(client: TestClient, model: Model) -> None:
    create(client)
    assert send(client, "PUT", f"/{UID}/state", model).status_code == 400


# ------------------------------------------------------------------------------------------------------------ cancel
def test_a_request_cancels_what_nobody_has_claimed_with_its_reason(client: TestClient) -> None:
    create(client)
    reason = data_set(ReasonForCancellation="sent twice", ContactURI="tel:1", ContactDisplayName="BS. Lan")
    assert send(client, "POST", f"/{UID}/cancelrequest/ASKER", reason).status_code == 202
    model = retrieve(client)
    assert value(model, "ProcedureStepState") == "CANCELED"
    progress = value(model, "ProcedureStepProgressInformationSequence")
    assert value(progress, "ReasonForCancellation") == "sent twice"
    assert value(value(progress, "ProcedureStepCommunicationsURISequence"), "ContactURI") == "tel:1"
    again = send(client, "POST", f"/{UID}/cancelrequest")
    assert again.status_code == 202
    assert again.headers["warning"] == f"{SERVICE}The UPS is already in the requested state of CANCELED."


def test_a_request_for_what_is_claimed_changes_nothing_and_wants_a_listener(client: TestClient) -> None:
    create(client)
    claim(client)
    refused = send(client, "POST", f"/{UID}/cancelrequest")
    assert (refused.status_code, refused.headers["warning"]) == (409, f"{SERVICE}The performer cannot be contacted.")
    send(client, "POST", f"/{UID}/subscribers/PERFORMER")
    assert send(client, "POST", f"/{UID}/cancelrequest").status_code == 202
    assert value(retrieve(client), "ProcedureStepState") == "IN PROGRESS"


def test_a_completed_workitem_is_not_canceled(client: TestClient) -> None:
    create(client)
    claim(client)
    send(client, "POST", f"/{UID}?{LOCK}", performed())
    send(client, "PUT", f"/{UID}/state", state("COMPLETED", LOCK))
    refused = send(client, "POST", f"/{UID}/cancelrequest")
    assert (refused.status_code, refused.headers["warning"]) == (409, f"{SERVICE}The UPS is already COMPLETED.")


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (data_set(ReasonForCancellation=None), "ReasonForCancellation has no value"),
        (
            data_set(ProcedureStepDiscontinuationReasonCodeSequence=[data_set(CodeValue="1", CodeMeaning="x")]),
            "ProcedureStepDiscontinuationReasonCodeSequence.CodingSchemeDesignator is missing, wanted with CodeValue",
        ),
    ],
)
def test_a_request_says_its_reason_as_the_table_has_it(client: TestClient, model: Model, named: str) -> None:
    """PS3.4 Table CC.2.2-1."""
    create(client)
    answer = send(client, "POST", f"/{UID}/cancelrequest", model)
    assert (answer.status_code, named in answer.json()["detail"]) == (400, True)
    assert value(retrieve(client), "ProcedureStepState") == "SCHEDULED"


# ------------------------------------------------------------------------------------------------------------ search
def test_workitems_are_found_by_what_the_table_lets_match(client: TestClient) -> None:
    human = data_set(
        HumanPerformerCodeSequence=[code("H7", "Lan", "99SITE")],
        HumanPerformerName={"Alphabetic": "Lan"},
        HumanPerformerOrganization="A",
    )
    create(
        client,
        ScheduledHumanPerformersSequence=[human],
        ReferencedRequestSequence=[request("A1"), request("A2", RequestedProcedureID="R2")],
        ExpectedCompletionDateTime="20260301200000+0700",
        AdmissionID="ADM",
        OtherPatientIDsSequence=[data_set(PatientID="BHYT7", IssuerOfPatientID="BHXH")],
    )
    create(client, "2.25.2", PatientName={"Alphabetic": "Trần^Hoa"}, PatientID="P2", ProcedureStepLabel="Other")
    for query in (
        f"SOPInstanceUID={UID}",
        f"SOPInstanceUID={UID},1.2.3",
        "PatientName=nguyen*",
        "00100020=P1",
        "ProcedureStepLabel=Lung%20nodule*",
        "ScheduledHumanPerformersSequence.HumanPerformerCodeSequence.CodeValue=H7",
        "00404034.00404009.00080100=H7&00404034.00404009.00080102=99SITE",
        "ReferencedRequestSequence.AccessionNumber=A2&ReferencedRequestSequence.RequestedProcedureID=R2",
        "ExpectedCompletionDateTime=20260301130000",
        "ExpectedCompletionDateTime=20260301-20260302",
        "ExpectedCompletionDateTime=20260301200000%2B0700",
        "AdmissionID=ADM",
        "OtherPatientIDsSequence.PatientID=BHYT7&OtherPatientIDsSequence.IssuerOfPatientID=BHXH",
    ):
        assert found(client, query) == [UID], query
    for query in (
        "ReferencedRequestSequence.AccessionNumber=A1&ReferencedRequestSequence.RequestedProcedureID=R2",
        (
            "ScheduledHumanPerformersSequence.HumanPerformerCodeSequence.CodeValue=H7"
            "&ScheduledHumanPerformersSequence.HumanPerformerCodeSequence.CodingSchemeDesignator=DCM"
        ),
        "ExpectedCompletionDateTime=20260302-",
        "ProcedureStepState=COMPLETED",
        "ScheduledProcedureStepPriority=HIGH",
        "PatientID=p1",
    ):
        assert found(client, query) == [], query
    for query in (
        "",
        "ProcedureStepState=SCHEDULED",
        "ScheduledStationNameCodeSequence.CodeValue=NODE1",
        "PatientID=*",
    ):
        assert found(client, query) == [UID, "2.25.2"], query


def test_a_set_attribute_is_found_by_its_new_value_only(client: TestClient) -> None:
    create(client)
    send(client, "POST", f"/{UID}", data_set(ProcedureStepLabel="New"))
    assert found(client, "ProcedureStepLabel=New") == [UID]
    assert found(client, "ProcedureStepLabel=Lung*") == []


def test_pages_neither_repeat_nor_skip_across_workitems_and_jobs(client: TestClient, archive: Archive) -> None:
    for number in range(1, 4):
        create(client, f"2.25.{number}")
    some_jobs(archive, 2)
    everything = found(client)
    assert len(everything) == 5
    assert [uid for offset in range(6) for uid in found(client, f"limit=1&offset={offset}")] == everything
    assert [uid for offset in (0, 2, 4) for uid in found(client, f"limit=2&offset={offset}")] == everything
    assert found(client, "limit=0") == []


def test_our_own_maximum_is_said(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ups, "MAX_RESULTS", 2)
    for number in range(1, 4):
        create(client, f"2.25.{number}")
    answer = client.get(ROOT)
    assert len(answer.json()) == 2
    assert answer.headers["warning"] == f"{SERVICE}There are 1 additional results that can be requested"


def test_searching_follows_the_rules_of_qido(client: TestClient) -> None:
    create(client)
    for query in (
        "limit=-1",
        "offset=1e3",
        "NoSuchKeyword=1",
        "PatientID=1&00100020=1",
        "PatientBirthDate=x",
        "PatientID=%00",
    ):
        assert client.get(f"{ROOT}?{query}").status_code == 400, query
    ignored = client.get(f"{ROOT}?ScheduledProcessingParametersSequence=&fuzzymatching=true&MedicalAlerts=x")
    assert ignored.status_code == 200
    assert "fuzzymatching parameter is not supported" in ignored.headers["warning"]
    assert "MedicalAlerts is not supported for matching" in ignored.headers["warning"]
    assert client.get(f"{ROOT}?TransactionUID={LOCK}").status_code == 200


def test_an_answer_carries_the_return_keys_and_what_is_asked_for(client: TestClient) -> None:
    create(client, MedicalAlerts="none", ExpectedCompletionDateTime="20260302")
    (model,) = client.get(ROOT).json()
    assert value(model, "ProcedureStepLabel") == "Lung nodule detection"
    assert "00404011" not in model
    (model,) = client.get(f"{ROOT}?includefield=ExpectedCompletionDateTime").json()
    assert value(model, "ExpectedCompletionDateTime") == "20260302"
    (model,) = client.get(f"{ROOT}?includefield=all").json()
    assert "00404011" in model


def test_an_answer_carries_what_is_wanted_only_if_it_is_set(client: TestClient) -> None:
    """Return keys of type 1C and 2 (PS3.18 11.9.2, PS3.4 Table CC.2.5-3)."""
    create(client)
    (model,) = client.get(ROOT).json()
    assert "00741216" not in model
    assert model["00404034"] == {"vr": "SQ"}  # ScheduledHumanPerformersSequence, which nobody set
    claim(client)
    human = data_set(HumanPerformerName={"Alphabetic": "Lan"})
    send(client, "POST", f"/{UID}?{LOCK}", performed(ActualHumanPerformersSequence=[human]))
    (model,) = client.get(ROOT).json()
    assert value(model, "UnifiedProcedureStepPerformedProcedureSequence") == data_set(
        ActualHumanPerformersSequence=[human], PerformedProcedureStepEndDateTime="20260301080100"
    )
    (model,) = client.get(f"{ROOT}?includefield=UnifiedProcedureStepPerformedProcedureSequence").json()
    done = value(model, "UnifiedProcedureStepPerformedProcedureSequence")
    assert value(done, "PerformedProcedureStepStartDateTime") == "20260301080000"


def test_search_answers_in_xml_too(client: TestClient) -> None:
    create(client)
    answer = client.get(ROOT, headers={"Accept": 'multipart/related; type="application/dicom+xml"'})
    assert b'keyword="ProcedureStepLabel"' in answer.content


# ----------------------------------------------------------------------------------------------------- subscriptions
def test_a_subscription_names_the_channel_below_the_public_address(client: TestClient) -> None:
    create(client)
    answer = send(client, "POST", f"/{UID}/subscribers/WATCH%20ER")
    assert answer.status_code == 201
    assert answer.headers["content-location"] == "ws://127.0.0.1:8080/dicom-web/subscribers/WATCH%20ER"


@pytest.mark.parametrize("aet", ["A" * 17, "A%5CB", "%20", "A%0AB", "%C4%90"])
def test_what_is_no_ae_title_is_400(client: TestClient, aet: str) -> None:
    create(client)
    assert send(client, "POST", f"/{UID}/subscribers/{aet}").status_code == 400
    assert send(client, "POST", f"/{UID}/cancelrequest/{aet}").status_code == 400


def test_a_subscription_ends_once(client: TestClient) -> None:
    create(client)
    send(client, "POST", f"/{UID}/subscribers/A")
    assert send(client, "DELETE", f"/{UID}/subscribers/A").status_code == 200
    assert send(client, "DELETE", f"/{UID}/subscribers/A").status_code == 404
    send(client, "POST", f"/{ALL}/subscribers/A")
    assert send(client, "POST", f"/{ALL}/subscribers/A/suspend").status_code == 200
    assert send(client, "POST", f"/{ALL}/subscribers/A/suspend").status_code == 404
    assert send(client, "DELETE", f"/{ALL}/subscribers/A").status_code == 200  # of the workitem that it heard of
    assert send(client, "DELETE", f"/{ALL}/subscribers/A").status_code == 404


def test_a_filter_wants_a_key_and_a_value_that_can_be_matched(client: TestClient) -> None:
    path = f"/{FILTERED}/subscribers/A"
    assert send(client, "POST", path).status_code == 400
    assert send(client, "POST", f"{path}?filter=MedicalAlerts=x").status_code == 403
    assert send(client, "POST", f"{path}?filter=PatientID").status_code == 400
    assert send(client, "POST", f"{path}?filter=NoSuch=1").status_code == 400
    assert send(client, "POST", f"{path}?filter=ScheduledProcedureStepStartDateTime=x").status_code == 400
    assert send(client, "POST", f"{path}?filter=PatientID=P1,ProcedureStepLabel=Lung*").status_code == 201


def test_too_many_subscribers_are_told_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worklist, "MAX_SUBSCRIBERS", 1)
    assert send(client, "POST", f"/{ALL}/subscribers/A").status_code == 201
    assert send(client, "POST", f"/{ALL}/subscribers/B").status_code == 403
    assert send(client, "POST", f"/{ALL}/subscribers/A").status_code == 201


# ------------------------------------------------------------------------------------------------------- triage jobs
MODEL = ModelRef(id="head-ct-haemorrhage", version="1", digest="a" * 64)
LEASE = timedelta(seconds=30)


def some_jobs(archive: Archive, count: int) -> list[str]:
    """Make studies with a job each; return the jobs' UIDs as workitems."""
    made = []
    for number in range(1, count + 1):
        uid = StudyUid(f"2.25.90{number}")
        header = builders.header(
            study_instance_uid=uid,
            series_instance_uid=f"{uid}.1",
            sop_instance_uid=f"{uid}.1.1",
            accession_number=f"ACC{number}",
        )
        builders.keep(archive, header)
        now = builders.START + timedelta(milliseconds=number - 1)
        with archive.database.write() as tx:
            (job,) = jobs.create(tx, uid, 1, [MODEL], due_at=now, now=now)
        made.append(uid_of_job(job))
    return made


def run(archive: Archive, end: JobState | None, reason: str | None = None) -> Job:
    with archive.database.write() as tx:
        job = jobs.claim(tx, owner="w", lease=LEASE, now=builders.START + timedelta(seconds=1))
        assert job is not None
        if end is not None:
            jobs.end(tx, job.id, owner="w", state=end, reason=reason, now=builders.START + timedelta(seconds=5))
    return job


def test_a_job_is_a_workitem_for_everybody_to_see(client: TestClient, archive: Archive) -> None:
    (uid,) = some_jobs(archive, 1)
    model = retrieve(client, uid)
    told = {
        "SOPInstanceUID": uid,
        "ProcedureStepState": "SCHEDULED",
        "ProcedureStepLabel": "AI triage",
        "StudyInstanceUID": "2.25.901",
        "PatientID": "P1",
        "ScheduledProcedureStepPriority": "MEDIUM",
        "InputReadinessState": "READY",
        "ScheduledProcedureStepStartDateTime": "20260301080000.000000+0000",
    }
    assert {keyword: value(model, keyword) for keyword in told} == told
    assert value(value(model, "ScheduledStationNameCodeSequence"), "LongCodeValue") == MODEL.id
    assert value(value(model, "ScheduledWorkitemCodeSequence"), "CodeMeaning") == "Computer Aided Detection"
    assert value(value(model, "ReferencedRequestSequence"), "AccessionNumber") == "ACC1"
    source = value(model, "InputInformationSequence")
    assert value(value(source, "ReferencedSOPSequence"), "ReferencedSOPInstanceUID") == "2.25.901.1.1"
    url = f"{BASE}/dicom-web/studies/2.25.901/series/2.25.901.1"
    assert value(value(source, "WADORSRetrievalSequence"), "RetrieveURL") == url


def test_what_a_job_tells_satisfies_the_table_too(client: TestClient, archive: Archive) -> None:
    (uid,) = some_jobs(archive, 1)
    told = retrieve(client, uid)
    for keyword in ("SOPInstanceUID", "ScheduledProcedureStepModificationDateTime", "SpecificCharacterSet"):
        told.pop(next(iter(attribute(keyword))))
    assert send(client, "POST", "?2.25.1", told).status_code == 201


@pytest.mark.parametrize(
    ("end", "expected"), [(None, "IN PROGRESS"), (JobState.DONE, "COMPLETED"), (JobState.FAILED, "CANCELED")]
)
def test_a_jobs_state_is_mapped(client: TestClient, archive: Archive, end: JobState | None, expected: str) -> None:
    (uid,) = some_jobs(archive, 1)
    run(archive, end, "timeout" if end is JobState.FAILED else None)
    model = retrieve(client, uid)
    assert value(model, "ProcedureStepState") == expected
    assert found(client, f"ProcedureStepState={expected.replace(' ', '%20')}") == [uid]
    if end is JobState.FAILED:
        progress = value(model, "ProcedureStepProgressInformationSequence")
        assert value(progress, "ReasonForCancellation") == "timeout"
    if end is JobState.DONE:
        done = value(model, "UnifiedProcedureStepPerformedProcedureSequence")
        assert value(done, "PerformedProcedureStepEndDateTime") == "20260301080005.000000+0000"


def test_a_job_that_is_tried_again_stays_in_progress(client: TestClient, archive: Archive) -> None:
    (uid,) = some_jobs(archive, 1)
    job = run(archive, None)
    with archive.database.write() as tx:
        assert jobs.retry(tx, job.id, owner="w", reason="x", now=builders.START)
    assert value(retrieve(client, uid), "ProcedureStepState") == "IN PROGRESS"
    assert found(client, "ProcedureStepState=SCHEDULED") == []


def test_jobs_are_found_by_their_keys(client: TestClient, archive: Archive) -> None:
    first, second = some_jobs(archive, 2)
    create(client)
    for query, expected in (
        (f"SOPInstanceUID={second}", [second]),
        ("ReferencedRequestSequence.AccessionNumber=ACC1", [first]),
        ("ScheduledStationNameCodeSequence.LongCodeValue=head-ct-*", [first, second]),
        ("ScheduledStationNameCodeSequence.CodeValue=head-ct-*", []),
        ("ScheduledStationNameCodeSequence.CodingSchemeDesignator=99ROI", [first, second]),
        ("WorklistLabel=AI%20TRIAGE", [first, second]),
        ("WorklistLabel=AI*", [UID, first, second]),
        ("StudyInstanceUID=2.25.902", [second]),
        ("InputInformationSequence.StudyInstanceUID=2.25.902", [second]),
        ("ScheduledProcedureStepStartDateTime=20260301-", [UID, first, second]),
        ("ScheduledProcedureStepStartDateTime=-20260228", []),
        ("ScheduledProcedureStepPriority=HIGH", []),
        ("AdmissionID=x", []),
        ("ScheduledWorkitemCodeSequence.CodeValue=110004", [UID, first, second]),
    ):
        assert found(client, query) == expected, query


def test_nobody_else_changes_a_job(client: TestClient, archive: Archive) -> None:
    (uid,) = some_jobs(archive, 1)
    for method, path, model, warning in (
        ("POST", "", data_set(ProcedureStepLabel="x"), "The target URI did not reference a claimed Workitem."),
        (
            "PUT",
            "/state",
            state("IN PROGRESS", LOCK),
            "The submitted request is inconsistent with the state of the UPS Instance.",
        ),
    ):
        refused = send(client, method, f"/{uid}{path}", model)
        assert (refused.status_code, refused.headers["warning"]) == (409, SERVICE + warning)
        assert "triage job of this server" in refused.json()["detail"]
    refused = send(client, "POST", f"/{uid}/cancelrequest")
    assert (refused.status_code, refused.headers["warning"]) == (409, f"{SERVICE}Performer chooses not to cancel.")
    assert create(client, uid).status_code == 409


def test_a_job_grants_no_deletion_lock(client: TestClient, archive: Archive) -> None:
    (uid,) = some_jobs(archive, 1)
    answer = send(client, "POST", f"/{uid}/subscribers/A?deletionlock=true")
    assert (answer.status_code, answer.headers["warning"]) == (201, f"{SERVICE}Deletion Lock not granted.")


# ---------------------------------------------------------------------------------------------------- told of itself
def test_the_capabilities_name_every_resource(client: TestClient) -> None:
    told = client.options("/dicom-web/", headers={"Accept": "application/json"}).json()["resources"]
    methods = {one["path"]: {method["name"] for method in one["methods"]} for one in told}
    assert methods["workitems"] == {"GET", "POST"}
    assert methods["workitems/{workitem}/state"] == {"PUT"}
    assert methods["subscribers/{aet}"] == {"GET"}


def test_every_method_is_allowed_where_it_is_known(client: TestClient) -> None:
    allowed = set(client.options(f"{ROOT}/{UID}/state").headers["allow"].split(", "))
    assert allowed == {"PUT", "OPTIONS"}


def test_another_sites_page_changes_no_workitem(client: TestClient) -> None:
    headers = {**JSON, "Origin": "http://evil.example"}
    for method, path in (("POST", ""), ("PUT", f"/{UID}/state"), ("DELETE", f"/{UID}/subscribers/A")):
        assert client.request(method, ROOT + path, headers=headers).status_code == 403
