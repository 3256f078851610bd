"""The page of transfer syntaxes row by row: files of known samples, made by encoders that are not ours."""

from __future__ import annotations

import io
import re
import subprocess
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
import openjpeg
import pydicom
import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from imaging.syntaxes import SYNTAXES, syntax_of
from imaging.targets import TARGETS
from pacs_gateway.sop_classes import REFUSED_TRANSFER_SYNTAXES
from tests import builders
from tests.conformance.dicomweb.test_frames import FILES, OHIF, PLAIN, client, decoders, kept, told
from tests.unit.api.requests import parts, store

__all__ = ["client", "decoders"]  # fixtures

PAGE = (Path(__file__).parents[3] / "docs" / "conformance" / "transfer_syntaxes.md").read_text(encoding="utf-8")
ROOT = "1.2.840.10008.1.2"
OCTETS = {"Accept": "multipart/related; type=application/octet-stream"}

CHECKLIST = (
    *("", ".1", ".2", ".1.99", ".1.98", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81"),
    *(".4.90", ".4.91", ".4.92", ".4.93", ".4.201", ".4.202", ".4.203", ".4.94", ".4.95", ".4.204", ".4.205"),
    *(".4.110", ".4.111", ".4.112", ".5", ".8.1", ".4.107", ".4.108", ".7.1", ".7.2", ".7.3"),
    *(f".4.{number}{more}" for number in range(100, 107) for more in ("", ".1")),
)
"""Every transfer syntax that the archive is asked to know, its root left out."""


def _rows() -> dict[str, tuple[str, str]]:
    """UID -> what becomes of its frames, and why: the page's table, its ranges written out."""
    found: dict[str, tuple[str, str]] = {}
    for uids, _, frames, why in re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE):
        for uid in _named(uids):
            found[ROOT + uid] = (frames, why)
    return found


def _named(uids: str) -> list[str]:
    named = [""] if uids == "none" else []
    for first, last in re.findall(r"`([.\d]+)`(?:–`([.\d]+)`)?", uids.replace(", each also with `.1`", "")):
        head, _, start = first.rpartition(".")
        numbers = range(int(start), int((last or first).rpartition(".")[2]) + 1)
        named += [f"{head}.{number}" for number in numbers]
        named += [f"{head}.{number}.1" for number in numbers if "each also" in uids]
    return named


ROWS = _rows()
OPAQUE = sorted(uid for uid, (frames, _) in ROWS.items() if frames == "406")
ELSEWHERE = sorted(uid for uid, (frames, _) in ROWS.items() if frames == "404")


def test_the_page_has_every_transfer_syntax_and_says_what_the_code_does() -> None:
    assert {ROOT + uid for uid in CHECKLIST} <= set(ROWS)
    assert {uid for uid in SYNTAXES if uid.startswith(ROOT)} <= set(ROWS)
    for uid, (frames, why) in ROWS.items():
        syntax = syntax_of(uid)
        if frames == "404":
            assert uid in REFUSED_TRANSFER_SYNTAXES
        elif frames == "406":
            assert (syntax.codec, syntax.reason) == ("", why)
        else:
            assert (bool(syntax.codec), syntax.lossy) == (True, frames == "within 1")


# ----------------------------------------------------------------------------------------------------- files made here
RANDOM = np.random.default_rng(23)
ROUND = (127 + 120 * np.sin(np.mgrid[:40, :50].sum(axis=0) / 9)).astype(np.uint8)
"""Something that lossy codecs are made for."""
SAMPLES: dict[str, Any] = {
    "8 bits": RANDOM.integers(0, 256, (40, 50)).astype(np.uint8),
    "12 bits": RANDOM.integers(0, 4096, (41, 50)).astype(np.uint16),
    "16 bits": RANDOM.integers(0, 65536, (40, 51)).astype(np.uint16),
    "signed": RANDOM.integers(-2048, 2048, (40, 50)).astype(np.int16),
    "colour": RANDOM.integers(0, 256, (40, 50, 3)).astype(np.uint8),
}


