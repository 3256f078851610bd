"""What the API says of a result's input, in words."""

from __future__ import annotations

from typing import Any

from api.choices import marks_text, selection_text


def series(number: int | None, code: str, **fields: Any) -> dict[str, Any]:
    """One series as provenance keeps it."""
    return {"series_number": number, "code": code, "images": 32, "step_mm": None, "kernel": "", "weights": {}} | fields


def test_the_choice_names_the_series_used_and_why_every_other_was_not() -> None:
    text = selection_text(
        {
            "selection": [
                series(4, "used", step_mm=5.0, kernel="H30s"),
                series(3, "not_preferred", weights={"bone kernel": -0.5}),
                series(5, "not_preferred", weights={"soft kernel": 0.0, "slice step": -0.2}),
                series(1, "localizer_only", images=1),
                series(None, "other_modality"),
            ]
        }
    )
    assert text is not None
    assert text.en == (
        "used series 4 (5 mm, H30s, 32 images); series 3 skipped: bone kernel; "
        "series 5 skipped: another series fits better; series 1 skipped: scout images only; "
        "a series without a number skipped: another kind of image"
    )
    assert text.vi == (
        "dùng chuỗi 4 (5 mm, H30s, 32 ảnh); bỏ qua chuỗi 3: tái tạo xương; bỏ qua chuỗi 5: chuỗi khác phù hợp hơn; "
        "bỏ qua chuỗi 1: chỉ có ảnh định vị; bỏ qua chuỗi không số: loại máy khác"
    )


def test_marks_are_said_and_their_absence_is_not() -> None:
    text = marks_text({"marks": ["age_unknown", "lossy_high"]})
    assert text is not None
    assert text.en == "the patient's age is not stated; degraded input: strong lossy compression"
    assert marks_text({"marks": []}) is None


def test_a_result_of_an_earlier_release_tells_of_no_choice() -> None:
    assert selection_text({"model": "x"}) is None
    assert marks_text({"model": "x"}) is None
