"""Frames of real files in every transfer syntax: exact where that is lossless, within 1 of another decoder else."""

from __future__ import annotations

import io
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from api import ApiContext, create_app
from imaging import Decoders
from pacs_gateway.ingest import Ingest
from tests import builders
from tests.conformance.dicomweb.test_corpus import REFUSED, names
from tests.unit.api.requests import parts

BASE = "http://127.0.0.1"
OHIF = "multipart/related; type=application/octet-stream; transfer-syntax=*"
TWIN = "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm"
LOSSLESS = ("1.2.1.99.dcm", "1.2.4.80.dcm", "1.2.4.57.dcm", "1.2.4.70.dcm", "1.2.5.dcm")

PLAIN = {f"1.2.840.10008.1.2{rest}" for rest in ("", ".1", ".2", ".1.99")}


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders()
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, decoders: Decoders) -> Iterator[TestClient]:
    archive = builders.archive(tmp_path_factory.mktemp("frames"))
    context = ApiContext(archive=archive, ingest=Ingest(archive), public_base_url=BASE, decoders=decoders)
    with TestClient(create_app(context), base_url=BASE) as made:
        yield made
    archive.close()


def kept(client: TestClient, path: Path) -> str:
    """Store a file under a UID of its own, as many of these share theirs; return its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path, force=True)
        uid = f"2.25.{int.from_bytes(path.name.encode(), 'big') % 10**30}"
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = uid
        file = io.BytesIO()
        if data_set.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.8.1":  # pydicom does not write it
            file.write(path.read_bytes())
        else:
            data_set.save_as(file)
    answer = client.post("/dicom-web/studies", content=file.getvalue(), headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200
    url: str = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    return url.removeprefix(BASE)


def told(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)


def samples(data_set: Dataset, frame: bytes) -> npt.NDArray[Any]:
    """A native frame as an array, by its attributes."""
    if data_set.BitsAllocated == 1:
        bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
        return bits[: data_set.Rows * data_set.Columns].reshape(data_set.Rows, data_set.Columns).astype(int)
    kind = "i" if data_set.get("PixelRepresentation") else "u"
    values = np.frombuffer(frame, f"<{kind}{data_set.BitsAllocated // 8}").astype(int)
    if data_set.SamplesPerPixel == 1:
        return values.reshape(data_set.Rows, data_set.Columns)
    if data_set.get("PlanarConfiguration") == 1:
        return np.moveaxis(values.reshape(3, data_set.Rows, data_set.Columns), 0, -1)
    return values.reshape(data_set.Rows, data_set.Columns, 3)


def foreign(data_set: Dataset) -> npt.NDArray[Any] | None:
    """The first frame as pydicom's own decoders see it, None where it has none for it."""
    from pydicom.pixels import get_decoder

    syntax = data_set.file_meta.TransferSyntaxUID
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Raw: no colour conversion but that of the codec.
            frame, _ = get_decoder(syntax).as_array(data_set, index=0, raw=syntax == "1.2.840.10008.1.2.5")
    except (RuntimeError, NotImplementedError, ValueError):  # no decoder, or a syntax it has not heard of
        return None
    return np.asarray(frame).astype(int)


FILES = [
    f"{folder}/{name}"
    for folder in ("transfer_syntax", "modality", "derived")
    for name in names(folder)
    if name not in REFUSED
]
BROKEN = [f"{folder}/{name}" for folder in ("bad", "fuzz") for name in names(folder)]


@pytest.mark.parametrize("path", FILES)
def test_the_first_frame_is_what_another_decoder_sees(client: TestClient, shared_data: Path, path: str) -> None:
    file = shared_data / "dicom" / path
    data_set = told(file)
    if "PixelData" not in data_set or "BitsStored" not in data_set or "TransferSyntaxUID" not in data_set.file_meta:
        return
    syntax = data_set.file_meta.TransferSyntaxUID
    if data_set.PhotometricInterpretation.startswith("YBR") and syntax in PLAIN:
        return  # pydicom converts these; what goes out is what is stored
    url = kept(client, file)
    answer = client.get(f"{url}/frames/1", headers={"Accept": "application/octet-stream"})
    assert answer.status_code == 200, answer.text
    expected = foreign(data_set)
    if expected is None:
        return
    frame = samples(data_set, answer.content)
    assert np.abs(frame - expected.reshape(frame.shape)).max() <= 1
    if "Lossless" in str(syntax.name) or syntax in PLAIN:
        assert np.array_equal(frame, expected.reshape(frame.shape))


@pytest.mark.parametrize("name", [name for name in names("transfer_syntax") if name.endswith(LOSSLESS)])
def test_lossless_frames_are_exactly_their_uncompressed_twin(client: TestClient, shared_data: Path, name: str) -> None:
    folder = shared_data / "dicom" / "transfer_syntax"
    if not name.startswith("CTImage"):
        return
    (frame,) = parts(client.get(f"{kept(client, folder / name)}/frames/1"))
    assert frame == told(folder / TWIN).PixelData


@pytest.mark.parametrize("path", FILES)
def test_stored_frames_are_those_in_the_file_and_every_image_has_a_picture(
    client: TestClient, shared_data: Path, path: str
) -> None:
    file = shared_data / "dicom" / path
    data_set = told(file)
    if "PixelData" not in data_set or "TransferSyntaxUID" not in data_set.file_meta:
        return
    url = kept(client, file)
    count = int(data_set.get("NumberOfFrames") or 1)
    answer = client.get(f"{url}/frames/{count}", headers={"Accept": OHIF})
    assert answer.status_code == 200
    if data_set.file_meta.TransferSyntaxUID not in PLAIN:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = list(generate_frames(data_set.PixelData, number_of_frames=count))
        assert parts(answer) == [expected[-1]]
    for picture in (f"frames/{count}/rendered", "thumbnail"):
        assert client.get(f"{url}/{picture}").status_code == 200


@pytest.mark.parametrize("path", BROKEN)
def test_a_broken_file_has_frames_and_pictures_or_a_reason(client: TestClient, shared_data: Path, path: str) -> None:
    sent = (shared_data / "dicom" / path).read_bytes()
    answer = client.post("/dicom-web/studies", content=sent, headers={"Content-Type": "application/dicom"})
    if answer.status_code == 200:
        url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0].removeprefix(BASE)
        for resource in ("frames/1", "pixeldata", "rendered", "thumbnail"):
            given = client.get(f"{url}/{resource}")
            assert given.status_code in {200, 404, 406}
            assert given.status_code == 200 or given.json()["detail"]
    assert client.get("/health/live").status_code == 200


@pytest.mark.servers
@pytest.mark.parametrize("name", [name for name in names("transfer_syntax") if "JPEG" in name or "JPG" in name])
def test_jpeg_frames_are_within_one_of_dcmtk(client: TestClient, shared_data: Path, tmp_path: Path, name: str) -> None:
    file = shared_data / "dicom" / "transfer_syntax" / name
    data_set = told(file)
    if name in REFUSED or data_set.SamplesPerPixel != 1:
        return
    program = "dcmdjpls" if "JPEG-LS" in data_set.file_meta.TransferSyntaxUID.name else "dcmdjpeg"
    if "2000" in data_set.file_meta.TransferSyntaxUID.name:
        return
    subprocess.run([program, file, tmp_path / "plain.dcm"], check=True, capture_output=True)
    (frame,) = parts(client.get(f"{kept(client, file)}/frames/1"))
    expected = samples(data_set, told(tmp_path / "plain.dcm").PixelData[: len(frame)])
    assert np.abs(samples(data_set, frame) - expected).max() <= 1
