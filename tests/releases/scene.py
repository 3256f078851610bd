"""What a data folder of a release holds: a few tiny studies in every state that later releases must still understand.

Made from outside only, through the doors that every release has: C-STORE, STOW-RS, HTTP and the command line.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from models.reference.dicom import radiograph_study
from models.reference.identity import PHANTOM_UID_ROOT
from pacs_gateway import scu
from tests import builders
from tests.acceptance.site import Site
from tests.acceptance.studies import small_ct, write

CT_STUDY: Final = f"{PHANTOM_UID_ROOT}7.1"
"""By C-STORE; reopened once, with a copy in quarantine and an instance that names another patient."""
PEER: Final = ("WORKSTATION", "192.0.2.9", 104)
BY: Final = "BS. Lan"
VIETNAMESE: Final = "Nguyễn^Thị Ánh Đào"

_SIDE: Final = 160
_CT_TOLD: Final = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": VIETNAMESE}


def fill(site: Site, folder: Path, code: Path) -> str:
    """Bring everything that an archive with working models comes to; return the triaged radiograph's study."""
    ct = small_ct(1, **_CT_TOLD)
    site.send(write(ct[:3], folder / "first"))
    site.settled(CT_STUDY)
    other_patient = small_ct(1, slices=1, first=4, **{**_CT_TOLD, "PatientID": "SMALL-2"})
    site.send(write(other_patient, folder / "late"))
    site.settled(CT_STUDY, revision=2)
    _send_conflicting(site, folder / "conflict")
    study = _post_radiograph(site, 17)
    site.settled(study)
    change = {"kind": "manual", "priority": "URGENT", "by": BY}
    assert site.call("PUT", f"/api/studies/{CT_STUDY}/priority", body=change).status == 200
    aet, host, port = PEER
    command = [sys.executable, "-m", "roi.cli", "peers", "add", aet, host, "--port", str(port)]
    added = subprocess.run(  # in that release's folder, which Python then looks through first
        command, cwd=code, env=site.settings.as_environment(), capture_output=True, text=True, check=False
    )
    assert added.returncode == 0, added.stderr
    return study


def add_waiting(site: Site) -> str:
    """Bring a radiograph to an archive that can run no model; return its study once its job waits."""
    study = _post_radiograph(site, 18)
    site.wait(lambda: site.jobs_of(study) or None, "a waiting job")
    return study


def seen(site: Site) -> dict[str, Any]:
    """Return what the release itself answers of its data, for later releases to be held against."""
    rows = site.worklist()
    return {
        "worklist": rows,
        "results": {
            row["study_instance_uid"]: site.get(f"/api/studies/{row['study_instance_uid']}/results")["results"]
            for row in rows
        },
        "changes": site.changes(),
    }


def another_slice() -> bytes:
    """Return an instance of `CT_STUDY` that no release has seen, as a DICOM file."""
    (data_set,) = small_ct(1, slices=1, first=9, **_CT_TOLD)
    return builders.part10(data_set)


def conflicting_slice() -> Dataset:
    """Return the second slice of `CT_STUDY` with other pixels."""
    (data_set,) = small_ct(1, slices=1, first=2, value_hu=70.0, **_CT_TOLD)
    return data_set


def _send_conflicting(site: Site, folder: Path) -> None:
    (sent,) = write([conflicting_slice()], folder)
    report = scu.send([sent.path], "127.0.0.1", site.settings.dicom_port)
    assert report.sent == 0


def _post_radiograph(site: Site, seed: int) -> str:
    """Post a drawn chest, every pixel of `_SIDE` squared from the large drawing's own, so that a model knows it."""
    (data_set,) = radiograph_study(seed, findings=frozenset({"pneumothorax"}), patient_name=VIETNAMESE)
    image = np.frombuffer(data_set.PixelData, "<u2").reshape(data_set.Rows, data_set.Columns)
    step = data_set.Rows // _SIDE
    small = image[: step * _SIDE, : step * _SIDE].reshape(_SIDE, step, _SIDE, step).mean(axis=(1, 3))
    data_set.Rows = data_set.Columns = _SIDE
    data_set.PixelData = np.rint(small / 8).astype("<u2").tobytes()  # fewer shades, a smaller file
    data_set.RescaleSlope = "8"
    answer = site.post("/dicom-web/studies", builders.part10(data_set), "application/dicom")
    assert answer.status == 200, (answer.status, answer.body[:500])
    return str(data_set.StudyInstanceUID)
