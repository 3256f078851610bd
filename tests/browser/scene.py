"""A reading list with every kind of row, as modalities, models and people would have made it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from api import ApiContext, WebServer, create_app
from inference import feedback, priority, progressive, reading
from models.contract import ModelCard
from pacs_gateway.ingest import Ingest
from storage.archive import Archive
from storage.catalog import changes, jobs, results, studies
from storage.catalog.jobs import ModelRef
from storage.records import (
    Finding,
    Header,
    InstanceUid,
    JobState,
    OrderPriority,
    Outcome,
    ReaderVerdict,
    SeriesUid,
    StudyUid,
    TriageResult,
)
from tests import builders
from web.viewer import Shelf

LABEL_VI = "Mô hình tham chiếu huấn luyện trên ảnh mô phỏng máy tính. Không dùng cho lâm sàng."
LABEL_EN = "Reference model trained on computer-drawn phantoms. Not for clinical use."

HEAD = replace(
    builders.card("head-ct-haemorrhage"), title="Head CT phantom haemorrhage", label_vi=LABEL_VI, label_en=LABEL_EN
)
CHEST = replace(
    builders.card("chest-radiograph", kind="radiograph"), title="Chest phantom", label_vi=LABEL_VI, label_en=LABEL_EN
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One study as its images tell it."""

    number: int
    name: str
    age_years: int
    sex: str
    description: str
    modality: str = "CT"
    images: int = 3
    minutes_ago: int = 10
    order: str | None = None

    @property
    def uid(self) -> StudyUid:
        return StudyUid(f"2.25.7.{self.number}")


class Scene:
    """Fills an archive as time goes by."""

    def __init__(self, archive: Archive, clock: builders.Clock) -> None:
        self.archive = archive
        self.clock = clock
        self.end = clock.now

    def arrive(self, told: Told) -> StudyUid:
        """Let the images of a study arrive."""
        self.clock.now = self.end - timedelta(minutes=told.minutes_ago)
        for image in range(1, told.images + 1):
            builders.keep(self.archive, _header(told, image))
        return told.uid

    def complete(self, told: Told, card: ModelCard | None = None) -> StudyUid:
        """Let a study arrive whole, with a job where a model takes it."""
        uid = self.arrive(told)
        now = self.clock.go(8)
        with self.archive.database.write() as tx:
            studies.complete(tx, studies.get(tx, uid), reason="association released", now=now)
            priority.refresh(tx, uid, now=now, cause="complete")
            if card is not None:
                model = ModelRef(id=card.id, version=card.version, digest=card.digest)
                due = studies.get(tx, uid).due_at
                assert due is not None
                jobs.create(tx, uid, studies.get(tx, uid).revision, [model], due_at=due, now=now)
        return uid

    def judge(self, told: Told, card: ModelCard, result: TriageResult) -> StudyUid:
        """Let a study arrive whole and a model end with `result`."""
        uid = self.complete(told, card)
        now = self.clock.go(4)
        with self.archive.database.write() as tx:
            job = jobs.claim(tx, owner="scene", lease=timedelta(minutes=1), now=now)
            assert job is not None
            assert job.study_instance_uid == uid
            results.add(tx, job, result, now=now)
            failed = result.outcome is Outcome.FAILED
            state = JobState.FAILED if failed else JobState.DONE
            jobs.end(tx, job.id, owner="scene", state=state, reason=result.reason, now=now)
            studies.settle(tx, uid, now=now)
            priority.refresh(tx, uid, now=now, cause="result")
        return uid

    def flag_early(self, told: Told, card: ModelCard, result: TriageResult) -> StudyUid:
        """Let a model flag what has come of a study that is still arriving."""
        uid = self.arrive(told)
        now = self.clock.go(2)
        with self.archive.database.write() as tx:
            model = ModelRef(id=card.id, version=card.version, digest=card.digest)
            jobs.create(tx, uid, 1, [model], due_at=now, now=now, provisional=told.images)
            job = jobs.claim(tx, owner="scene", lease=timedelta(minutes=1), now=now)
            assert job is not None
            assert progressive.commit(tx, job, result, owner="scene", state=JobState.DONE, now=now)
        return uid

    def set_manual(self, uid: StudyUid, wanted: OrderPriority, by: str) -> None:
        """Let a person set a priority."""
        with self.archive.database.write() as tx:
            studies.set_manual_priority(tx, uid, wanted, by=by)
            priority.refresh(tx, uid, now=self.clock.now, cause="manual")
            changes.append(tx, "priority-changed", at=self.clock.now, study=uid)

    def open(self, uid: StudyUid, *, by: str) -> None:
        """Let a reader open a study."""
        with self.archive.database.write() as tx:
            reading.open_study(tx, uid, by=by, now=self.clock.now)

    def read(self, uid: StudyUid, *, by: str) -> None:
        """Let a reader say that a study is read."""
        with self.archive.database.write() as tx:
            reading.report(tx, uid, by=by, now=self.clock.now)

    def agree(self, uid: StudyUid, *, by: str) -> None:
        """Let a reader agree with the first finding of a study."""
        with self.archive.database.write() as tx:
            (record,) = results.of_studies(tx, [uid])[uid]
            code = record.result.findings[0].code
            feedback.say(tx, record.id, code, ReaderVerdict.AGREE, by=by, now=self.clock.now)