def image(samples: Any, uid: str = f"{ROOT}.1") -> Dataset:
    """A data set around samples."""
    data_set = builders.ct_slice(SOPInstanceUID=f"2.25.1.1.{RANDOM.integers(1, 10**12)}")
    data_set.Rows, data_set.Columns = samples.shape[:2]
    if samples.ndim == 3:
        data_set.SamplesPerPixel, data_set.PlanarConfiguration = 3, 0
        data_set.PhotometricInterpretation = "RGB"
    data_set.BitsAllocated = samples.itemsize * 8
    bits = max(int(samples.max()).bit_length(), int(~samples.min()).bit_length() if samples.min() < 0 else 0)
    data_set.BitsStored = bits + int(samples.dtype.kind == "i")
    data_set.HighBit = data_set.BitsStored - 1
    data_set.PixelRepresentation = int(samples.dtype.kind == "i")
    data_set.PixelData = samples.tobytes()
    data_set.file_meta.TransferSyntaxUID = UID(f"{ROOT}.1")
    return data_set


def wrapped(samples: Any, uid: str, frame: bytes) -> Dataset:
    data_set = image(samples)
    data_set.file_meta.TransferSyntaxUID = UID(uid)
    data_set.PixelData = encapsulate([frame])
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return data_set


def sent(client: TestClient, data_set: Dataset) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = store(client, data_set)
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    return url.removeprefix("http://127.0.0.1")


def frame_of(client: TestClient, data_set: Dataset, like: Any) -> Any:
    """The first frame as it is decoded here."""
    answer = client.get(f"{sent(client, data_set)}/frames/1", headers=OCTETS)
    assert answer.status_code == 200, answer.text
    (frame,) = parts(answer)
    return np.frombuffer(frame, like.dtype)[: like.size].reshape(like.shape)


def pydicoms(syntax: str, plugin: str, **options: Any) -> Callable[[Any], Dataset]:
    """Have pydicom compress, by one of its plugins."""

    def made(samples: Any) -> Dataset:
        data_set = image(samples)
        data_set.compress(UID(syntax), encoding_plugin=plugin, generate_instance_uid=False, **options)
        return data_set

    return made


def wraps(uid: str, encode: Callable[[Any], bytes]) -> Callable[[Any], Dataset]:
    return lambda samples: wrapped(samples, uid, bytes(encode(samples)))


def written(uid: str) -> Callable[[Any], Dataset]:
    """A data set that pydicom writes in another encoding."""

    def made(samples: Any) -> Dataset:
        data_set = image(samples.byteswap() if uid.endswith(".2.2") else samples)
        if uid.endswith(".2.2"):  # signs and extremes were read off swapped samples
            for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
                setattr(data_set, keyword, image(samples)[keyword].value)
        data_set.file_meta.TransferSyntaxUID = UID(uid)
        return data_set

    return made


def deflate(samples: Any) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(samples.tobytes()) + squeeze.flush()


def lj92(samples: Any) -> bytes:
    return bytes(imagecodecs.ljpeg_encode(samples, bitspersample=max(8, int(samples.max()).bit_length())))


def openjph(samples: Any) -> bytes:
    return bytes(imagecodecs.htj2k_encode(samples, reversible=True, tlm=True))


UNSIGNED = ("8 bits", "12 bits", "16 bits")
ALL = tuple(SAMPLES)
EXACT: dict[str, tuple[Callable[[Any], Dataset], tuple[str, ...]]] = {
    ROOT: (written(ROOT), ALL),
    f"{ROOT}.1": (image, ALL),
    f"{ROOT}.2": (written(f"{ROOT}.2"), ("12 bits", "16 bits", "signed")),
    f"{ROOT}.1.99": (written(f"{ROOT}.1.99"), ALL),
    f"{ROOT}.1.98": (wraps(f"{ROOT}.1.98", lambda samples: samples.tobytes()), ALL),
    f"{ROOT}.4.57": (wraps(f"{ROOT}.4.57", lj92), UNSIGNED),
    f"{ROOT}.4.80": (pydicoms(f"{ROOT}.4.80", "pyjpegls"), ALL),
    f"{ROOT}.4.90": (pydicoms(f"{ROOT}.4.90", "pylibjpeg"), ALL),
    f"{ROOT}.4.201": (wraps(f"{ROOT}.4.201", lambda one: imagecodecs.htj2k_encode(one, reversible=True)), ALL),
    f"{ROOT}.4.202": (
        wraps(f"{ROOT}.4.202", lambda one: imagecodecs.htj2k_encode(one, reversible=True, tlm=True)),
        ALL,
    ),
    f"{ROOT}.4.110": (
        wraps(f"{ROOT}.4.110", lambda one: imagecodecs.jpegxl_encode(one, lossless=True)),
        (*UNSIGNED, "colour"),
    ),
    f"{ROOT}.5": (pydicoms(f"{ROOT}.5", "pydicom"), ("8 bits", "12 bits", "16 bits", "signed")),
    f"{ROOT}.8.1": (wraps(f"{ROOT}.8.1", deflate), ALL),
}


