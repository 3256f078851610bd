"""Real files through DICOM JSON and XML and back, and beside what DCMTK makes of them (W-89).

The reasons for which we and DCMTK may differ stand in the tables here, and with them in the conformance statement;
a difference without a reason fails, and so does a reason without a difference.
"""

from __future__ import annotations

import io
import json
import math
import struct
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pydicom
import pytest
from pydicom.dataset import Dataset

from api.dicomweb.model import DataSet, as_model
from api.dicomweb.native import as_xml, from_xml
from api.dicomweb.written import write
from api.errors import BodyRejected
from pacs_gateway.elements import Encoding
from pacs_gateway.part10 import write_meta
from storage.records import Origin
from tests.conformance.dicomweb.files import BULK, Difference, RealFile, differences, real_files
from tests.servers.process import find_program

EXPLICIT = "1.2.840.10008.1.2.1"
CHARSET = "00080005"
PAGE = Path(__file__).parents[3] / "docs" / "conformance" / "dicomweb.md"


@pytest.fixture(scope="module")
def files(shared_data: Path) -> list[RealFile]:
    found = list(real_files(shared_data))
    assert len(found) > 180
    return found


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def strict(model: DataSet) -> DataSet:
    """What a strict reader makes of the JSON that leaves."""
    read: DataSet = json.loads(orjson.dumps(model).decode("utf-8"), parse_constant=refuse)
    return read


# ---------------------------------------------------------------------------------------------- there and back again
def rewritten(file: RealFile, model: DataSet) -> bytes:
    return b"".join(write(model, file.bulk))


def model_of(data_set: bytes) -> DataSet:
    made = RealFile(path=Path(), meta=b"", data_set=data_set, encoding=Encoding.EXPLICIT_LITTLE)
    return as_model(made.source(), made.encoding, bulk_url=BULK, signed=made.signed())


def test_dicom_to_json_to_dicom_is_the_same_data_set(files: list[RealFile]) -> None:  # W-89, W-84
    for file in files:
        model = strict(file.model())
        again = model_of(rewritten(file, model))
        told = [each for each in differences(model, again, file.path.name) if each.tag != CHARSET]
        assert told == []  # text beyond ASCII is UTF-8 afterwards, and the character set says so
        if again.get(CHARSET) != model.get(CHARSET):
            assert again[CHARSET]["Value"] == ["ISO_IR 192"]


def test_pydicom_reads_the_same_from_both(files: list[RealFile]) -> None:  # W-89
    for file in files:
        model = file.model()
        uid = model.get("00080018", {}).get("Value", ["1.2.3"])[0]
        meta = write_meta(EXPLICIT, "1.2.840.10008.5.1.4.1.1.7", uid, Origin(via="self"))
        ours = values(io.BytesIO(meta + rewritten(file, model)))
        theirs = values(io.BytesIO(file.meta + file.data_set) if is_explicit(file) else file.path)
        assert set(ours) - {CHARSET} == set(theirs) - {CHARSET}, file.path.name


def is_explicit(file: RealFile) -> bool:
    return file.encoding is Encoding.EXPLICIT_LITTLE


def values(source: io.BytesIO | Path) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(source, force=True)
        return {f"{one.tag:08X}": str(one.value) for one in data_set if one.tag.element and one.tag.group > 2}


def test_pydicom_takes_every_model(files: list[RealFile]) -> None:  # W-83, W-89
    refused = []
    for file in files:
        model = file.model()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read = Dataset.from_json(model, lambda _tag, _vr, uri: b"".join(file.bulk("", uri).pieces()))  # noqa: B023
            except ValueError:
                refused.append(file.path.name)
                continue
        assert len(read) == len(model)
    assert sorted(set(refused)) == ["badVR.dcm"]  # an integer that is none goes out as it is written


def test_dicom_xml_says_what_json_says_of_every_file(files: list[RealFile]) -> None:
    for file in files:
        model = strict(file.model())
        read = from_xml([as_xml(model)])
        told = [each for each in differences(model, read, file.path.name) if not same_in_xml(each)]
        assert told == []


def same_in_xml(told: Difference) -> bool:
    """Numbers are text in XML, empty names are none, and what XML cannot hold has U+FFFD in its place."""
    ours, theirs = told.ours or {}, told.theirs or {}
    if ours.get("vr") != theirs.get("vr"):
        return False
    return [xml_text(value) for value in ours.get("Value", [])] == [
        xml_text(value) for value in theirs.get("Value", [])
    ]


def xml_text(value: object) -> object:
    if isinstance(value, dict):
        return {group: text for group, part in value.items() if (text := str(part).rstrip("^"))} or None
    return (
        None
        if value is None
        else "".join(letter if letter in "\t\n\r" or letter >= " " else "\ufffd" for letter in str(value))
    )


# ------------------------------------------------------------------------------------------------------------- DCMTK
Reason = Callable[[Difference], bool]


def _vrs(told: Difference) -> tuple[str, str]:
    return (told.ours or {}).get("vr", ""), (told.theirs or {}).get("vr", "")


def _texts(told: Difference) -> tuple[list[Any], list[Any]]:
    return (told.ours or {}).get("Value", []), (told.theirs or {}).get("Value", [])


def _is_bulk(told: Difference) -> bool:
    return "BulkDataURI" in (told.ours or {})


def _is_charset(told: Difference) -> bool:
    return told.tag == CHARSET and _texts(told)[1] == ["ISO_IR 192"]


