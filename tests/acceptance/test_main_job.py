"""From a modality's association to a flagged row, the same steps on every site."""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from models.reference.dicom import head_ct_study, radiograph_study
from models.reference.identity import LABEL_EN, LABEL_VI
from tests import builders
from tests.acceptance.site import Site
from tests.acceptance.studies import SentFile, small_ct, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HEAD, CHEST = "head-ct-haemorrhage", "chest-radiograph"
DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.67"
SLICES = 20
"""Enough for the head model, on 16 x 16 pixels: what is judged does not matter in these steps."""


@pytest.fixture
def number(site: Site) -> int:
    """A number for a small study that no other test on this site uses."""
    return len(site.worklist()) + 1000


def test_flagged_phantoms_stand_above_normal_ones_that_came_before(site: Site, tmp_path: Path) -> None:
    site.read_all()
    sent = {
        "normal head": head_ct_study(1, haemorrhage=False),
        "normal chest": radiograph_study(3, findings=frozenset()),
        "bleeding head": head_ct_study(40, haemorrhage=True, plain=True),
        "collapsed lung": radiograph_study(6, findings=frozenset({"pneumothorax"})),
    }
    files = {name: write(data_sets, tmp_path / name) for name, data_sets in sent.items()}
    for name in sent:  # one association each, the normal ones first
        site.send(files[name])
    rows = {name: site.settled(files[name][0].study) for name in sent}
    outcomes = {name: [line["outcome"] for line in row["coverage"]] for name, row in rows.items()}
    assert outcomes == {
        "normal head": ["NOT_FLAGGED"],
        "normal chest": ["NOT_FLAGGED"],
        "bleeding head": ["FLAGGED"],
        "collapsed lung": ["FLAGGED"],
    }
    by_study = {files[name][0].study: name for name in sent}
    order = [by_study[uid] for uid in site.order_of(by_study)]
    assert [set(order[:2]), set(order[2:])] == [{"bleeding head", "collapsed lung"}, {"normal head", "normal chest"}]
    assert order == sorted(order, key=lambda name: (rows[name]["due_at"], rows[name]["ready_at"]))
    assert rows["bleeding head"]["priority"]["ai"] == "critical"
    [finding] = [finding for finding in rows["bleeding head"]["findings"] if finding["positive"]]
    assert finding["key_instance_uid"] in {file.instance for file in files["bleeding head"]}
    assert finding["label"] == {"vi": LABEL_VI, "en": LABEL_EN}


def test_what_was_sent_comes_back_byte_for_byte(site: Site, tmp_path: Path, number: int) -> None:
    files = write(small_ct(number), tmp_path)
    site.send(files)
    digests = [hashlib.sha256(site.data_set_of(file)).hexdigest() for file in files]
    assert digests == [file.digest for file in files]


def test_duplicate_send_makes_no_second_object_and_no_second_job(site: Site, tmp_path: Path, number: int) -> None:
    files = write(small_ct(number, slices=SLICES), tmp_path)
    site.send(files)
    site.settled(files[0].study)
    site.told()
    before = site.row(files[0].study), site.changes(files[0].study), site.object_keys()
    site.send(files, associations=1)
    time.sleep(2.0)
    assert (site.row(files[0].study)["instance_count"], site.row(files[0].study)["revision"]) == (SLICES, 1)
    assert (site.changes(files[0].study), site.object_keys()) == before[1:]
    assert [(job.revision, job.model, job.attempts) for job in site.jobs_of(files[0].study)] == [(1, HEAD, 1)]


def test_slices_in_associations_of_their_own_are_one_revision_and_one_job(
    site: Site, tmp_path: Path, number: int
) -> None:
    files = write(small_ct(number, slices=32), tmp_path)
    begun = time.monotonic()
    for at, file in enumerate(files):
        time.sleep(max(0.0, begun + 0.2 * at - time.monotonic()))
        site.send([file])
    row = site.settled(files[0].study)
    assert (row["revision"], row["instance_count"], row["completion_reason"]) == (
        1,
        32,
        "released, geometry consistent",
    )
    assert [(job.revision, job.model, job.state) for job in site.jobs_of(files[0].study)] == [(1, HEAD, "DONE")]
    assert _kinds(site, files) == {"instance-stored": 32, "study-complete": 1, "study-triaged": 1}