@pytest.mark.parametrize(("uid", "kind"), [(uid, kind) for uid, (_, kinds) in EXACT.items() for kind in kinds])
def test_lossless_samples_come_out_as_they_went_in(client: TestClient, uid: str, kind: str) -> None:
    make, samples = EXACT[uid][0], SAMPLES[kind]
    assert np.array_equal(frame_of(client, make(samples), samples), samples)


def test_every_row_that_claims_to_be_exact_has_a_case_here() -> None:
    dcmtk = {f"{ROOT}.4.70"}
    assert {uid for uid, (frames, _) in ROWS.items() if frames == "exact"} == set(EXACT) | dcmtk


@pytest.mark.parametrize("container", [True, False])
def test_jpeg_xl_of_twelve_bits_is_exact_in_a_container_or_not(client: TestClient, container: bool) -> None:
    samples = SAMPLES["12 bits"]
    frame = imagecodecs.jpegxl_encode(samples, lossless=True, bitspersample=12, usecontainer=container)
    assert frame.startswith(b"\xff\x0a") is not container
    assert np.array_equal(frame_of(client, wrapped(samples, f"{ROOT}.4.110", frame), samples), samples)


def test_jpeg_xl_of_another_size_or_sign_is_406(client: TestClient) -> None:
    frame = imagecodecs.jpegxl_encode(SAMPLES["12 bits"], lossless=True)
    for kind in ("16 bits", "signed"):
        data_set = wrapped(SAMPLES[kind], f"{ROOT}.4.110", frame)
        assert client.get(f"{sent(client, data_set)}/frames/1", headers=OCTETS).status_code == 406


def _pillow(frame: bytes) -> Any:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(frame)))


LOSSY: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    ".4.50": (lambda one: imagecodecs.jpeg8_encode(one, level=80), _pillow),
    ".4.81": (
        lambda one: jpeg_ls.encode_array(one, lossy_error=3),
        lambda frame: jpeg_ls.decode(np.frombuffer(frame, np.uint8)),
    ),
    ".4.91": (lambda one: openjpeg.encode(one, compression_ratios=[8]), openjpeg.decode),
    ".4.203": (lambda one: imagecodecs.htj2k_encode(one, level=0.01, reversible=False), imagecodecs.htj2k_decode),
}


@pytest.mark.parametrize("uid", LOSSY)
def test_lossy_samples_are_within_one_of_a_second_decoder(client: TestClient, uid: str) -> None:
    encode, decode = LOSSY[uid]
    frame = bytes(encode(ROUND))
    ours, theirs = frame_of(client, wrapped(ROUND, ROOT + uid, frame), ROUND), decode(frame)
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
    assert not np.array_equal(ours, ROUND)  # it was lossy indeed


# ----------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize("uid", OPAQUE)
def test_what_is_not_decoded_is_given_as_stored_or_406_with_its_reason(client: TestClient, uid: str) -> None:
    url = sent(client, wrapped(ROUND, uid, b"opaque"))
    refused = client.get(f"{url}/frames/1", headers=OCTETS)
    assert (refused.status_code, ROWS[uid][1] in refused.json()["detail"]) == (406, True)
    assert parts(client.get(f"{url}/frames/1", headers={"Accept": OHIF})) == [b"opaque"]
    assert client.get(f"{url}/rendered", headers={"Accept": "image/jpeg"}).status_code == 406  # no still of a video
    for target in (f"{ROOT}.1", *TARGETS):
        refused = client.get(url, headers={"Accept": f"application/dicom; transfer-syntax={target}"})
        assert (refused.status_code, ROWS[uid][1] in refused.json()["detail"]) == (406, True)
    assert client.get(url, headers={"Accept": "application/dicom"}).status_code == 200


