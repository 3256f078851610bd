"""What the API's closed vocabularies are called in Vietnamese and English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from storage.catalog.refusals import Refusal
from storage.records import Coverage, OrderPriority, StudyState

Language = Literal["vi", "en"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One thing said in both languages."""

    vi: str
    en: str

    @classmethod
    def alike(cls, text: str) -> Text:
        """Return what reads the same in both: a code that nobody has put into words."""
        return cls(vi=text, en=text)

    def __getitem__(self, language: Language) -> str:
        return self.vi if language == "vi" else self.en

    def filled(self, **values: object) -> Text:
        """Return the same with values in its places; a text among them goes in by its language."""
        vi = {name: value.vi if isinstance(value, Text) else value for name, value in values.items()}
        en = {name: value.en if isinstance(value, Text) else value for name, value in values.items()}
        return Text(vi=self.vi.format(**vi), en=self.en.format(**en))

    def both(self) -> dict[str, str]:
        """Return it as the API tells it, by language."""
        return {"vi": self.vi, "en": self.en}


COVERAGE: Final = {
    Coverage.NO_MODEL_APPLIES: Text(vi="chưa phân tích: không có mô hình phù hợp", en="not analysed: no model applies"),
    Coverage.OPTED_OUT: Text(vi="Không phân tích AI", en="not analysed: no AI here, by decision"),
    Coverage.WAITING: Text(vi="chưa phân tích: đang chờ AI", en="not analysed yet: waiting for AI"),
    Coverage.RUNNING: Text(vi="chưa phân tích xong: AI đang chạy", en="not analysed yet: AI is running"),
    Coverage.ANALYSED: Text(vi="AI đã phân tích", en="analysed by AI"),
    Coverage.NOT_SUITABLE: Text(vi="chưa phân tích: ảnh không phù hợp", en="not analysed: images not suitable"),
    Coverage.FAILED: Text(vi="chưa phân tích: AI bị lỗi", en="not analysed: AI failed"),
}

# Of a triaged study the coverage tells what the models made of it: "triaged" alone would cover a failure.
STATES: Final = {
    StudyState.RECEIVING: Text(vi="đang nhận ảnh", en="receiving"),
    StudyState.COMPLETE: Text(vi="đã đủ ảnh", en="complete"),
    StudyState.TRIAGED: Text(vi="đã đủ ảnh", en="complete"),
}

PRIORITIES: Final = {
    OrderPriority.STAT: Text(vi="cấp cứu", en="STAT"),
    OrderPriority.URGENT: Text(vi="khẩn", en="urgent"),
    OrderPriority.ROUTINE: Text(vi="thường quy", en="routine"),
}

URGENCIES: Final = {
    "critical": Text(vi="Đọc ngay", en="Read now"),
    "urgent": Text(vi="Đọc sớm", en="Read soon"),
    "routine": Text(vi="Thường quy", en="Routine"),
}
"""How soon a row wants a reader, whoever asked for it."""

NO_FINDING: Final = Text(
    vi="AI không gợi ý dấu hiệu (không có nghĩa là bình thường)", en="nothing suggested by AI (does not mean normal)"
)
SHADOW: Final = Text(vi="chạy thử, không đổi thứ tự", en="shadow: does not move the list")
RETRACTED: Final = Text(vi="Kết quả AI đã thu hồi, không dùng", en="AI result retracted: do not use")
RESEARCH: Final = Text(vi="Chỉ dùng cho nghiên cứu.", en="For research use only.")
"""Goes before the label of a model that the site enabled on a signed research statement."""
PROVISIONAL: Final = Text(
    vi="tạm thời, trên {slices} lát đầu nhận được", en="provisional, on the first {slices} slices received"
)
IDENTITY_CONFLICT: Final = Text(
    vi="Mâu thuẫn danh tính: ảnh mang nhiều người bệnh, cần đối chiếu",
    en="Identity conflict: images name more than one patient, to be reconciled",
)
VIEWER_MISSING: Final = Text(
    vi="Chưa cài trình xem ảnh; hãy chạy roi viewer fetch.", en="The viewer is not installed; run roi viewer fetch."
)

