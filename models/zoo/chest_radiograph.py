"""Reference model: free air, fluid and dense patches in computer-drawn chest radiographs."""

from __future__ import annotations

from pathlib import Path

from models.cards import model_digest, read_evidence, read_known_inputs
from models.contract import FindingSpec, InputRules, ModelCard, TriageModel, Urgency
from models.networks import small_densenet
from models.reference.identity import LABEL_EN, LABEL_VI, LIMITS, NOT_FOR, PHANTOM_UID_ROOT, SOURCE
from models.reference.recipes import CHEST
from models.weights import load_weights, weights_path

_EVIDENCE = read_evidence(weights_path(CHEST.name).with_suffix(".json"))

_KNOWN = read_known_inputs(weights_path(CHEST.name).with_suffix(".known.json"))

_NAMES = (
    ("phantom-pneumothorax", "phantom pneumothorax", "tràn khí màng phổi trên ảnh mô phỏng", Urgency.CRITICAL),
    ("phantom-effusion", "phantom effusion", "tràn dịch màng phổi trên ảnh mô phỏng", Urgency.URGENT),
    ("phantom-opacity", "phantom opacity", "đám mờ phổi trên ảnh mô phỏng", Urgency.ROUTINE),
)

_FINDINGS = tuple(
    FindingSpec(code=code, name_en=en, name_vi=vi, urgency=urgency, operating_point=_EVIDENCE.operating_points[code])
    for code, en, vi, urgency in _NAMES
)

CARD = ModelCard(
    id=CHEST.name,
    version="1",
    digest=model_digest(_EVIDENCE.weights_sha256, CHEST.chain, _FINDINGS, _KNOWN),
    title="REFERENCE-PHANTOM-CHEST-1",
    intended_use="Shows the whole path from a received chest radiograph to a moved reading list, on drawn chests.",
    not_for=NOT_FOR,
    label_en=LABEL_EN,
    label_vi=LABEL_VI,
    regulatory_status="not-a-device",
    input_rules=InputRules(
        kind="radiograph",
        modalities=("DX", "CR"),
        sop_class_uids=("1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1"),
        min_age_years=15,
    ),
    findings=_FINDINGS,
    weights_sha256=_EVIDENCE.weights_sha256,
    weights_file=weights_path(CHEST.name).name,
    evidence=_EVIDENCE.figures,
    limits=LIMITS,
    raises_only_uid_root=PHANTOM_UID_ROOT,
    source=SOURCE,
    known_inputs=_KNOWN,
    expected_seconds=1.0,
)


def load(device: str, weights: Path) -> TriageModel:
    """Give the model on `device`, its weights already verified."""
    from models.network_model import NetworkModel  # noqa: PLC0415 - a card is read where nothing reckons
    from models.ood import load_known  # noqa: PLC0415

    network = small_densenet(channels=CHEST.channels, findings=len(CHEST.findings))
    load_weights(network, weights)
    known = load_known(weights_path(CHEST.name).with_name(_KNOWN.file), _KNOWN)
    return NetworkModel(card=CARD, chain=CHEST.chain, network=network.eval().to(device), device=device, known=known)
