"""What the API's closed vocabularies are called in Vietnamese and English."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from storage.records import Coverage, OrderPriority, StudyState

Language = Literal["vi", "en"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One thing said in both languages."""

    vi: str
    en: str

    def __getitem__(self, language: Language) -> str:
        return self.vi if language == "vi" else self.en


COVERAGE: Final = {
    Coverage.NO_MODEL_APPLIES: Text(vi="chưa phân tích: không có mô hình phù hợp", en="not analysed: no model applies"),
    Coverage.OPTED_OUT: Text(vi="chưa phân tích: đã từ chối AI", en="not analysed: opted out of AI"),
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
SUPERSEDED: Final = Text(vi="kết quả của lần nhận trước", en="result of an earlier revision")
IDENTITY_CONFLICT: Final = Text(
    vi="Mâu thuẫn danh tính: ảnh mang nhiều người bệnh, cần đối chiếu",
    en="Identity conflict: images name more than one patient, to be reconciled",
)
