"""What more than one page says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.words import Text

EVERY_PAGE: Final[Mapping[str, Text]] = {
    "other_language": Text(vi="English", en="Tiếng Việt"),
    "ribbon": Text(vi="Cảnh báo", en="Caution"),
    "as_of": Text(vi="Lúc", en="As of"),
    "zone": Text(vi="giờ Việt Nam", en="Viet Nam time"),
    "skip_to_list": Text(vi="Đến danh sách", en="Skip to the list"),
    "worklist": Text(vi="Danh sách ca chụp", en="Reading worklist"),
    "targets": Text(vi="Hạn đọc", en="Targets"),
    "models": Text(vi="Mô hình AI", en="AI models"),
    "no_model": Text(vi="Chưa cài mô hình nào.", en="No model is installed."),
    "refused": Text(vi="Chưa ghi nhận được: ", en="Not noted: "),
    "away": Text(vi="Máy chủ không trả lời; chưa ghi nhận.", en="The server does not answer; nothing was noted."),
}
"""Given to every page's template beside the page's own words."""