@pytest.mark.parametrize("uid", ELSEWHERE)
def test_pixels_behind_an_address_are_no_frames_and_nobody_goes_there(client: TestClient, uid: str) -> None:
    data_set = image(ROUND)
    del data_set.PixelData
    data_set.PixelDataProviderURL = "http://127.0.0.1:9/pixels"
    data_set.file_meta.TransferSyntaxUID = UID(uid)
    url = sent(client, data_set)
    assert client.get(f"{url}/frames/1", headers=OCTETS).status_code == 404
    assert client.get(f"{url}/rendered").status_code == 406


# ----------------------------------------------------------------------------------------------------- DCMTK
DCMTK = {
    ".4.50": (("dcmcjpeg", "+eb"), "dcmdjpeg", 1, ("round",)),
    ".4.51": (("dcmcjpeg", "+ee"), "dcmdjpeg", 1, ("round", "12 bits")),
    ".4.53": (("dcmcjpeg", "+es"), "dcmdjpeg", 1, ("round", "12 bits")),
    ".4.55": (("dcmcjpeg", "+ep"), "dcmdjpeg", 1, ("round", "12 bits")),
    ".4.57": (("dcmcjpeg", "+el"), "dcmdjpeg", 0, ("8 bits", "12 bits", "16 bits", "signed", "colour")),
    ".4.70": (("dcmcjpeg", "+e1"), "dcmdjpeg", 0, ("8 bits", "12 bits", "16 bits", "signed", "colour")),
    ".4.80": (("dcmcjpls", "+el"), "dcmdjpls", 0, ("8 bits", "12 bits", "16 bits", "signed", "colour")),
    ".4.81": (("dcmcjpls", "+en"), "dcmdjpls", 1, ("8 bits", "12 bits", "16 bits")),
    ".5": (("dcmcrle",), "dcmdrle", 0, ALL),
}
"""UID -> DCMTK's encoder, its decoder, how far we may be from it, and for which samples."""


@pytest.mark.servers
@pytest.mark.parametrize(("uid", "kind"), [(uid, kind) for uid, case in DCMTK.items() for kind in case[3]])
def test_what_dcmtk_encodes_is_decoded_as_dcmtk_does(client: TestClient, tmp_path: Path, uid: str, kind: str) -> None:
    encoder, decoder, bound, _ = DCMTK[uid]
    samples = ROUND if kind == "round" else SAMPLES[kind]
    plain, made, back = (tmp_path / name for name in ("plain.dcm", "made.dcm", "back.dcm"))
    image(samples).save_as(plain, enforce_file_format=True)
    subprocess.run([*encoder, plain, made], check=True, capture_output=True)
    subprocess.run([decoder, made, back], check=True, capture_output=True)
    compressed = pydicom.dcmread(made)
    assert compressed.file_meta.TransferSyntaxUID == ROOT + uid
    ours = frame_of(client, compressed, samples).astype(int)
    theirs = np.frombuffer(pydicom.dcmread(back).PixelData, samples.dtype)[: samples.size].reshape(samples.shape)
    assert np.abs(ours - theirs).max() <= bound
    if not bound:
        assert np.array_equal(ours, samples)


@pytest.mark.servers
@pytest.mark.parametrize(("uid", "decoder"), [(f"{ROOT}.4.80", "dcmdjpls"), (f"{ROOT}.5", "dcmdrle")])
@pytest.mark.parametrize("kind", ALL)
def test_what_we_encode_dcmtk_decodes(client: TestClient, tmp_path: Path, uid: str, decoder: str, kind: str) -> None:
    url = sent(client, image(SAMPLES[kind]))
    made, back = tmp_path / "made.dcm", tmp_path / "back.dcm"
    made.write_bytes(client.get(url, headers={"Accept": f"application/dicom; transfer-syntax={uid}"}).content)
    subprocess.run([decoder, made, back], check=True, capture_output=True)
    plain = pydicom.dcmread(back)
    assert plain.PixelData[: SAMPLES[kind].nbytes] == SAMPLES[kind].tobytes()


