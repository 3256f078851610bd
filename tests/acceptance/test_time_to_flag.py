"""The way of a real result in stages, from the modality's first byte to the list that showed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference.waterfall import STAGES
from models.reference.dicom import head_ct_study
from tests.acceptance.site import Site
from tests.acceptance.studies import final, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_stages_of_a_real_run_add_up_to_the_time_until_somebody_saw_it(site: Site, tmp_path: Path) -> None:
    before = site.call("GET", "/metrics").body.decode()
    files = write(head_ct_study(77, haemorrhage=True, plain=True), tmp_path)
    site.send(files)
    study = files[0].study
    site.settled(study)
    assert study in {row["study_instance_uid"] for row in site.worklist()}

    def shown() -> dict[str, Any] | None:
        (told,) = final(site.get(f"/api/studies/{study}/times")["results"])
        return told if "shown" in {stage["stage"] for stage in told["stages"]} else None

    told = site.wait(shown, "the list that showed it is noted")
    stages = {stage["stage"]: stage["took_s"] for stage in told["stages"]}
    assert set(stages) == set(STAGES[: STAGES.index("shown") + 1])
    assert min(stages.values()) >= 0
    assert sum(stages.values()) == pytest.approx(told["total_s"], abs=1e-5)
    assert 0 < told["to_flag_s"] < told["total_s"]
    covered = site.get("/api/triage/coverage?days=1")
    assert all(sum(model["states"].values()) == covered["studies"] > 0 for model in covered["models"])
    after = site.call("GET", "/metrics").body.decode()
    grown = [
        next(
            int(line.split()[1]) for line in text.splitlines() if line.startswith(f'roi_changes_total{{kind="{kind}"}}')
        )
        for kind in ("instance-stored", "study-triaged")
        for text in (before, after)
    ]
    assert grown[1] - grown[0] >= len(files)
    assert grown[3] > grown[2]
