"""Reference model: dense patches in computer-drawn head CT."""

from __future__ import annotations

from pathlib import Path

from models.cards import model_digest, read_evidence, read_known_inputs
from models.contract import FindingSpec, InputRules, ModelCard, Progressive, TriageModel, Urgency
from models.networks import small_densenet
from models.reference.identity import LABEL_EN, LABEL_VI, LIMITS, NOT_FOR, PHANTOM_UID_ROOT, SOURCE
from models.reference.recipes import HEAD_CT
from models.weights import load_weights, weights_path

_EVIDENCE = read_evidence(weights_path(HEAD_CT.name).with_suffix(".json"))

_KNOWN = read_known_inputs(weights_path(HEAD_CT.name).with_suffix(".known.json"))

_FINDINGS = (
    FindingSpec(
        code="phantom-hyperdensity",
        name_en="phantom hyperdensity",
        name_vi="vùng tăng tỷ trọng trên ảnh mô phỏng",
        urgency=Urgency.CRITICAL,
        operating_point=_EVIDENCE.operating_points["phantom-hyperdensity"],
    ),
)

CARD = ModelCard(
    id=HEAD_CT.name,
    version="1",
    digest=model_digest(_EVIDENCE.weights_sha256, HEAD_CT.chain, _FINDINGS, _KNOWN),
    title="REFERENCE-PHANTOM-HEADCT-1",
    intended_use="Shows the whole path from a received head CT series to a moved reading list, on drawn heads.",
    not_for=NOT_FOR,
    label_en=LABEL_EN,
    label_vi=LABEL_VI,
    regulatory_status="not-a-device",
    input_rules=InputRules(
        kind="volume",
        modalities=("CT",),
        sop_class_uids=("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"),
        min_slices=16,
        max_slices=600,
        slice_step_mm=(0.5, 6.0),
        coverage_mm=(90.0, 250.0),
        tissue_mode_hu=(15.0, 50.0),
    ),
    findings=_FINDINGS,
    weights_sha256=_EVIDENCE.weights_sha256,
    weights_file=weights_path(HEAD_CT.name).name,
    evidence=_EVIDENCE.figures,
    limits=LIMITS,
    raises_only_uid_root=PHANTOM_UID_ROOT,
    source=SOURCE,
    known_inputs=_KNOWN,
    expected_seconds=3.0,
    progressive=Progressive(first_at_slices=12, step=4),
)


def load(device: str, weights: Path) -> TriageModel:
    """Give the model on `device`, its weights already verified."""
    from models.network_model import NetworkModel  # noqa: PLC0415 - a card is read where nothing reckons
    from models.ood import load_known  # noqa: PLC0415

    network = small_densenet(channels=HEAD_CT.channels, findings=len(HEAD_CT.findings))
    load_weights(network, weights)
    known = load_known(weights_path(HEAD_CT.name).with_name(_KNOWN.file), _KNOWN)
    return NetworkModel(card=CARD, chain=HEAD_CT.chain, network=network.eval().to(device), device=device, known=known)
