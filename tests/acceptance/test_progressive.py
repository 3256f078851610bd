"""A bleeding head is flagged while it is still arriving, and the whole series says the same as ever."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from models.reference.dicom import head_ct_study
from pacs_gateway import scu
from tests.acceptance.site import Site
from tests.acceptance.studies import write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FIRST_PART = 24
LAST_PART_PAUSE_S = 4.0
"""What is left to send is held back so long for each slice, unless the flag is there: shorter than any silence."""


def _bleeding(accession: str) -> list[Dataset]:
    """The same pixels under UIDs of their own."""
    return head_ct_study(40, haemorrhage=True, plain=True, accession_number=accession)


def _flags(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for finding in row["findings"] if finding["positive"]]


def _scores(site: Site, study: str) -> list[tuple[str, float, str]]:
    results = site.get(f"/api/studies/{study}/results")["results"]
    [whole] = [each for each in results if each["provisional"] is None]
    return [(each["code"], each["score"], each["key_instance_uid"].rpartition(".")[2]) for each in whole["findings"]]


def test_a_flag_before_the_last_slice_is_confirmed_by_the_whole_series(site: Site, tmp_path: Path) -> None:
    at_once = write(_bleeding("AT-ONCE"), tmp_path / "at once")
    site.send(at_once)
    site.settled(at_once[0].study)  # and the model is loaded
    files = write(_bleeding("SLOWLY"), tmp_path / "slowly")
    study = files[0].study
    assert study != at_once[0].study
    seen: list[dict[str, Any]] = []

    def hold_back(progress: scu.Progress) -> None:
        deadline = time.monotonic() + LAST_PART_PAUSE_S
        while FIRST_PART <= progress.done < progress.total and not seen and time.monotonic() < deadline:
            row = site.row(study)
            seen.extend([row] if _flags(row) else [])
            time.sleep(0.1)

    paths = sorted((file.path for file in files), key=lambda path: int(path.stem.rpartition(".")[2]))
    report = scu.send(paths, "127.0.0.1", site.settings.dicom_port, on_progress=hold_back)
    assert report.not_sent == ()

    assert seen, "no flag came before the last slice"
    early = seen[0]
    assert (early["state"], early["ready_at"], early["priority"]["ai"]) == ("RECEIVING", None, "critical")
    assert [(line["coverage"], line["outcome"]) for line in early["coverage"]] == [("waiting", None)]
    [flag] = _flags(early)
    assert flag["provisional"] >= 12
    assert early["coverage"][0]["provisional"] == flag["provisional"]

    row = site.settled(study)
    assert [finding["provisional"] for finding in row["findings"]] == [None]
    assert (row["priority"]["ai"], row["revision"], row["instance_count"]) == ("critical", 1, len(files))
    kinds = [change["kind"] for change in site.changes(study) if change["kind"] != "instance-stored"]
    facts = [kind for kind in kinds if kind != "priority-changed"]
    assert facts == ["provisional-flagged", "study-complete", "provisional-confirmed", "study-triaged"]
    assert _scores(site, study) == _scores(site, at_once[0].study)
