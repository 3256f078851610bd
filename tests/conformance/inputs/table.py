"""What every model makes of every real file, as a table: ``python -m tests.conformance.inputs.table`` writes it anew.

Each file is a study of its own.  The chest X-rays, which come as PNG, are wrapped as the DX objects they might have
been, with the view and age of their table.  A changed row is to be looked at before it is committed: nothing unsuitable
may be scored.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from inference import child
from inference.triage import RunRequest
from models import registry, runtime
from models.contract import TriageModel
from models.reference.radiographs import read_image
from pacs_gateway.errors import GatewayError
from pacs_gateway.ingest import Ingest
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.catalog import studies
from storage.database import Database
from storage.records import InstanceRecord, JobId, Origin
from tests.builders import Clock, archive, part10, radiograph

TABLE = Path(__file__).parent / "outcomes.csv"
DATA = Path(__file__).parents[4] / "shared" / "data"


class Row(NamedTuple):
    """One file and one model: ``not kept``, ``no job``, or an outcome with its reason."""

    file: str
    model: str
    outcome: str
    reason: str


class File(NamedTuple):
    """A file below the folder, and what the manifest says of it where it is no DICOM."""

    name: str
    about: Mapping[str, str]


def rows_of(data: Path, *, processes: int = 2) -> list[Row]:
    """Run every model on every file of a folder of real data, in several processes."""
    files = [*_dicom_files(data), *_radiographs(data)]
    with tempfile.TemporaryDirectory() as folder:
        archive(Path(folder)).close()
        judge = partial(_rows_of_file, data=data, catalogue=Path(folder) / "catalogue.sqlite")
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            return [row for rows in pool.map(judge, files) for row in rows]


def read_table() -> list[Row]:
    """Read the reviewed table."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [Row(**row) for row in csv.DictReader(file)]


def _dicom_files(data: Path) -> list[File]:
    found = sorted(path for path in (data / "dicom").rglob("*") if path.is_file())
    return [File(path.relative_to(data).as_posix(), {}) for path in found]


def _radiographs(data: Path) -> list[File]:
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        about = {row["file"]: row for row in csv.DictReader(file)}
    found = sorted([*(data / "cxr").glob("*.png"), *(data / "covid_cxr").glob("*.png")])
    return [File(name, about[name]) for name in (path.relative_to(data).as_posix() for path in found)]


def _rows_of_file(file: File, *, data: Path, catalogue: Path) -> list[Row]:
    path = data / file.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of nearly every file here
        content = part10(_as_dx(path, file.about)) if path.suffix == ".png" else path.read_bytes()
        return list(_judged(file.name, content, catalogue))


@lru_cache(maxsize=1)
def _models() -> Mapping[str, TriageModel]:
    runtime.use_threads(1)
    return {card.id: registry.load(card, "cpu") for card in registry.cards()}


def _as_dx(path: Path, about: Mapping[str, str]) -> Dataset:
    pixels = (read_image(path).pixels * 4095).round().astype(np.uint16)
    view = about["view"] if about["view"] in {"PA", "AP"} else ""
    age = {"PatientAge": f"{int(float(about['age'])):03d}Y"} if about["age"] not in {"", "nan"} else {}
    return radiograph(pixels, ViewPosition=view, **age)


def _judged(name: str, content: bytes, catalogue: Path) -> Iterator[Row]:
    """Keep a file in an archive of its own, a copy of an empty one, and run every model on its study."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{shutil.copy(catalogue, folder)}"
        kept = Archive(objects=MemoryStore(), database=Database(url), spool_folder=Path(folder), clock=Clock())
        try:
            _, header = Ingest(kept).part10(io.BytesIO(content), Origin(via="import"))
        except GatewayError:
            yield from (Row(name, model, "not kept", "") for model in _models())
            return
        with kept.database.read() as tx:
            instances = tuple(studies.instances_of(tx, header.study_instance_uid))
        yield from (_outcome(name, model, instances, kept) for model in _models().values())


def _outcome(name: str, model: TriageModel, instances: tuple[InstanceRecord, ...], kept: Archive) -> Row:
    rules = model.card.input_rules
    if not any(rules.accepts(modality=one.modality, sop_class_uid=one.sop_class_uid) for one in instances):
        return Row(name, model.card.id, "no job", "")
    request = RunRequest(job=JobId("j"), model_id=model.card.id, instances=instances)
    answer = child._answer(request, {model.card.id: model}, kept.objects, {})
    if isinstance(answer, child.Failure):
        return Row(name, model.card.id, "FAILED", answer.reason)
    return Row(name, model.card.id, str(answer.outcome), answer.reason or "")


def main() -> None:
    """Write the table anew."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.inputs.table", description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    rows = rows_of(DATA, processes=asked.processes)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
