"""Instances and frames in another transfer syntax: what changes, what stays, and what is refused.  W-2."""

from __future__ import annotations

import io
import threading
import tracemalloc
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
import openjpeg
import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.pixels.encoders.native import _encode_segment
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from api import ApiContext
from api.dicomweb.transcoded import transcoded
from imaging import Decode, FrameForm
from imaging.decoders import Decoders, Limits
from storage.adapters.directory import open_store
from storage.archive import Archive
from storage.catalog import studies
from storage.records import StudyUid
from tests import builders
from tests.unit.api import requests

STUDY = "/dicom-web/studies/2.25.1"
INSTANCE = f"{STUDY}/series/2.25.1.1/instances/2.25.1.1.1"
EXPLICIT, RLE, JPEG_LS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"
JPEG_2000, HTJ2K, RPCL = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"
BASELINE, PART_2 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.92"
COMPRESSED = {
    RLE: "image/dicom-rle",
    JPEG_LS: "image/jls",
    JPEG_2000: "image/jp2",
    HTJ2K: "image/jphc",
    RPCL: "image/jphc",
}
RANDOM = np.random.default_rng(11)
FRAMES = RANDOM.integers(0, 4096, (3, 20, 31)).astype(np.uint16)


def grey(frames: Any = FRAMES, **attributes: Any) -> Dataset:
    """A multi-frame CT; 12 bits where the frames are unsigned."""
    data_set = builders.ct_slice(**attributes)
    data_set.NumberOfFrames, data_set.Rows, data_set.Columns = frames.shape[:3]
    data_set.PixelRepresentation = int(frames.dtype.kind == "i")
    data_set.BitsAllocated = frames.itemsize * 8
    data_set.BitsStored = 12 if frames.itemsize == 2 else 8
    data_set.HighBit = data_set.BitsStored - 1
    data_set.PixelData = frames.tobytes()
    return data_set


def colour(photometric: str, frames: Any, planar: int = 0) -> Dataset:
    data_set = grey(frames, SamplesPerPixel=3, PhotometricInterpretation=photometric, PlanarConfiguration=planar)
    data_set.PixelData = (np.moveaxis(frames, -1, 1) if planar else frames).tobytes()
    return data_set


def encapsulated(data_set: Dataset, syntax: str, frames: list[bytes]) -> Dataset:
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    data_set.PixelData = encapsulate(frames)
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return data_set


def get(client: TestClient, syntax: str, path: str = INSTANCE, kind: str = "application/dicom") -> Any:
    return client.get(path, headers={"Accept": f"{kind}; transfer-syntax={syntax}"})


def given(client: TestClient, syntax: str) -> Dataset:
    answer = get(client, syntax)
    assert answer.status_code == 200, answer.text
    data_set = requests.read(answer.content)
    assert data_set.file_meta.TransferSyntaxUID == syntax
    return data_set


def second(syntax: str, frame: bytes, shape: tuple[int, ...], dtype: Any) -> Any:
    """A frame by a library that did not make it."""
    if syntax == RLE:
        decode = get_decoder(syntax)
        told = {"rows": shape[0], "columns": shape[1], "samples_per_pixel": shape[2] if len(shape) > 2 else 1}
        plain, _ = decode.as_array(
            encapsulate([frame]),
            raw=True,
            number_of_frames=1,
            photometric_interpretation="RGB" if len(shape) > 2 else "MONOCHROME2",
            bits_allocated=dtype.itemsize * 8,
            bits_stored=dtype.itemsize * 8,
            pixel_representation=int(dtype.kind == "i"),
            pixel_keyword="PixelData",
            planar_configuration=0,
            **told,
        )
        return plain.reshape(shape)
    if syntax == JPEG_LS:
        return jpeg_ls.decode(np.frombuffer(frame, np.uint8)).view(dtype).reshape(shape)
    return openjpeg.decode(frame).reshape(shape).astype(dtype)


