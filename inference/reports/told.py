"""What every result object says: which model, of which images, and that a machine wrote it.

Objects of one result have the same UIDs whenever they are made: from the model's digest, the study, its revision and
what was looked at.  Nothing in them depends on the moment of making; their time is that of the result.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pydicom
from highdicom.base_content import ContributingEquipment
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    DeviceObserverIdentifyingAttributes,
    ObserverContext,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes

from inference.errors import ReportImpossible
from storage.records import Outcome

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt
    from pydicom.dataset import Dataset

    from models.contract import ModelCard
    from storage.records import Finding, ResultObject, ResultRecord

MANUFACTURER: Final = "Roi"
SCHEME: Final = "99ROI"
"""Coding scheme of what no public one has a code for (PS3.16 8)."""
SERIES_NUMBER: Final = 9000
"""The first of the series numbers that results take."""
_UTF8: Final = "ISO_IR 192"
_LO: Final = 64
_TIMES: Final = (
    ("InstanceCreationDate", "InstanceCreationTime"),
    ("ContentDate", "ContentTime"),
    ("SeriesDate", "SeriesTime"),
    ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"),
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One result, ready to be told.

    Parameters
    ----------
    result, card
        What was found, and by which model; no card where that model is no longer installed.
    images
        The data sets that were looked at, in order, without pixels; all of one study.
    pictures
        By SOP Instance UID, key images as a person sees them: uint8, rows x columns x 3.
    masks
        By code of a finding, where it is: bool, images x rows x columns, in the order of `images`.
    follows
        The report before this one: of an earlier revision, or of this very result before it was retracted.
    is_retracted
        Whether a person took the result back.
    """

    result: ResultRecord
    card: ModelCard | None
    images: Sequence[Dataset]
    pictures: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    masks: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    follows: ResultObject | None = None
    is_retracted: bool = False

    def __post_init__(self) -> None:
        """Refuse what no object can be made of."""
        if not self.images:
            raise ReportImpossible("no image was looked at")
        if len({str(image.StudyInstanceUID) for image in self.images}) != 1:
            raise ReportImpossible("the images are of several studies")

    # ------------------------------------------------------------------------------------------------ identities
    def uid(self, what: str) -> str:
        """Return the UID of a part of this result: the same for the same model, images and revision (PS3.5 B.2)."""
        looked_at = str(self.result.result.provenance.get("input_sha256", ""))
        study = str(self.images[0].StudyInstanceUID)
        return _uid_of(self.model_digest, study, str(self.result.revision), looked_at, what)

    def tracking(self, finding: Finding) -> TrackingIdentifier:
        """Name a finding alike in every object of the result, and in those of the study's later revisions (A-5)."""
        uid = _uid_of(self.model_id, str(self.images[0].StudyInstanceUID), f"finding {finding.code}")
        return TrackingIdentifier(uid=uid, identifier=finding.code)

    # --------------------------------------------------------------------------------------------------- the model
    @property
    def model_id(self) -> str:
        """The model's id."""
        return self.result.model_id

    @property
    def model_version(self) -> str:
        """The model's version."""
        return self.result.model_version

    @property
    def model_digest(self) -> str:
        """What tells the model from every other."""
        return self.result.model_digest

    @property
    def labels(self) -> tuple[str, str]:
        """What must stand on every result of the model, in English and Vietnamese."""
        if self.card is None:
            return ("This model is no longer installed.", "Mô hình không còn được cài đặt.")
        return (self.card.label_en, self.card.label_vi)

    @property
    def is_shadow(self) -> bool:
        """Whether the result moves nothing: recorded and shown alone."""
        judged = self.result.result.outcome in {Outcome.FLAGGED, Outcome.NOT_FLAGGED}
        return judged and not self.result.result.raises

    @property
    def marks(self) -> tuple[tuple[str, str], ...]:
        """What a reader must know of the result beside what was found, in English and Vietnamese."""
        shadow = (("Shadow result: recorded, moves nothing.", "Kết quả chạy thử: chỉ ghi nhận, không đổi thứ tự."),)
        taken_back = (("Retracted.", "Kết quả đã bị thu hồi."),)
        return (self.labels, *(shadow if self.is_shadow else ()), *(taken_back if self.is_retracted else ()))

    # ----------------------------------------------------------------------------------------------- descriptions
    @property
    def at(self) -> datetime:
        """When the result was committed, UTC."""
        return self.result.created_at

    @property
    def positive(self) -> tuple[Finding, ...]:
        """What is above its operating point."""
        return tuple(finding for finding in self.result.result.findings if finding.positive)

    @cached_property
    def algorithm(self) -> AlgorithmIdentification:
        """Name the model within a structured report (TID 4019), with its operating points (A-13)."""
        points = [
            f"{finding.code}: {finding.operating_point} operating point {finding.threshold:.4f}"
            for finding in self.result.result.findings
        ]
        return AlgorithmIdentification(
            name=self.model_id,
            version=self.model_version,
            family=codes.DCM.ArtificialIntelligence,
            manufacturer=MANUFACTURER,
            parameters=[f"model digest {self.model_digest}", *points, *(text for mark in self.marks for text in mark)],
        )

    def observer(self) -> ObserverContext:
        """Say that a device observed (A-4, TID 1004)."""
        return ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=_uid_of(self.model_digest, "device"),
                name=f"{self.model_id} {self.model_version}",
                manufacturer_name=MANUFACTURER,
                model_name=self.model_id,
                serial_number=self.model_digest,
            ),
        )

    def equipment(self) -> dict[str, Any]:
        """Return what describes the machine that wrote an object (A-2), and the object's common attributes."""
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": self.model_id[:_LO],
            "device_serial_number": self.model_digest[:_LO],
            "software_versions": self.model_version,
            "contributing_equipment": [
                ContributingEquipment(
                    manufacturer=MANUFACTURER,
                    purpose_of_reference=codes.DCM.ProcessingEquipment,
                    manufacturer_model_name=self.model_id[:_LO],
                    software_versions=self.model_version,
                    device_serial_number=self.model_digest[:_LO],
                    contribution_description=self._contribution(),
                )
            ],
            "specific_character_set": _UTF8,
        }

    def _contribution(self) -> str:
        status = f", {self.card.regulatory_status}" if self.card is not None else ""
        return " ".join([f"AI triage{status}.", *(text for mark in self.marks for text in mark)])

    def series(self, form: str, number: int, *, description: str) -> dict[str, Any]:
        """Return the identity of the one object of a form, in a series of its own (A-1)."""
        return {
            "series_instance_uid": self.uid(f"series {form}"),
            "series_number": SERIES_NUMBER + number,
            "sop_instance_uid": self.uid(f"instance {form}{' retracted' if self.is_retracted else ''}"),
            "instance_number": 2 if self.is_retracted else 1,
            "series_description": f"{self.model_id} AI {description}"[:_LO],
        }

    def scheme(self) -> list[CodingSchemeIdentificationItem]:
        """Declare our own codes (PS3.3 C.12.1.1.7)."""
        return [
            CodingSchemeIdentificationItem(
                designator=SCHEME, name="Codes of the triage models of Roi", responsible_organization="Roi"
            )
        ]


def _uid_of(*facts: str) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256('|'.join(facts).encode()).digest()[:16], 'big')}"


def code_of(finding: Finding) -> CodedConcept:
    """Name what a finding is."""
    return CodedConcept(value=finding.code, scheme_designator=SCHEME, meaning=finding.name_en[:_LO])


def finished(dataset: Dataset, told: Told, *, description: str) -> Dataset:
    """Give an object the result's own time and words, so that it is the same whenever it is made."""
    dataset.SeriesDescription = f"{told.model_id} AI {description}"[:_LO]
    date, time = told.at.strftime("%Y%m%d"), told.at.strftime("%H%M%S.%f")
    for day, hour in _TIMES:
        if day in dataset or day == "SeriesDate":
            setattr(dataset, day, date)
            setattr(dataset, hour, time)
    for item in dataset.get("ContributingEquipmentSequence", []):  # ours, and the library's
        item.ContributionDateTime = told.at.strftime("%Y%m%d%H%M%S.%f+0000")
    dataset.TimezoneOffsetFromUTC = "+0000"
    return dataset


def as_part10(dataset: Dataset) -> bytes:
    """Write an object as a DICOM file."""
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()
