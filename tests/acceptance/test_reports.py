"""Results as objects: beside the flag, never in its way, and for every client of DICOMweb."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pydicom
import pytest

from models.reference.dicom import head_ct_study
from models.reference.identity import LABEL_EN, LABEL_VI
from tests.acceptance.site import Site, embedded
from tests.acceptance.studies import data_set_bytes, final, small_ct, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ANY_SYNTAX = "application/dicom; transfer-syntax=*"


def series_of(site: Site, study: str) -> dict[str, dict[str, Any]]:
    """Return a study's series as QIDO-RS answers them, by modality."""
    found = site.get(f"/dicom-web/studies/{study}/series?includefield=0008103E")
    return {each["00080060"]["Value"][0]: each for each in found}


def instance_of(site: Site, study: str, series: dict[str, Any]) -> pydicom.Dataset:
    """Return the one instance of a series as WADO-RS gives it."""
    uid = series["0020000E"]["Value"][0]
    (named,) = site.get(f"/dicom-web/studies/{study}/series/{uid}/instances")
    path = f"/dicom-web/studies/{study}/series/{uid}/instances/{named['00080018']['Value'][0]}"
    answer = site.call("GET", path, accept=ANY_SYNTAX)
    assert answer.status == 200, answer.body[:300]
    return pydicom.dcmread(io.BytesIO(answer.body))


def test_after_a_flag_report_key_images_and_picture_are_found_and_the_study_stays_as_it_is(
    site: Site, tmp_path: Path
) -> None:
    files = write(head_ct_study(43, haemorrhage=True, plain=True), tmp_path)
    site.send(files)
    study = files[0].study
    flagged = site.settled(study)
    site.told()
    series = series_of(site, study)
    assert sorted(series) == ["CT", "KO", "OT", "SR"]
    report, picture = instance_of(site, study, series["SR"]), instance_of(site, study, series["OT"])
    assert (report.PatientID, report.CompletionFlag, report.VerificationFlag) == (
        flagged["patient"]["patient_id"],
        "PARTIAL",
        "UNVERIFIED",
    )
    assert LABEL_EN in str(report)
    assert LABEL_VI in str(report)
    assert picture.BurnedInAnnotation == "YES"
    assert picture.pixel_array.shape[1] >= 512
    now = site.row(study)
    for kept in ("state", "revision", "ready_at", "due_at", "received_last", "instance_count", "series_count"):
        assert now[kept] == flagged[kept], kept
    assert now["study"]["modalities"] == ["CT"]
    assert len(site.jobs_of(study)) == 1
    (result,) = final(site.get(f"/api/studies/{study}/results")["results"])
    assert [each["form"] for each in result["objects"]] == ["sr", "ko", "sc"]
    again = site.roi("rerun", result["result_id"], "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["agreement"] == "bit-equal"


def test_a_result_is_made_again_at_a_person_s_wish(site: Site, tmp_path: Path) -> None:
    files = write(small_ct(954, slices=20), tmp_path)
    site.send(files)
    site.settled(files[0].study)
    (result,) = final(site.get(f"/api/studies/{files[0].study}/results")["results"])
    asked = site.call("POST", f"/api/results/{result['result_id']}/rerun", body={"by": "BS Thu"})
    assert asked.status == 202, asked.body
    rerun = json.loads(asked.body)["id"]

    def ended() -> dict[str, Any] | None:
        found = site.get(f"/api/reruns/{rerun}")
        return found if found["state"] == "ENDED" else None

    assert site.wait(ended, "made again", limit_s=180)["answer"]["agreement"] == "bit-equal"


def test_our_own_objects_sent_back_by_another_archive_change_nothing(site: Site, tmp_path: Path) -> None:
    files = write(small_ct(951, slices=20), tmp_path / "sent")
    site.send(files)
    study = files[0].study
    site.settled(study)
    site.told()
    report = instance_of(site, study, series_of(site, study)["SR"])
    before = site.changes(study)
    site.send(write([report], tmp_path / "back"))
    assert site.changes(study) == before
    assert (site.row(study)["state"], site.row(study)["revision"]) == ("TRIAGED", 1)


def test_a_catalogue_made_anew_has_them_still(tmp_path: Path) -> None:
    with embedded(tmp_path / "site") as own:
        files = write(small_ct(952, slices=20), tmp_path / "files")
        own.send(files)
        study = files[0].study
        own.settled(study)
        own.told()
        kept = data_set_bytes(_whole(own, study))
        own.servers["serve"].stop()
        assert own.roi("rebuild", "--replace", "--json").returncode == 0
        own.servers["serve"].start()
        own.settled(study)
        own.told()
        assert data_set_bytes(_whole(own, study)) == kept
        assert own.get("/api/quarantine")["copies"] == []


def test_a_site_that_wants_none_has_none(tmp_path: Path) -> None:
    with embedded(tmp_path / "site", reports="") as own:
        files = write(small_ct(953, slices=20), tmp_path / "files")
        own.send(files)
        own.settled(files[0].study)
        assert sorted(series_of(own, files[0].study)) == ["CT"]
        assert "report" not in own.processes()


def _whole(site: Site, study: str) -> bytes:
    uid = series_of(site, study)["SR"]["0020000E"]["Value"][0]
    (named,) = site.get(f"/dicom-web/studies/{study}/series/{uid}/instances")
    path = f"/dicom-web/studies/{study}/series/{uid}/instances/{named['00080018']['Value'][0]}"
    return site.call("GET", path, accept=ANY_SYNTAX).body
