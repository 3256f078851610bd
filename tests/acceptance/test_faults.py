"""Models that are absent, damaged or misbehave: the study stays readable, its coverage says why, the order holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.reference.dicom import radiograph_study
from tests.acceptance.installation import install, spoil, weights_of, without_torch
from tests.acceptance.site import Site, embedded
from tests.acceptance.studies import SentFile, small_ct, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HEAD, CHEST = "head-ct-haemorrhage", "chest-radiograph"
Send = Callable[..., dict[str, list[SentFile]]]

ALL = ("first", "second", "stat")
FEW = ("first", "stat")
"""Where every run costs the start of a process."""


@pytest.fixture
def send(tmp_path: Path) -> Send:
    """Sends studies of these names, in this order; the one called `stat` was ordered so, the others say nothing."""

    def act(site: Site, *names: str) -> dict[str, list[SentFile]]:
        files = {}
        for at, name in enumerate(names, start=601):
            data_sets = small_ct(at, slices=20, RequestedProcedurePriority="STAT" if name == "stat" else "")
            files[name] = write(data_sets, tmp_path / name)
            site.send(files[name])
        return files

    return act


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """An installation to break."""
    return install(tmp_path / "code")


def test_worker_without_torch_leaves_studies_waiting_and_says_so(tmp_path: Path, send: Send) -> None:
    with embedded(tmp_path / "site", environment=without_torch(tmp_path / "no-torch")) as site:
        files = send(site, *ALL)
        rows = _said(site, files, "waiting")
        assert _reasons(rows) == {"no torch on this worker"}
        _assert_readable_in_clinical_order(site, files)


def test_missing_weights_fail_the_studies_of_their_model_alone(tmp_path: Path, code: Path, send: Send) -> None:
    weights_of(code, HEAD).unlink()
    with embedded(tmp_path / "site", code=code) as site:
        files = send(site, *ALL)
        assert _reasons(_said(site, files, "failed")) == {"weights"}
        assert {line["model"] for line in site.log_lines("model-failed")} == {HEAD}
        _assert_readable_in_clinical_order(site, files)
        _assert_other_model_works(site, tmp_path)


def test_corrupt_weights_fail_the_studies_of_their_model_alone(tmp_path: Path, code: Path, send: Send) -> None:
    weights = weights_of(code, HEAD)
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(damaged)
    with embedded(tmp_path / "site", code=code) as site:
        files = send(site, *ALL)
        assert _reasons(_said(site, files, "failed")) == {"weights"}
        _assert_readable_in_clinical_order(site, files)
        _assert_other_model_works(site, tmp_path)


def test_model_that_raises_is_failed_for_its_studies_alone(tmp_path: Path, code: Path, send: Send) -> None:
    spoil(code, "head_ct_haemorrhage", "raise ValueError('the model quotes ZZ^PHI^CANARY')")
    with embedded(tmp_path / "site", code=code) as site:
        files = send(site, *ALL)
        rows = _said(site, files, "failed")
        assert _reasons(rows) == {"model_error"}
        _assert_readable_in_clinical_order(site, files)
        _assert_other_model_works(site, tmp_path)
        assert "CANARY" not in site.log_text()
        assert {job.attempts for study in files.values() for job in site.jobs_of(study[0].study)} == {3}


def test_model_that_hangs_is_killed_and_failed_for_its_studies_alone(tmp_path: Path, code: Path, send: Send) -> None:
    spoil(code, "head_ct_haemorrhage", "import time; time.sleep(3600)")
    with embedded(tmp_path / "site", code=code, run_limit_s=1.0) as site:
        files = send(site, *FEW)
        rows = _said(site, files, "failed")
        assert _reasons(rows) == {"timeout"}
        _assert_readable_in_clinical_order(site, files)
        _assert_other_model_works(site, tmp_path)


def test_model_that_takes_its_process_down_is_failed_for_its_studies_alone(
    tmp_path: Path, code: Path, send: Send
) -> None:
    spoil(code, "head_ct_haemorrhage", "import os; os.abort()")
    with embedded(tmp_path / "site", code=code) as site:
        files = send(site, *FEW)
        rows = _said(site, files, "failed")
        assert _reasons(rows) == {"process_died"}
        _assert_readable_in_clinical_order(site, files)
        _assert_other_model_works(site, tmp_path)


def _said(site: Site, files: dict[str, list[SentFile]], coverage: str) -> list[dict[str, Any]]:
    """Return the studies' rows once all are complete and covered so, with a reason."""

    def look() -> list[dict[str, Any]] | None:
        rows = [site.row(study[0].study) for study in files.values()]
        lines = [line for row in rows for line in row["coverage"]]
        complete = all(row["ready_at"] for row in rows)
        return rows if complete and all(line["coverage"] == coverage and line["reason"] for line in lines) else None

    return site.wait(look, f"all {coverage}, with a reason", limit_s=240)


def _reasons(rows: list[dict[str, Any]]) -> set[str]:
    return {line["reason"] for row in rows for line in row["coverage"]}


def _assert_readable_in_clinical_order(site: Site, files: dict[str, list[SentFile]]) -> None:
    names = {study[0].study: name for name, study in files.items()}
    assert [names[uid] for uid in site.order_of(names)] == [
        name for name in ("stat", "first", "second") if name in files
    ]
    for study in files.values():
        assert hashlib.sha256(site.data_set_of(study[0])).hexdigest() == study[0].digest
    assert site.call("GET", "/vi", accept="text/html").status == 200


def _assert_other_model_works(site: Site, folder: Path) -> None:
    files = write(radiograph_study(6, findings=frozenset({"pneumothorax"})), folder / "chest")
    site.send(files)
    assert [(line["model_id"], line["coverage"]) for line in site.settled(files[0].study)["coverage"]] == [
        (CHEST, "analysed")
    ]