def test_late_instance_opens_a_revision_whose_result_supersedes(site: Site, tmp_path: Path) -> None:
    *early, late = write(head_ct_study(41, haemorrhage=True, plain=True), tmp_path)
    site.send(early)
    first = site.settled(late.study)
    site.send([late])
    second = site.settled(late.study, revision=2)
    assert [(job.revision, job.model, job.state) for job in site.jobs_of(late.study)] == [
        (1, HEAD, "DONE"),
        (2, HEAD, "DONE"),
    ]
    assert [(f["revision"], f["superseded_by"]) for f in first["findings"]] == [(1, None)]
    assert [(f["revision"], f["superseded_by"]) for f in second["findings"]] == [(2, None), (1, 2)]
    assert second["ready_at"] == first["ready_at"]
    assert _kinds(site, early) == {
        "instance-stored": 32,
        "study-complete": 2,
        "study-triaged": 2,
        "study-reopened": 1,
        "result-superseded": 1,
    }
    told = [each for each in site.get(f"/api/studies/{late.study}/results")["results"] if not each["provisional"]]
    assert [(result["revision"], result["superseded_by"]) for result in told] == [(2, None), (1, 2)]


def test_late_dose_report_makes_no_job_and_the_flag_keeps_its_place(site: Site, tmp_path: Path) -> None:
    site.read_all()
    image = radiograph_study(14, findings=frozenset({"pneumothorax"}))
    [file] = write(image, tmp_path / "image")
    later = write(radiograph_study(3, findings=frozenset(), accession_number="LATER"), tmp_path / "later")
    site.send([file])
    flagged = site.settled(file.study)
    assert flagged["priority"]["ai"] == "critical"
    site.send(later)
    site.settled(later[0].study)
    site.send(write([_dose_report(image[0])], tmp_path / "dose"))
    row = site.settled(file.study, revision=2)
    assert [(job.revision, job.model) for job in site.jobs_of(file.study)] == [(1, CHEST)]
    assert (row["due_at"], row["priority"]["ai"]) == (flagged["due_at"], "critical")
    assert [(line["coverage"], line["revision"], line["outdated"]) for line in row["coverage"]] == [
        ("analysed", 1, True)
    ]
    assert site.order_of({file.study, later[0].study}) == [file.study, later[0].study]


def test_stat_by_a_person_moves_a_row_before_everything(site: Site, tmp_path: Path, number: int) -> None:
    files = write(small_ct(number), tmp_path)
    site.send(files)
    site.settled(files[0].study)
    change = {"kind": "manual", "priority": "STAT", "by": "BS Thu"}
    answer = site.call("PUT", f"/api/studies/{files[0].study}/priority", body=change)
    assert answer.status == 200, answer.body
    first = site.worklist()[0]
    assert (first["study_instance_uid"], first["priority"]["manual"], first["priority"]["manual_by"]) == (
        files[0].study,
        "STAT",
        "BS Thu",
    )
    assert site.call("PUT", f"/api/studies/{files[0].study}/priority", body={**change, "priority": None}).status == 200
    assert site.row(files[0].study)["priority"]["manual"] is None


def test_page_shows_the_rows_in_the_worklists_order(site: Site, tmp_path: Path, number: int) -> None:
    files = write(small_ct(number), tmp_path)
    site.send(files)
    site.settled(files[0].study)
    page = site.call("GET", "/vi", accept="text/html")
    assert (page.status, page.media_type.partition(";")[0]) == (200, "text/html")
    shown = re.findall(r'data-study="([0-9.]+)"', page.body.decode())
    assert files[0].study in shown
    assert shown == [row["study_instance_uid"] for row in site.worklist()][: len(shown)]


def test_everything_kept_so_far_is_whole(site: Site, tmp_path: Path, number: int) -> None:
    files = write(small_ct(number), tmp_path)
    site.send(files)
    site.settled(files[0].study)
    site.told()  # an object that is put has its row a moment later
    report = site.verify()
    assert report["checked"] >= 4
    assert (report["missing"], report["corrupt"], report["unreferenced"]) == ([], [], [])


def _kinds(site: Site, files: list[SentFile]) -> dict[str, int]:
    """Return how often each fact was told of a study: not whether it moves the list, nor what we made of it."""
    received = {None, *(file.series for file in files)}
    told = Counter(
        change["kind"] for change in site.changes(files[0].study) if change["series_instance_uid"] in received
    )
    return {
        kind: times
        for kind, times in told.items()
        if kind != "result-reported" and not kind.startswith(("priority-", "provisional-"))
    }


def _dose_report(image: Dataset) -> Dataset:
    """A dose report of the image's study, as modalities send it some time after."""
    report = builders._image(DOSE_SR, f"{image.StudyInstanceUID}.88.1", "SR")
    report.StudyInstanceUID, report.SeriesInstanceUID = image.StudyInstanceUID, f"{image.StudyInstanceUID}.88"
    report.PatientID, report.PatientName = image.PatientID, image.PatientName
    report.ValueType, report.CompletionFlag, report.VerificationFlag = "CONTAINER", "COMPLETE", "UNVERIFIED"
    return report
