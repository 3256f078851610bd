"""The findings that imported chest models look for: names in two languages, and how soon each wants a reader."""

from __future__ import annotations

from typing import Final

from models.contract import FindingSpec, InputRules, OperatingPoint, Urgency

CHEST_RADIOGRAPH: Final = InputRules(
    kind="radiograph",
    modalities=("DX", "CR"),
    sop_class_uids=("1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1"),
)

_KNOWN: Final = {
    "atelectasis": ("atelectasis", "xẹp phổi", Urgency.ROUTINE),
    "consolidation": ("consolidation", "đông đặc phổi", Urgency.URGENT),
    "infiltration": ("infiltration", "thâm nhiễm phổi", Urgency.ROUTINE),
    "pneumothorax": ("pneumothorax", "tràn khí màng phổi", Urgency.CRITICAL),
    "edema": ("pulmonary oedema", "phù phổi", Urgency.URGENT),
    "emphysema": ("emphysema", "khí phế thũng", Urgency.ROUTINE),
    "fibrosis": ("fibrosis", "xơ phổi", Urgency.ROUTINE),
    "effusion": ("pleural effusion", "tràn dịch màng phổi", Urgency.URGENT),
    "pneumonia": ("pneumonia", "viêm phổi", Urgency.URGENT),
    "pleural-thickening": ("pleural thickening", "dày màng phổi", Urgency.ROUTINE),
    "cardiomegaly": ("cardiomegaly", "bóng tim to", Urgency.ROUTINE),
    "nodule": ("nodule", "nốt phổi", Urgency.ROUTINE),
    "mass": ("mass", "khối ở phổi", Urgency.ROUTINE),
    "hernia": ("hernia", "thoát vị hoành", Urgency.ROUTINE),
    "lung-lesion": ("lung lesion", "tổn thương phổi", Urgency.ROUTINE),
    "fracture": ("fracture", "gãy xương", Urgency.ROUTINE),
    "lung-opacity": ("lung opacity", "đám mờ phổi", Urgency.ROUTINE),
    "enlarged-cardiomediastinum": ("enlarged cardiomediastinum", "trung thất rộng", Urgency.ROUTINE),
}


def finding(code: str, *, threshold: float, chosen: str) -> FindingSpec:
    """Give a finding of the table with a threshold that nobody measured here; `chosen` says who chose it on what."""
    name_en, name_vi, urgency = _KNOWN[code]
    return described(code, name_en, name_vi, urgency, threshold=threshold, chosen=chosen)


def described(code: str, name_en: str, name_vi: str, urgency: Urgency, *, threshold: float, chosen: str) -> FindingSpec:
    """Give a finding with a threshold that nobody measured here."""
    point = OperatingPoint(
        name="balanced",
        threshold=threshold,
        sensitivity=None,
        sensitivity_interval=(0.0, 1.0),
        specificity=None,
        specificity_interval=(0.0, 1.0),
        dataset=chosen,
    )
    return FindingSpec(code=code, name_en=name_en, name_vi=name_vi, urgency=urgency, operating_point=point)