GREYS = {
    "12 bits": FRAMES,
    "signed 12 bits": (FRAMES.astype(np.int16) - 2048),
    "overlays beside 12 bits": FRAMES | 0x8000,
    "signed, more than 12 bits": RANDOM.integers(-(2**15), 2**15, (2, 20, 31)).astype(np.int16),
    "8 bits": RANDOM.integers(0, 256, (2, 33, 17)).astype(np.uint8),
    "one pixel": np.array([[[4095]]], np.uint16),
    "long": RANDOM.integers(0, 4096, (1, 3, 4200)).astype(np.uint16),
}


@pytest.mark.parametrize("syntax", COMPRESSED)
@pytest.mark.parametrize("frames", GREYS.values(), ids=GREYS)
def test_every_bit_of_every_cell_comes_back_from_another_decoder(client: TestClient, syntax: str, frames: Any) -> None:
    requests.store(client, grey(frames))
    made = given(client, syntax)
    fragments = list(generate_frames(made.PixelData, number_of_frames=len(frames)))
    decoded = [second(syntax, fragment, frames.shape[1:], frames.dtype) for fragment in fragments]
    assert np.array_equal(np.stack(decoded), frames)


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_a_data_set_is_otherwise_the_one_that_is_kept(client: TestClient, syntax: str) -> None:
    original = grey()
    requests.store(client, original)
    made = given(client, syntax)
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID == original.SOPInstanceUID
    del made.PixelData
    kept = requests.read(builders.part10(original))
    del kept.PixelData
    assert made == kept


@pytest.mark.parametrize("syntax", COMPRESSED)
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("planar", [0, 1])
def test_colours_are_described_as_they_now_are(client: TestClient, syntax: str, photometric: str, planar: int) -> None:
    frames = RANDOM.integers(0, 256, (2, 20, 30, 3)).astype(np.uint8)
    requests.store(client, colour(photometric, frames, planar))
    made = given(client, syntax)
    transformed = photometric == "RGB" and syntax in {JPEG_2000, HTJ2K, RPCL}
    assert made.PhotometricInterpretation == ("YBR_RCT" if transformed else photometric)
    assert made.PlanarConfiguration == (planar if syntax == RLE else 0)
    for number, fragment in enumerate(generate_frames(made.PixelData, number_of_frames=2)):
        assert np.array_equal(second(syntax, fragment, (20, 30, 3), np.dtype(np.uint8)), frames[number])


def codestream(frame: bytes) -> dict[str, int]:
    """What a JPEG 2000 codestream says of its order, its transformation, its base and its precision."""
    siz, cod = frame.find(b"\xff\x51"), frame.find(b"\xff\x52")
    width, height = (int.from_bytes(frame[at : at + 4], "big") for at in (siz + 6, siz + 10))
    return {
        "order": frame[cod + 5],
        "transformed": frame[cod + 8],
        "base": -(-max(width, height) >> frame[cod + 9]),
        "bits": (frame[siz + 40] & 0x7F) + 1,
        "signed": frame[siz + 40] >> 7,
        "high throughput": int(b"\xff\x50" in frame[:200]),
        "lengths": int(b"\xff\x55" in frame[:200]),
    }


@pytest.mark.parametrize("frames", [FRAMES, FRAMES.astype(np.int16) - 2048, GREYS["long"]], ids=["", "signed", "long"])
def test_htj2k_is_in_rpcl_order_with_a_small_base_and_says_its_precision(client: TestClient, frames: Any) -> None:
    requests.store(client, grey(frames))  # PS3.5 10.18
    for syntax in (HTJ2K, RPCL):
        told = codestream(next(generate_frames(given(client, syntax).PixelData, number_of_frames=len(frames))))
        assert (told["order"], told["bits"], told["high throughput"], told["lengths"]) == (2, 12, 1, 1)
        assert (told["base"] <= 64, told["signed"]) == (True, int(frames.dtype.kind == "i"))


def jpeg(frame: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(frame, level=90))


def test_what_is_kept_compressed_comes_out_native_with_what_that_changes(client: TestClient) -> None:
    frames = RANDOM.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    data_set = colour("YBR_FULL_422", frames)
    requests.store(client, encapsulated(data_set, BASELINE, [jpeg(frame) for frame in frames]))
    made = given(client, EXPLICIT)
    assert (made.PhotometricInterpretation, made.LossyImageCompression) == ("RGB", "01")
    assert (made["PixelData"].VR, len(made.PixelData)) == ("OB", 2 * 16 * 16 * 3)
    expected = np.stack([imagecodecs.jpeg8_decode(jpeg(frame)) for frame in frames])
    assert np.abs(np.frombuffer(made.PixelData, np.uint8).astype(int) - expected.reshape(-1)).max() <= 1