# ----------------------------------------------------------------------------------------------------- real files
def second(data_set: Dataset, number: int) -> bytes | None:
    """A frame of a transcoded file as native bytes by pydicom's decoders, samples together."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame, _ = get_decoder(data_set.file_meta.TransferSyntaxUID).as_array(data_set, index=number - 1, raw=True)
    return bytes(frame.tobytes())


@pytest.mark.parametrize("path", FILES)
def test_a_real_file_is_the_same_image_in_every_transfer_syntax(
    client: TestClient, shared_data: Path, path: str
) -> None:
    file = shared_data / "dicom" / path
    data_set = told(file)
    if "PixelData" not in data_set or "TransferSyntaxUID" not in data_set.file_meta:
        return
    url = kept(client, file)
    count = int(data_set.get("NumberOfFrames") or 1)
    (native,) = parts(client.get(f"{url}/frames/{count}", headers=OCTETS))
    made = {}
    for uid in (f"{ROOT}.1", *TARGETS):
        answer = client.get(url, headers={"Accept": f"application/dicom; transfer-syntax={uid}"})
        if answer.status_code == 406:
            assert data_set.BitsAllocated not in {8, 16} or data_set.PhotometricInterpretation == "YBR_PARTIAL_422"
            assert uid != f"{ROOT}.1"
            continue
        assert answer.status_code == 200
        given = pydicom.dcmread(io.BytesIO(answer.content))
        assert given.file_meta.TransferSyntaxUID == uid
        assert given.SOPInstanceUID == given.file_meta.MediaStorageSOPInstanceUID
        made[uid] = given
    plain = made.pop(f"{ROOT}.1")
    if plain.BitsAllocated > 1 and plain.PhotometricInterpretation != "YBR_FULL_422":
        size = len(native)
        assert plain.PixelData[(count - 1) * size : count * size] == native
    if plain.BitsAllocated == 1:  # given as it is kept, or native
        return
    for given in made.values():
        assert second(given, count) == together(plain, native)


def together(data_set: Dataset, native: bytes) -> bytes:
    """A native frame with the samples of each pixel together, chrominance in full."""
    if data_set.SamplesPerPixel == 1:
        return native
    if data_set.PhotometricInterpretation == "YBR_FULL_422" and data_set.file_meta.TransferSyntaxUID in PLAIN:
        pairs = np.frombuffer(native, np.uint8).reshape(-1, 4)
        return np.stack([pairs[:, [0, 2, 3]], pairs[:, [1, 2, 3]]], axis=1).tobytes()
    if data_set.get("PlanarConfiguration"):
        planes = np.frombuffer(native, f"u{data_set.BitsAllocated // 8}").reshape(3, -1)
        return np.ascontiguousarray(planes.T).tobytes()
    return native


def test_files_without_their_uids_decode_too(client: TestClient, shared_data: Path) -> None:
    """Test images that name no study: HTJ2K above all, of which there are no others."""
    for name in ("HTJ2KLossless_08_RGB.dcm", "HTJ2K_08_RGB.dcm", "JLSL_RGB_ILV1.dcm", "SC_rgb_jls_lossy_line.dcm"):
        data_set = told(shared_data / "dicom" / "transfer_syntax" / name)
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = "2.25.3", "2.25.3.1"
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"2.25.3.1.{len(name)}"
        data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        frame = next(generate_frames(data_set.PixelData, number_of_frames=1))
        like = np.empty((data_set.Rows, data_set.Columns, 3), np.uint8)
        if "HTJ2K" in name:
            expected = imagecodecs.htj2k_decode(frame)
        else:
            expected = jpeg_ls.decode(np.frombuffer(frame, np.uint8))
            expected = expected if expected.shape == like.shape else np.moveaxis(expected, 0, -1)
        made = frame_of(client, data_set, like)
        if data_set.get("PlanarConfiguration"):
            made = np.moveaxis(made.reshape(3, data_set.Rows, data_set.Columns), 0, -1)
        # OpenJPH's samples wrap around where lossy ones leave their range, ours stop there.
        distance = (made.astype(int) - expected.astype(int) + 128) % 256 - 128
        assert np.abs(distance).max() <= (0 if "Lossless" in name or "JLSL" in name else 1)
