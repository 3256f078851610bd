"""Result objects before validators that others wrote: dicom3tools' dciodvfy, over modalities, names and geometries."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from models.reference.dicom import head_ct_study, radiograph_study
from storage.records import Outcome

pytest.importorskip("highdicom", reason="result objects need the extra `ai`")

from inference.reports import ko, sc, seg, sr
from inference.reports.told import Told, as_part10
from tests.servers.process import find_program
from tests.unit.inference.test_reports import told_of

pytestmark = pytest.mark.servers

NAMES = {
    "vietnamese": "Nguyễn^Thị Đào",
    "decomposed": "Nguye\u0302\u0303n^Thi\u0323 A\u0301nh",
    "japanese": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "korean": "Hong^Gildong=洪^吉洞=홍^길동",
    "empty": "",
}
STUDIES = {
    "head": lambda name: (head_ct_study(1, haemorrhage=True, patient_name=name)[:5], "head-ct-haemorrhage"),
    "tilted head": lambda name: (
        head_ct_study(4, haemorrhage=True, patient_name=name, tilt_deg=15.0)[:5],
        "head-ct-haemorrhage",
    ),
    "radiograph": lambda name: (
        radiograph_study(3, findings=frozenset({"effusion"}), patient_name=name),
        "chest-radiograph",
    ),
    "inverted radiograph": lambda name: (
        radiograph_study(5, findings=frozenset({"opacity"}), patient_name=name, photometric="MONOCHROME1"),
        "chest-radiograph",
    ),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("study", STUDIES)
def test_dciodvfy_finds_no_error_in_any_object(study, name, tmp_path):
    """T-20."""
    if find_program("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    images, model = STUDIES[study](NAMES[name])
    made = {}
    for outcome, reason in ((Outcome.FLAGGED, None), (Outcome.NOT_FLAGGED, None), (Outcome.NOT_SUITABLE, "contrast")):
        told = told_of(images, model=model, outcome=outcome, reason=reason, key=len(images) // 2)
        mask = np.zeros((len(images), images[0].Rows, images[0].Columns), dtype=bool)
        mask[:, 8:30, 9:40] = True
        masked = Told(
            result=told.result,
            card=told.card,
            images=images,
            pictures=told.pictures,
            masks={spec.code: mask for spec in told.card.findings},
        )
        for form in (sr, ko, sc, seg):
            if (dataset := form.build(masked)) is not None:
                made[f"{outcome}-{form.FORM}"] = as_part10(dataset)
    assert len(made) == 6
    for label, content in made.items():
        path = tmp_path / f"{label}.dcm"
        path.write_bytes(content)
        said = subprocess.run(
            ["dciodvfy", "-new", str(path)], capture_output=True, text=True, timeout=60, check=False
        ).stderr
        assert [line for line in said.splitlines() if line.startswith("Error")] == [], label
