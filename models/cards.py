"""Turns the figures that evaluation wrote beside a weight file into parts of a model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.chains import Chain
from models.contract import FindingSpec, KnownInputs, OperatingPoint
from models.errors import CardInvalid
from models.networks import NetworkSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What `models.reference.evaluate` measured, as written in JSON beside the weights."""

    weights_sha256: str
    operating_points: Mapping[str, OperatingPoint]
    figures: Mapping[str, object]


def read_evidence(path: Path) -> Evidence:
    """Read the evidence file of a model.

    Raises
    ------
    CardInvalid
        The file is absent or does not say what a card needs.
    """
    try:
        read: dict[str, Any] = json.loads(path.read_text())
        points = {code: _operating_point(point) for code, point in read["operating_points"].items()}
        return Evidence(weights_sha256=read["weights_sha256"], operating_points=points, figures=read["figures"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CardInvalid(
            f"{path.name} is no evidence file: {error!r}; write it with models.reference.evaluate"
        ) from error


def _operating_point(read: Mapping[str, Any]) -> OperatingPoint:
    intervals = {key: tuple(read[key]) for key in ("sensitivity_interval", "specificity_interval")}
    return OperatingPoint(**{**read, **intervals})


def read_known_inputs(path: Path) -> KnownInputs:
    """Read what `models.reference.known_inputs` wrote about a model beside its weights.

    Raises
    ------
    CardInvalid
        The file is absent or does not say what a card needs.
    """
    try:
        read: dict[str, Any] = json.loads(path.read_text())
        return KnownInputs(
            file=read["file"], sha256=read["sha256"], threshold=float(read["threshold"]), dataset=read["dataset"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CardInvalid(
            f"{path.name} tells no known inputs: {error!r}; write it with models.reference.known_inputs"
        ) from error


def model_digest(
    weights_sha256: str,
    chain: Chain,
    findings: tuple[FindingSpec, ...],
    known_inputs: KnownInputs | None = None,
    *,
    network: NetworkSpec | None = None,
) -> str:
    """Give the SHA-256 that names a model; another digest is another model.

    It covers weights, chain, labels and thresholds, that of known inputs included.  Of an imported model its `network`,
    which no code of ours fixes, belongs to it too.
    """
    said: dict[str, object] = {"known_inputs": [known_inputs.sha256, known_inputs.threshold]} if known_inputs else {}
    said |= {
        "weights": weights_sha256,
        "chain": chain.canonical(),
        "findings": [
            [one.code, one.name_en, one.name_vi, one.urgency, one.operating_point.name, one.operating_point.threshold]
            for one in findings
        ],
    }
    if network is not None:
        said["network"] = [network.name, dict(network.arguments)]
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