def _header(told: Told, image: int) -> Header:
    year = builders.START.year - told.age_years
    return builders.header(
        image,
        sop_instance_uid=InstanceUid(f"{told.uid}.1.{image}"),
        series_instance_uid=SeriesUid(f"{told.uid}.1"),
        study_instance_uid=told.uid,
        patient_id=f"BN{told.number:06}",
        patient_name=told.name,
        patient_birth_date=f"{year}0114",
        patient_sex=told.sex,
        study_description=told.description,
        accession_number=f"A{told.number:05}",
        modality=told.modality,
        requested_procedure_priority=told.order,
    )


def finding(code: str, name_vi: str, name_en: str, score: float, urgency: str = "critical") -> Finding:
    """A finding judged at a threshold of 0.5."""
    return Finding(
        code=code,
        name_en=name_en,
        name_vi=name_vi,
        score=score,
        threshold=0.5,
        operating_point="balanced",
        positive=score >= 0.5,
        urgency=urgency,
    )


def _haemorrhage(score: float) -> Finding:
    return finding("haemorrhage", "Tăng tỷ trọng mô phỏng (sọ não)", "Phantom hyperdensity (head)", score)


def _flagged(*found: Finding, raises: bool = True) -> TriageResult:
    urgency = next((one.urgency for one in found if one.positive), None)
    outcome = Outcome.FLAGGED if urgency else Outcome.NOT_FLAGGED
    return TriageResult(outcome=outcome, findings=found, urgency=urgency, raises=raises)


SCRIPT_NAME = "<script>document.body.remove()</script>^<b>Lê</b>"


