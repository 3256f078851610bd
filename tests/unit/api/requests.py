"""Bodies and answers of DICOMweb, made and taken apart by other means than ours."""

from __future__ import annotations

import io
from collections.abc import Iterable
from email import message_from_bytes
from typing import Any

import pydicom
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset

from tests import builders

BOUNDARY = "a boundary"
RELATED = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'


def body(files: Iterable[bytes]) -> bytes:
    """A multipart/related body."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + file + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()


def store(client: TestClient, *data_sets: Dataset, study: str = "") -> Any:
    """Post data sets to ``/studies``."""
    url = f"/dicom-web/studies/{study}" if study else "/dicom-web/studies"
    return client.post(url, content=body(map(builders.part10, data_sets)), headers={"Content-Type": RELATED})


def parts(answer: Any) -> list[bytes]:
    """The parts of a multipart answer, by the standard library's mail parser."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + answer.content)
    return [part.get_payload(decode=True) for part in message.get_payload()]


def data_set_bytes(file: bytes) -> bytes:
    """The data set of a DICOM file."""
    return file[144 + int.from_bytes(file[140:144], "little") :]


def read(file: bytes) -> Dataset:
    """A DICOM file as pydicom reads it."""
    return pydicom.dcmread(io.BytesIO(file))
