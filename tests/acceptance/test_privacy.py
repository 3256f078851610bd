"""A patient sent through everything is found where a reader looks, and nowhere else."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from models.reference.dicom import head_ct_study
from pacs_gateway import scu
from tests import builders
from tests.acceptance.site import Site
from tests.acceptance.studies import data_set_bytes, small_ct, write
from tests.raw_scu import CT, EXPLICIT, RawScu, c_store, context

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "ZZ^PHI^CANARY"
SIGN = b"canary"
"""What must not be found, in any case and any writing: part of every name, number and text sent here."""
TEXTS = {
    "PatientName": NAME,
    "PatientID": "CANARY-ID",
    "AccessionNumber": "CANARY-ACC",
    "StudyDescription": "canary study",
    "SeriesDescription": "canary series",
    "ReferringPhysicianName": "ZZ^CANARY^DR",
    "StationName": "CANARYCT",
}


@pytest.fixture(scope="module")
def studies(site: Site, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The canary, through every door: taken, judged, refused, doubled, contradicted, failing, asked for."""
    folder = tmp_path_factory.mktemp(f"canary-{site.name}")
    judged = write([_marked(each) for each in head_ct_study(42, haemorrhage=True, plain=True)], folder / "judged")
    broken = write([_cut_short(each) for each in small_ct(901, slices=20, **TEXTS)], folder / "broken")
    site.send(judged)
    site.send(broken)
    site.send(judged[:1])
    _send_refused(site)
    _send_conflict(site, small_ct(901, slices=1, **TEXTS)[0], folder)
    _ask_by_name(site)
    for study in (judged[0].study, broken[0].study):
        site.settled(study)
    change = {"kind": "manual", "priority": "STAT", "by": "BS Thu"}
    assert site.call("PUT", f"/api/studies/{judged[0].study}/priority", body=change).status == 200
    return [judged[0].study, broken[0].study]


def test_canary_is_where_a_reader_looks(site: Site, studies: list[str]) -> None:
    rows = {row["study_instance_uid"]: row for row in site.worklist()}
    assert [rows[study]["patient"]["patient_name"] for study in studies] == [NAME, NAME]
    assert [line["coverage"] for line in rows[studies[0]]["coverage"]] == ["analysed"]
    assert [line["coverage"] for line in rows[studies[1]]["coverage"]] == ["not suitable"]
    assert NAME.replace("^", " ").encode() in site.call("GET", "/vi").body.replace(b"^", b" ")


def test_canary_is_in_no_log(site: Site, studies: list[str]) -> None:
    lines = site.log_text().encode().lower().splitlines()
    assert [line for line in lines if SIGN in line] == []
    actions = {line.get("action") for line in site.log_lines()}
    assert {"request-refused", "run-starts", "prediction-made", "result-committed"} <= actions


def test_canary_is_in_no_answer_of_health(site: Site, studies: list[str]) -> None:
    answers = [site.call("GET", path) for path in ("/health/live", "/health/ready", "/metrics")]
    assert [SIGN in answer.body.lower() for answer in answers] == [False, False, False]


def test_canary_is_in_no_command_line(site: Site, studies: list[str]) -> None:
    told = {role: process.cmdline() for role, process in site.processes().items()}
    assert set(told) >= {"gateway", "api", "worker", "model"}
    assert [word for words in told.values() for word in words if SIGN in word.encode().lower()] == []


def test_broker_hears_job_ids_and_no_canary(site: Site, studies: list[str]) -> None:
    if site.tap is None:
        assert site.settings.dispatch == "child:"  # the embedded set-up has no broker
        return
    heard = site.tap.heard()
    assert all(job.id.encode() in heard for study in studies for job in site.jobs_of(study))
    assert SIGN not in heard.lower()
    for study in studies:
        assert study.encode() not in heard


def _marked(data_set: Dataset) -> Dataset:
    for keyword, value in TEXTS.items():
        setattr(data_set, keyword, value)
    return data_set


def _cut_short(data_set: Dataset) -> Dataset:
    """Fewer pixels than the header says."""
    data_set.PixelData = data_set.PixelData[:10]
    return data_set


def _send_refused(site: Site) -> None:
    """What contradicts its command, and what is no data set at all."""
    encoded = data_set_bytes(builders.part10(small_ct(902, slices=1, **TEXTS)[0]))
    with RawScu(site.settings.dicom_port) as raw:
        raw.associate(context(1, CT, EXPLICIT))
        statuses = [
            raw.store(1, c_store(CT, "2.25.99"), data).status for data in (encoded, encoded[20:], b"CANARY" * 9)
        ]
        raw.release()
    assert all(status >> 12 in {0xA, 0xC} for status in statuses), [f"{status:04X}" for status in statuses]
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + b"CANARY" * 9 + b"\r\n--x--\r\n"
    answer = site.post("/dicom-web/studies", body, 'multipart/related; type="application/dicom"; boundary=x')
    assert answer.status in {400, 409}, answer


def _send_conflict(site: Site, data_set: Dataset, folder: Path) -> None:
    """Other content under a UID that is here already."""
    twin = copy.deepcopy(data_set)
    twin.PatientName = "ZZ^PHI^CANARY2"
    [file] = write([twin], folder / "conflict")
    [refused] = scu.send([file.path], "127.0.0.1", site.settings.dicom_port).not_sent
    assert refused.status == 0x0111


def _ask_by_name(site: Site) -> None:
    found = site.call("GET", "/dicom-web/studies?PatientName=ZZ%5EPHI*", accept="application/dicom+json")
    assert found.status == 200, found
    refused = site.call("GET", "/dicom-web/studies?StudyDate=CANARY", accept="application/dicom+json")
    assert refused.status == 400, refused
    assert SIGN not in refused.body.lower()