def test_offset_tables_of_fragments_that_were_do_not_stay(client: TestClient) -> None:
    data_set = grey()
    encapsulated(data_set, JPEG_LS, [imagecodecs.jpegls_encode(frame) for frame in FRAMES])
    lengths = [len(one) + len(one) % 2 for one in map(imagecodecs.jpegls_encode, FRAMES)]
    starts = np.cumsum([0, *(length + 8 for length in lengths)])[:3]
    data_set.PixelData = encapsulate([imagecodecs.jpegls_encode(frame) for frame in FRAMES], has_bot=False)
    data_set.ExtendedOffsetTable = starts.astype("<u8").tobytes()
    data_set.ExtendedOffsetTableLengths = np.array(lengths, "<u8").tobytes()
    requests.store(client, data_set)
    for syntax in (EXPLICIT, HTJ2K):
        made = given(client, syntax)
        assert "ExtendedOffsetTable" not in made
        assert "ExtendedOffsetTableLengths" not in made
    assert given(client, EXPLICIT).PixelData == FRAMES.tobytes()


def test_frames_of_one_bit_are_closed_up(client: TestClient) -> None:
    bits = RANDOM.integers(0, 2, (3, 5, 7)).astype(np.uint8)
    data_set = grey(bits, BitsAllocated=1)
    data_set.BitsAllocated = data_set.BitsStored = 1
    data_set.HighBit = 0
    frames = [imagecodecs.jpeg2k_encode(one, level=0, codecformat="j2k", bitspersample=1) for one in bits]
    requests.store(client, encapsulated(data_set, JPEG_2000, frames))
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    assert given(client, EXPLICIT).PixelData == packed
    refused = get(client, HTJ2K)
    assert (refused.status_code, "pixels of 1 bits" in refused.json()["detail"]) == (406, True)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_any_encoding_of_a_data_set_can_be_compressed(client: TestClient, syntax: str) -> None:
    data_set = grey(DataSetTrailingPadding=bytes(6))
    data_set.VOILUTSequence = Sequence([Dataset()])
    expected = requests.read(builders.part10(data_set))
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    if syntax == ExplicitVRBigEndian:
        data_set.PixelData = FRAMES.byteswap().tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert requests.store(client, data_set).status_code == 200
    made = given(client, HTJ2K)
    frames = generate_frames(made.PixelData, number_of_frames=3)
    assert np.array_equal(np.stack([openjpeg.decode(frame) for frame in frames]), FRAMES)
    del made.PixelData, expected.PixelData
    assert made == expected
    assert given(client, EXPLICIT).PixelData == FRAMES.tobytes()


# ----------------------------------------------------------------------------------------------------- refusals
def icon(data_set: Dataset) -> Dataset:
    inner = Dataset()
    inner.Rows = inner.Columns = 2
    inner.PixelData = encapsulate([jpeg(np.zeros((8, 8), np.uint8))])
    inner["PixelData"].VR = "OB"
    inner["PixelData"].is_undefined_length = True
    data_set.IconImageSequence = Sequence([inner])
    return data_set