def fill(scene: Scene) -> None:
    """Make one row of each kind; the newest facts are those of `builders.START`."""
    chest = {"modality": "DX", "images": 1}
    scene.judge(
        Told(
            number=1,
            name="Nguyễn^Thị Minh Khai",
            age_years=71,
            sex="F",
            description="CLVT sọ não không tiêm",
            images=32,
            minutes_ago=9,
        ),
        HEAD,
        _flagged(_haemorrhage(0.97)),
    )
    scene.judge(
        Told(
            number=2,
            name="Đặng^Văn Đức",
            age_years=34,
            sex="M",
            description="X-quang ngực thẳng (sau–trước)",
            minutes_ago=25,
            **chest,
        ),
        CHEST,
        _flagged(
            finding("pneumothorax", "Tràn khí mô phỏng", "Phantom pneumothorax", 0.81, "urgent"),
            finding("effusion", "Tràn dịch mô phỏng", "Phantom effusion", 0.07, "urgent"),
            finding("opacity", "Mờ phổi mô phỏng", "Phantom opacity", 0.22, "urgent"),
        ),
    )
    scene.complete(
        Told(
            number=3,
            name="Huỳnh^Ngọc Ánh",
            age_years=58,
            sex="F",
            description="CLVT sọ não",
            images=28,
            minutes_ago=12,
            order="STAT",
        ),
        HEAD,
    )
    with scene.archive.database.write() as tx:  # taken by a worker which has not answered yet
        jobs.claim(tx, owner="worker", lease=timedelta(hours=1), now=scene.clock.now)
    scene.judge(
        Told(
            number=4, name="Hoàng^Thúy Hòa", age_years=45, sex="F", description="CLVT sọ não", images=30, minutes_ago=70
        ),
        HEAD,
        TriageResult(outcome=Outcome.FAILED, reason="timeout", detail="no answer in 60 s"),
    )
    scene.judge(
        Told(number=5, name="Y Blô Niê", age_years=3, sex="M", description="CLVT sọ não", images=5, minutes_ago=90),
        HEAD,
        TriageResult(outcome=Outcome.NOT_SUITABLE, reason="too_few_slices", detail="5 slices, 12 needed"),
    )
    scene.judge(
        Told(
            number=6,
            name="Tôn Nữ^Thị Ninh",
            age_years=66,
            sex="F",
            description="X-quang ngực thẳng",
            minutes_ago=130,
            **chest,
        ),
        CHEST,
        _flagged(finding("effusion", "Tràn dịch mô phỏng", "Phantom effusion", 0.93, "urgent"), raises=False),
    )
    scene.judge(
        Told(
            number=7, name="Lê^Thị Ỷ", age_years=29, sex="F", description="X-quang ngực thẳng", minutes_ago=200, **chest
        ),
        CHEST,
        _flagged(
            finding("pneumothorax", "Tràn khí mô phỏng", "Phantom pneumothorax", 0.03, "urgent"),
            finding("effusion", "Tràn dịch mô phỏng", "Phantom effusion", 0.02, "urgent"),
        ),
    )
    conflicting = Told(
        number=8,
        name="H'Hen Niê",
        age_years=31,
        sex="F",
        description="CHT gối",
        modality="MR",
        images=24,
        minutes_ago=45,
    )
    scene.complete(conflicting)
    builders.keep(scene.archive, replace(_header(conflicting, 25), patient_id="BN999999", patient_name="Trần^Văn Bình"))
    scene.arrive(
        Told(
            number=9,
            name=SCRIPT_NAME,
            age_years=50,
            sex="O",
            description="<img src=x onerror=alert(1)>",
            images=2,
            minutes_ago=1,
        )
    )
    scene.complete(
        Told(
            number=10,
            name="Phạm^Quốc Bảo",
            age_years=52,
            sex="M",
            description="CLVT sọ não",
            images=29,
            minutes_ago=30,
            order="HIGH",
        ),
        HEAD,
    )
    manual = Told(
        number=11,
        name="Trần^Gia Huy",
        age_years=8,
        sex="M",
        description="CLVT sọ não sau ngã",
        images=26,
        minutes_ago=4,
    )
    scene.set_manual(scene.complete(manual, HEAD), OrderPriority.STAT, "BS. Lan")
    read = Told(number=12, name="Bùi^Thị Xuân", age_years=47, sex="F", description="CLVT bụng", minutes_ago=240)
    scene.read(scene.complete(read), by="BS. Lan")
    scene.clock.now = scene.end
    scene.open(StudyUid("2.25.7.2"), by="BS. Huy")
    scene.agree(StudyUid("2.25.7.2"), by="BS. Huy")


@contextmanager
def served(folder: Path, *, fill_it: bool = True, viewers: Shelf | None = None) -> Iterator[str]:
    """Serve the scene on a free loopback port; yield its address."""
    clock = builders.Clock()
    archive = builders.archive(folder, clock)
    if fill_it:
        fill(Scene(archive, clock))
    context = ApiContext(
        archive=archive,
        ingest=Ingest(archive),
        public_base_url="http://127.0.0.1",
        cards=(HEAD, CHEST),
        pings={"catalogue": archive.database.ping},
        clock=clock,
        server_version="0.1",
        viewers=viewers or Shelf(None),
    )
    server = WebServer(create_app(context), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        thread.join()
        archive.close()


def browser_program() -> str:
    """The Chromium of this machine, or a loud skip."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium: apt-get install chromium")
    return program
