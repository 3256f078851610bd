"""What a result says of its input, in words: which series was used, why every other one was not, and its marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.words import MARKS, REASONS, Text

_SKIPPED = {
    "bone kernel": Text(vi="tái tạo xương", en="bone kernel"),
    "not_preferred": Text(vi="chuỗi khác phù hợp hơn", en="another series fits better"),
    "other_modality": Text(vi="loại máy khác", en="another kind of image"),
}


def selection_text(provenance: Mapping[str, Any]) -> Text | None:
    """Say which series was used, "used series 4 (5 mm, H30s, 32 images); series 3 skipped: bone kernel".

    None for a result that does not tell, as those of earlier releases.
    """
    selection = provenance.get("selection")
    if not selection:
        return None
    said = [_used(one) if one["code"] == "used" else _skipped(one) for one in selection]
    return _joined(said)


def marks_text(provenance: Mapping[str, Any]) -> Text | None:
    """Say what a reader should know of the input; None where there is nothing."""
    marks: Sequence[str] = provenance.get("marks") or ()
    if not marks:
        return None
    said = [MARKS.get(mark, Text.alike(mark)) for mark in marks]
    return _joined(said)


def _joined(said: Sequence[Text]) -> Text:
    return Text(vi="; ".join(text.vi for text in said), en="; ".join(text.en for text in said))


def _used(one: Mapping[str, Any]) -> Text:
    measured = [f"{one['step_mm']:g} mm"] if one["step_mm"] else []
    facts = [*measured, *([one["kernel"]] if one["kernel"] else [])]
    name = _name(one)
    told = "".join(f"{fact}, " for fact in facts)
    count = one["images"]
    return Text(
        vi=f"dùng {name.vi} ({told}{count} ảnh)",
        en=f"used {name.en} ({told}{count} {'image' if count == 1 else 'images'})",
    )


def _skipped(one: Mapping[str, Any]) -> Text:
    code = "bone kernel" if one["code"] == "not_preferred" and one["weights"].get("bone kernel") else one["code"]
    why = _SKIPPED.get(code) or REASONS.get(code) or Text.alike(code)
    name = _name(one)
    return Text(vi=f"bỏ qua {name.vi}: {why.vi}", en=f"{name.en} skipped: {why.en}")


def _name(one: Mapping[str, Any]) -> Text:
    number = one["series_number"]
    if number is None:
        return Text(vi="chuỗi không số", en="a series without a number")
    return Text(vi=f"chuỗi {number}", en=f"series {number}")
