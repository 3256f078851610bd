"""What the calculator's page says, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.words import Text

PAGE: Final[Mapping[str, Text]] = {
    "title": Text(vi="Ở đây AI sẽ thay đổi điều gì?", en="What would it do here?"),
    "subtitle": Text(
        vi="phút được và phút mất, trước khi bật mô hình", en="minutes gained and lost, before a model is on"
    ),
    "skip": Text(vi="Đến kết quả", en="Skip to the answer"),
    "intro": Text(
        vi="Cảnh báo của AI đưa một số ca lên trước, nên các ca khác phải chờ lâu hơn, nhất là ca bệnh bị bỏ sót. "
        "Trang này tính cả hai phía từ số liệu của chính nơi đọc.",
        en="What an AI flags is read earlier, so everybody else waits longer, above all the ill that it misses. "
        "This page works out both sides from the reading room's own numbers.",
    ),
    "model_group": Text(vi="Mô hình", en="The model"),
    "room_group": Text(vi="Phòng đọc", en="The reading room"),
    "card_group": Text(vi="Thay cho số trên phiếu mô hình", en="In place of what the model's card says"),
    "ask": Text(vi="Tính", en="Work it out"),
    "answer": Text(vi="Kết quả", en="The answer"),
    "wrong": Text(vi="Chưa tính được", en="Not worked out"),
    "model": Text(vi="Mô hình và dấu hiệu", en="Model and finding"),
    "range": Text(vi="từ {least} đến {most}", en="from {least} to {most}"),
    "shares": Text(
        vi="Trong số cảnh báo, {ppv} là đúng (PPV). Mỗi tuần {flags} cảnh báo, trong đó {false} nhầm; "
        "{missed} ca bệnh không được cảnh báo. Trong số ca không cảnh báo, {npv} không có dấu hiệu (NPV).",
        en="Of its flags {ppv} are right (PPV): {flags} a week, {false} of them false; {missed} ill a week without a "
        "flag. Of what it does not flag, {npv} is free of the finding (NPV).",
    ),
    "never": Text(vi="Với các số này mô hình không cảnh báo ca nào.", en="With these numbers the model flags nothing."),
    "load": Text(
        vi="{studies} ca mỗi tuần, {readers} người đọc, {minutes} phút một ca: {traffic} thời gian của họ. "
        "Ca được cảnh báo đến hạn sớm hơn {head} phút: không ca nào bị vượt bởi một ca đến sau quá chừng ấy.",
        en="{studies} studies a week, {readers} reader(s), {minutes} min a study: {traffic} of their time. "
        "Flagged studies are due {head} min earlier: nobody is overtaken by a study that came later by more than that.",
    ),
    "caption": Text(
        vi="Số phút chờ đến khi bắt đầu đọc: trung bình (bách phân vị 95)",
        en="Minutes until reading begins: mean (95th percentile)",
    ),
    "who": Text(vi="Ai chờ", en="Who waits"),
    "share": Text(vi="Tỷ lệ", en="Share"),
    "by_arrival": Text(vi="Theo giờ đến", en="By arrival"),
    "by_due": Text(vi="Theo hạn đọc", en="By due date"),
    "longest": Text(vi="Lâu nhất", en="Longest"),
    "change": Text(vi="Thay đổi", en="Change"),
    "sooner": Text(vi="sớm hơn {minutes} phút", en="{minutes} min sooner"),
    "later": Text(vi="muộn hơn {minutes} phút", en="{minutes} min later"),
    "same": Text(vi="như cũ", en="the same"),
    "interval": Text(vi="95 %: {low} đến {high}", en="95 %: {low} to {high}"),
    "steady": Text(
        vi="Về lý thuyết, nếu tải đều và ca cảnh báo luôn được đọc trước: ca bệnh được {gained} phút, "
        "các ca khác mất {lost} phút.",
        en="In theory, were the load steady and flags always first: {gained} min gained by the ill, {lost} min lost by "
        "others.",
    ),
    "limits": Text(
        vi="Người đọc đọc xong ca đang mở. Độ nhạy và độ đặc hiệu đo ở nơi khác có thể không đúng ở đây.",
        en="Readers finish the study in hand. Sensitivity and specificity measured elsewhere may not hold here.",
    ),
}

FIELDS: Final[Mapping[str, tuple[Text, Text]]] = {
    "prevalence": (
        Text(vi="Tỷ lệ có dấu hiệu, %", en="Share that has the finding, %"),
        Text(vi="trong các ca mà mô hình xem", en="of the studies that the model looks at"),
    ),
    "readers": (Text(vi="Số người đọc cùng lúc", en="Readers at a time"), Text(vi="", en="")),
    "reading_min": (Text(vi="Phút đọc một ca", en="Minutes for a study"), Text(vi="", en="")),
    "traffic": (
        Text(vi="Tải đều, % thời gian người đọc", en="Steady load, % of the readers' time"),
        Text(
            vi="để trống: theo giờ đến của kho này trong 8 tuần qua",
            en="left empty: as studies came to this archive in the last 8 weeks",
        ),
    ),
    "eligible": (
        Text(vi="Tỷ lệ ca mà mô hình xem, %", en="Share that the model looks at, %"),
        Text(vi="để trống: theo loại máy chụp", en="left empty: by modality"),
    ),
    "ai_min": (Text(vi="Phút đến khi có cảnh báo", en="Minutes until the flag is there"), Text(vi="", en="")),
    "sensitivity": (
        Text(vi="Độ nhạy, %", en="Sensitivity, %"),
        Text(vi="để trống: theo phiếu mô hình", en="left empty: the card's"),
    ),
    "specificity": (
        Text(vi="Độ đặc hiệu, %", en="Specificity, %"),
        Text(vi="để trống: theo phiếu mô hình", en="left empty: the card's"),
    ),
}
"""Of each number that is asked for: what it is called, and a hint."""

WHO_WAITS: Final[Mapping[str, Text]] = {
    "all": Text(vi="tất cả", en="all"),
    "ill": Text(vi="có tổn thương", en="with the finding"),
    "ill and flagged": Text(vi="được mô hình phát hiện", en="found by the model"),
    "ill and missed": Text(vi="bị mô hình bỏ sót", en="missed by the model"),
    "flagged by mistake": Text(vi="cảnh báo nhầm", en="flagged by mistake"),
    "all others": Text(vi="các ca còn lại", en="all others"),
}
"""The groups of `inference.expectation.GROUPS`, by name."""
PARTS_OF_THE_ILL: Final = frozenset({"ill and flagged", "ill and missed"})
"""Groups that stand below the one that they are part of."""

WRONG: Final[Mapping[str, Text]] = {
    "number": Text(vi="{name}: cần một số {range}.", en="{name}: a number {range}, please."),
    "model": Text(vi="Mô hình này không được cài ở đây.", en="This model is not installed here."),
    "too_many": Text(
        vi="Quá nhiều ca mỗi tuần cho một phòng đọc.", en="That is more studies a week than one reading room reads."
    ),
    "no_arrivals": Text(
        vi="Kho chưa có ca nào trong 8 tuần qua: hãy nhập tải đều.",
        en="No study came to this archive in the last 8 weeks: give a steady load.",
    ),
    "overload": Text(
        vi="Số ca đến nhiều hơn số ca đọc được: danh sách chỉ dài thêm, thứ tự nào cũng vậy.",
        en="More comes than these readers can read: the list only grows, whatever its order.",
    ),
    "busy": Text(
        vi="Máy tính đang bận với một câu hỏi khác: xin thử lại sau vài giây.",
        en="Another question is being worked out: try again in a few seconds.",
    ),
    "lost": Text(vi="Câu hỏi này tốn quá nhiều thời gian.", en="This question takes too much time."),
}
"""Why there is no answer."""