def _is_private_or_un(told: Difference) -> bool:
    ours, theirs = _vrs(told)
    return theirs == "UN" and ours not in {"UN", ""}


def _is_the_same_number(told: Difference) -> bool:
    vr, other = _vrs(told)
    ours, theirs = _texts(told)
    if vr != other or vr not in {"FL", "FD", "DS", "IS"} or len(ours) != len(theirs):
        return False
    return all(map(_same if vr != "FL" else _same_single, ours, theirs))


def _same(one: object, other: object) -> bool:
    if one is None or other is None:
        return one == other
    return math.isclose(float(str(one)), float(str(other)), rel_tol=1e-15)


def _same_single(one: object, other: object) -> bool:
    return _single(one) == _single(other)


def _single(number: object) -> float:
    (rounded,) = struct.unpack("<f", struct.pack("<f", float(str(number))))
    return float(rounded)


def _is_a_name_with_empty_components(told: Difference) -> bool:
    if _vrs(told) != ("PN", "PN"):
        return False
    ours, theirs = _texts(told)
    stripped = [
        {group: text for group, part in (value or {}).items() if (text := part.rstrip("^"))} or None for value in ours
    ]
    said = [value or None for value in theirs]
    return [one for one in stripped if one] == [one for one in said if one]


def _is_out_of_order(told: Difference) -> bool:
    return told.ours is None and int(told.tag[:4], 16) < 8


def _is_in_a_private_block(told: Difference) -> bool:
    return int(told.tag[3], 16) % 2 == 1 and (told.ours is None or told.theirs is None)


def _is_a_repeated_group(told: Difference) -> bool:
    if _vrs(told) != ("PN", "PN"):
        return False
    ours, theirs = _texts(told)
    return [one["Alphabetic"] for one in ours if one] == [one["Alphabetic"] for one in theirs if one] and all(
        one.get("Phonetic") == one.get("Ideographic") for one in theirs if one
    )


def _is_a_group_length(told: Difference) -> bool:
    return told.ours is None and told.tag.endswith("0000")


def _is_binary(told: Difference) -> bool:
    ours, theirs = told.ours or {}, told.theirs or {}
    return "InlineBinary" in ours and ours["vr"] == theirs.get("vr") and "Value" not in theirs


SHARED: dict[str, Reason] = {
    "long values and pixel data": _is_bulk,
    "VR of private and of mistyped attributes": _is_private_or_un,
    "digits of a number": _is_the_same_number,
    "empty components at the end of a name": _is_a_name_with_empty_components,
}
JSON_REASONS: dict[str, Reason] = {
    **SHARED,
    "(0008,0005) after conversion to UTF-8": _is_charset,
    "groups below 0008": _is_out_of_order,
}
XML_REASONS: dict[str, Reason] = {
    **SHARED,
    "group lengths that are UN": _is_a_group_length,
    "blocks of private attributes": _is_in_a_private_block,
    "phonetic group of a name without one": _is_a_repeated_group,
    "binary values": _is_binary,
}


def _explained(told: Iterator[Difference], reasons: dict[str, Reason]) -> Iterator[str]:
    for each in told:
        named = [name for name, holds in reasons.items() if holds(each)]
        yield named[0] if named else f"{each}"[:400]


def _asked(command: list[str], file: RealFile, tmp_path: Path) -> bytes:
    """What a program prints of a file; nothing where it cannot."""
    plain = tmp_path / "plain.dcm"
    plain.write_bytes(file.without_encapsulated_pixels())
    ran = subprocess.run([*command, str(plain)], capture_output=True, check=False)
    return ran.stdout if ran.returncode == 0 else b""


def needs(name: str) -> str:
    if not find_program(name):
        pytest.skip(f"{name} is not installed")
    return name


@pytest.mark.servers
def test_json_is_what_dcmtk_makes_but_for_known_reasons(files: list[RealFile], tmp_path: Path) -> None:  # W-89
    command = [needs("dcm2json"), "-q", "-fc"]
    reasons: set[str] = set()
    compared = 0
    for file in files:
        try:
            theirs = json.loads(_asked(command, file, tmp_path) or b"null")
        except ValueError:
            theirs = None
        if theirs is not None:
            compared += 1
            reasons |= set(_explained(differences(file.model(), theirs, file.path.name), JSON_REASONS))
    assert reasons == set(JSON_REASONS)
    assert compared > 170


@pytest.mark.servers
def test_xml_is_what_dcmtk_makes_but_for_known_reasons(files: list[RealFile], tmp_path: Path) -> None:  # W-89
    command = [needs("dcm2xml"), "-q", "-nat"]
    reasons: set[str] = set()
    compared = 0
    for file in files:
        try:
            theirs = from_xml([_asked(command, file, tmp_path)])
        except BodyRejected:  # DCMTK leaves text in its own character set, or names an attribute twice
            continue
        compared += 1
        ours = from_xml([as_xml(file.model())])
        of_data_set = {tag: made for tag, made in theirs.items() if tag[:4] != "0002"}
        reasons |= set(_explained(differences(ours, of_data_set, file.path.name), XML_REASONS))
    assert reasons == set(XML_REASONS)
    assert compared > 170


def test_the_statement_lists_every_reason() -> None:
    told = PAGE.read_text(encoding="utf-8")
    for name in {*JSON_REASONS, *XML_REASONS}:
        assert f"| {name} |" in told