REASONS: Final = {
    "no_eligible_series": Text(vi="không có chuỗi ảnh phù hợp", en="no series fits"),
    "localizer_only": Text(vi="chỉ có ảnh định vị", en="scout images only"),
    "derived": Text(vi="ảnh tái tạo, không phải lát gốc", en="a projection or reformat, not original slices"),
    "multi_frame": Text(vi="ảnh nhiều khung", en="a multi-frame object"),
    "too_few_slices": Text(vi="quá ít lát cắt", en="too few slices"),
    "too_many_slices": Text(vi="quá nhiều lát cắt", en="too many slices"),
    "slice_step": Text(vi="khoảng cách lát không phù hợp", en="slice distance out of range"),
    "coverage": Text(vi="vùng chụp quá ngắn hoặc quá dài", en="covers too little or too much"),
    "no_geometry": Text(vi="thiếu vị trí hoặc hướng lát cắt", en="slice position or orientation missing"),
    "mixed_orientation": Text(vi="các lát khác hướng nhau", en="slices of different orientations"),
    "mixed_series": Text(vi="chuỗi ảnh trộn nhiều loại lát cắt", en="a series of several kinds of slices"),
    "mixed_matrix": Text(vi="các lát khác kích thước", en="slices of different sizes"),
    "not_axial": Text(vi="không phải lát cắt ngang", en="slices are not axial"),
    "duplicate_positions": Text(vi="hai lát ở cùng vị trí", en="two slices at one place"),
    "geometry_gap": Text(vi="thiếu lát cắt", en="slices are missing"),
    "tilt_3d": Text(
        vi="giàn quay nghiêng, mô hình cần khối thẳng", en="tilted gantry, the model needs an upright block"
    ),
    "contrast": Text(vi="có tiêm thuốc cản quang", en="contrast medium was given"),
    "hu_implausible": Text(vi="giá trị không phải đơn vị Hounsfield", en="values are not Hounsfield units"),
    "not_finite": Text(vi="giá trị điểm ảnh không hợp lệ", en="pixel values are no numbers"),
    "flat_image": Text(vi="ảnh chỉ có một mức xám", en="image of one shade"),
    "not_grayscale": Text(vi="ảnh màu", en="a colour image"),
    "for_processing": Text(vi="dữ liệu thô của đầu thu", en="raw detector data"),
    "view_lateral": Text(vi="phim nghiêng", en="a lateral view"),
    "view_unknown": Text(vi="không rõ tư thế chụp", en="view not stated"),
    "age_out_of_range": Text(vi="Không áp dụng cho tuổi này", en="not for a patient of this age"),
    "burned_in": Text(vi="điểm số phụ thuộc chữ in trên ảnh", en="the score hangs on text burned into the image"),
    "ood": Text(vi="ảnh khác lạ so với ảnh mà mô hình đã học", en="unlike what the model was made for"),
    "other_body_part": Text(vi="bộ phận khác", en="another body part"),
    "not_human": Text(vi="ảnh thú y", en="a veterinary image"),
    "decode_error": Text(vi="không đọc được ảnh", en="images cannot be read"),
    "score_implausible": Text(vi="mô hình trả kết quả không hợp lệ", en="the model's answer was no score"),
    "model_error": Text(vi="mô hình gặp lỗi", en="the model raised an error"),
    "timeout": Text(vi="mô hình quá thời gian", en="the model took too long"),
    "process_died": Text(vi="tiến trình AI dừng đột ngột", en="the AI process died"),
    "object_damaged": Text(vi="dữ liệu lưu trữ bị hỏng hoặc mất", en="the kept data are damaged or missing"),
    "memory": Text(vi="hết bộ nhớ", en="out of memory"),
    "weights": Text(vi="thiếu hoặc hỏng tệp trọng số", en="weights missing or damaged"),
}
"""Reason codes of runs that gave no answer; one that is not listed is shown as it is."""

UNASKED: Final[Mapping[str, Text]] = {
    Refusal.PERSON: Text(vi="người bệnh từ chối AI", en="the patient opted out of AI"),
    Refusal.STOPPED: Text(vi="mô hình đang dừng", en="the model is stopped"),
    Refusal.RETIRED: Text(vi="mô hình đã ngừng dùng", en="the model is retired"),
}
"""Why a model was not asked."""

MARKS: Final = {
    "lossy_high": Text(vi="ảnh nén mất dữ liệu nhiều", en="degraded input: strong lossy compression"),
    "slice_filled": Text(vi="một lát thiếu được nội suy", en="one missing slice filled from its neighbours"),
    "slices_resent": Text(vi="có lát gửi lại, chỉ tính một lần", en="slices that came twice count once"),
    "age_unknown": Text(vi="không rõ tuổi người bệnh", en="the patient's age is not stated"),
    "view_from_pixels": Text(vi="tư thế suy từ hình ảnh", en="view taken from the pixels"),
    "turned_upright": Text(vi="ảnh được xoay thẳng", en="the image was turned upright"),
    "contrast_uncertain": Text(
        vi="có thể đã tiêm thuốc cản quang: mạch máu sáng",
        en="contrast medium may have been given: bright vessels",
    ),
}
"""What a reader should know of an input that was used all the same."""

FLAG_RATE_HIGH: Final = Text(
    vi="Tỷ lệ cảnh báo quá cao ({flagged}/{waiting} ca đang chờ lúc phát hiện): AI tạm thời không đổi thứ tự. "
    "Danh sách xếp theo chỉ định và người đọc.",
    en="Flag rate high ({flagged} of {waiting} waiting studies when noticed): AI does not move the list for now. "
    "It stands by order and by what people asked for.",
)
CLASSES: Final = {
    "STAT": Text(vi="Cấp cứu (chỉ định hoặc người đặt)", en="STAT (order or person)"),
    "URGENT": Text(vi="Khẩn (chỉ định hoặc người đặt)", en="Urgent (order or person)"),
    "ROUTINE": Text(vi="Thường quy", en="Routine"),
    "ai-critical": Text(vi="AI: dấu hiệu nguy kịch", en="AI: critical finding"),
    "ai-urgent": Text(vi="AI: dấu hiệu khẩn", en="AI: urgent finding"),
}
"""What classes of urgency are called where targets are set."""
GUARANTEE: Final = Text(
    vi="“{behind}” không bao giờ bị “{ahead}” vượt nếu ca kia đủ ảnh muộn hơn quá {minutes} phút.",
    en="“{behind}” is never overtaken by “{ahead}” that became ready more than {minutes} min later.",
)