LOSSLESS = [imagecodecs.jpegls_encode(frame) for frame in FRAMES]
REFUSED: dict[str, tuple[Dataset, str, str]] = {
    "not made here": (grey(), PART_2, "not made here"),
    "not decoded": (encapsulated(grey(), PART_2, [b"opaque"] * 3), EXPLICIT, "JPEG 2000 part 2"),
    "an icon": (icon(encapsulated(grey(), JPEG_LS, LOSSLESS)), EXPLICIT, "within its sequences"),
    "32 bits": (grey(FRAMES.astype(np.uint32)), HTJ2K, "pixels of 32 bits"),
    "a colour model": (grey(PhotometricInterpretation="CMYK"), HTJ2K, "colour model"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_is_406_with_the_reason_and_with_what_can(client: TestClient, case: str) -> None:
    data_set, syntax, reason = REFUSED[case]
    requests.store(client, data_set)
    refused = get(client, syntax)
    assert (refused.status_code, reason in refused.json()["detail"]) == (406, True)
    assert str(data_set.file_meta.TransferSyntaxUID) in refused.json()["detail"]
    assert get(client, "*").status_code == 200


def test_a_frame_that_does_not_decode_is_406_before_anything_is_sent(client: TestClient) -> None:
    requests.store(client, encapsulated(grey(), JPEG_LS, [LOSSLESS[0], b"garbage!", LOSSLESS[2]]))
    assert [get(client, syntax).status_code for syntax in (EXPLICIT, HTJ2K, "*")] == [406, 406, 200]


def test_a_rotten_object_is_never_given_whole(client: TestClient, archive: Archive) -> None:
    requests.store(client, grey())
    (key,) = archive.objects.keys()
    content = archive.objects._objects[key]  # type: ignore[attr-defined]
    archive.objects._objects[key] = content[:-1] + bytes([content[-1] ^ 1])  # type: ignore[attr-defined]
    assert get(client, HTJ2K).status_code == 500


def test_one_who_waits_for_a_place_gets_one() -> None:
    full = Decoders(Limits(processes=1, waiting=0, wait_s=30.0))
    full._places.acquire()
    form = FrameForm(codec="native", rows=1, columns=1, bits_allocated=8, bits_stored=8, high_bit=7)
    timer = threading.Timer(0.2, full._places.release)
    timer.start()
    try:
        assert full.run(Decode(form=form, frame=b"\1"), patient=True) == b"\1"
    finally:
        timer.join()
        full.close()


# ----------------------------------------------------------------------------------------------------- negotiation
def test_instances_of_a_study_are_each_given_in_the_most_wanted_form_that_they_can_have(client: TestClient) -> None:
    report = builders.ct_slice(2)
    del report.PixelData, report.Rows
    requests.store(client, grey(), report)
    kind = 'multipart/related; type="application/dicom"'
    assert get(client, HTJ2K, STUDY, kind).status_code == 406
    both = f"{kind}; transfer-syntax={HTJ2K}, {kind}; transfer-syntax={EXPLICIT};q=0.5"
    for path in (STUDY, f"{STUDY}/series/2.25.1.1"):
        answer = client.get(path, headers={"Accept": both})
        syntaxes = [requests.read(part).file_meta.TransferSyntaxUID for part in requests.parts(answer)]
        assert syntaxes == [HTJ2K, EXPLICIT]
        assert f"transfer-syntax={HTJ2K}\r\n".encode() in answer.content


def test_a_zip_file_holds_transcoded_instances_too(client: TestClient) -> None:
    requests.store(client, grey())
    with zipfile.ZipFile(io.BytesIO(get(client, RLE, STUDY, "application/zip").content)) as file:
        assert requests.read(file.read(file.namelist()[0])).file_meta.TransferSyntaxUID == RLE


def test_wado_uri_transcodes_the_same(client: TestClient) -> None:
    requests.store(client, grey())
    names = "requestType=WADO&studyUID=2.25.1&seriesUID=2.25.1.1&objectUID=2.25.1.1.1&contentType=application/dicom"
    answer = client.get(f"/dicom-web/wado?{names}&transferSyntax={HTJ2K}")
    assert answer.content == get(client, HTJ2K).content
    assert client.get(f"/dicom-web/wado?{names}&transferSyntax={BASELINE}").status_code == 406


def test_the_same_request_is_the_same_bytes_and_304_when_they_are_held(client: TestClient) -> None:
    requests.store(client, grey())
    first, again, other = get(client, HTJ2K), get(client, HTJ2K), get(client, JPEG_2000)
    assert first.content == again.content
    assert first.headers["etag"] == again.headers["etag"] != other.headers["etag"]
    held = client.get(
        INSTANCE,
        headers={"Accept": f"application/dicom; transfer-syntax={HTJ2K}", "If-None-Match": first.headers["etag"]},
    )
    assert (held.status_code, held.content) == (304, b"")


@pytest.mark.parametrize("syntax", COMPRESSED)
@pytest.mark.parametrize("form", ["native", "compressed"])
def test_frames_are_compressed_anew_where_that_is_asked_for(client: TestClient, syntax: str, form: str) -> None:
    data_set = grey()
    if form == "compressed":
        kept, encode = (JPEG_LS, imagecodecs.jpegls_encode) if syntax == RLE else (RLE, rle)
        encapsulated(data_set, kept, [encode(frame) for frame in FRAMES])
    requests.store(client, data_set)
    kind = COMPRESSED[syntax]
    for accept in (
        f'multipart/related; type="{kind}"; transfer-syntax={syntax}',
        f"multipart/related; type=application/octet-stream; transfer-syntax={syntax}",
        f"*/*; transfer-syntax={syntax}",
        *([f'multipart/related; type="{kind}"'] if syntax != RPCL else []),
    ):
        answer = client.get(f"{INSTANCE}/frames/3,1", headers={"Accept": accept})
        assert answer.status_code == 200, answer.text
        assert f"Content-Type: {kind}; transfer-syntax={syntax}\r\n".encode() in answer.content
        decoded = [second(syntax, part, (20, 31), FRAMES.dtype) for part in requests.parts(answer)]
        assert np.array_equal(np.stack(decoded), FRAMES[[2, 0]])
    alone = client.get(f"{INSTANCE}/frames/2", headers={"Accept": f"{kind}; transfer-syntax={syntax}"})
    assert (alone.status_code, alone.headers["content-type"]) == (200, kind)
    assert np.array_equal(second(syntax, alone.content, (20, 31), FRAMES.dtype), FRAMES[1])


def rle(frame: Any) -> bytes:
    planes = [frame.astype(">u2").view(np.uint8).reshape(20, 31, 2)[..., byte] for byte in (0, 1)]
    segments = [bytes(_encode_segment(np.ascontiguousarray(plane).tobytes(), 31)) for plane in planes]
    offsets = [64, 64 + len(segments[0])]
    header = (2).to_bytes(4, "little") + b"".join(one.to_bytes(4, "little") for one in [*offsets, *[0] * 13])
    return header + b"".join(segments)


def test_pixel_data_is_compressed_frame_by_frame(client: TestClient) -> None:
    requests.store(client, grey())
    answer = client.get(f"{INSTANCE}/pixeldata", headers={"Accept": 'multipart/related; type="image/jphc"'})
    assert np.array_equal(np.stack([openjpeg.decode(part) for part in requests.parts(answer)]), FRAMES)
    assert client.get(f"{INSTANCE}/pixeldata", headers={"Accept": "image/jphc"}).status_code == 406


def test_frames_that_cannot_be_compressed_are_406(client: TestClient) -> None:
    requests.store(client, grey(FRAMES.astype(np.uint32)))
    refused = client.get(f"{INSTANCE}/frames/1", headers={"Accept": "image/jphc"})
    assert (refused.status_code, "image/jphc" in refused.json()["detail"]) == (406, False)
    lossy = client.get(f"{INSTANCE}/frames/1", headers={"Accept": "image/jpeg"})
    assert lossy.status_code == 406


def test_what_is_searched_and_told_names_the_transfer_syntax_that_it_leaves_in(client: TestClient) -> None:  # W-33
    data_set = grey()
    data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    requests.store(client, data_set)
    (found,) = client.get("/dicom-web/instances").json()
    (told,) = client.get(f"{INSTANCE}/metadata").json()
    assert found["00083002"]["Value"] == told["00083002"]["Value"] == [EXPLICIT]


def test_few_frames_are_held_at_a_time(tmp_path: Path, context: ApiContext) -> None:
    database = context.archive.database
    archive = Archive(objects=open_store(f"dir://{tmp_path / 'objects'}"), database=database, spool_folder=tmp_path)
    frames = RANDOM.integers(0, 4096, (128, 256, 512)).astype(np.uint16)
    builders.keep_data_set(archive, grey(frames))
    with database.read() as tx:
        (one,) = studies.instances_of(tx, StudyUid("2.25.1"))
    here = replace(context, archive=archive)
    for syntax in (HTJ2K, RLE):
        tracemalloc.start()
        length = sum(map(len, transcoded(here, one, syntax)))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (length > frames.nbytes // 4, peak < frames.nbytes // 4) == (True, True)
