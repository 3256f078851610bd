"""What the page of the models says, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.page_texts.every import EVERY_PAGE
from api.words import Text
from storage.catalog.deployments import Mode, Status

PAGE: Final[Mapping[str, Text]] = {
    "title": EVERY_PAGE["models"],
    "subtitle": Text(vi="vị trí của từng mô hình tại đơn vị", en="where each stands at this site"),
    "caption": Text(
        vi="Mô hình mới chỉ chạy thử cho đến khi một người có tên cho phép; mỗi bước đều được ghi lại.",
        en="A new model is a shadow until a named person enables it; every step is recorded.",
    ),
    "model": Text(vi="Mô hình", en="Model"),
    "status": Text(vi="Trạng thái", en="Status"),
    "decided": Text(vi="Người quyết định", en="Decided by"),
    "ground": Text(vi="Căn cứ", en="Permit"),
    "thresholds": Text(vi="Ngưỡng", en="Thresholds"),
    "check": Text(vi="Kiểm tra tại chỗ", en="Local check"),
    "moves": Text(vi="có thể đổi thứ tự đọc", en="may move the list"),
    "moves_not": Text(vi="không đổi thứ tự đọc", en="does not move the list"),
    "stopped": Text(vi="ĐANG DỪNG: {by}: {why}", en="STOPPED: {by}: {why}"),
    "ages": Text(vi="chỉ từ {years} tuổi", en="from {years} years on only"),
    "at_first": Text(vi="như khi cài đặt, chưa ai quyết định", en="as installed; nobody has decided yet"),
    "none": Text(vi="chưa có", en="none"),
    "phantoms": Text(vi="chỉ ảnh mô phỏng, không cần căn cứ", en="phantoms only: none needed"),
    "circulation": Text(vi="số lưu hành {number}", en="circulation number {number}"),
    "research": Text(vi="cam kết nghiên cứu, {by}, đến {until}", en="research statement, {by}, until {until}"),
    "card_point": Text(vi="{finding}: {threshold} (theo mô hình)", en="{finding}: {threshold} (the card's)"),
    "site_point": Text(vi="{finding}: {threshold} (của đơn vị)", en="{finding}: {threshold} (the site's)"),
    "checked": Text(vi="{at}, {by}: {passed}", en="{at}, {by}: {passed}"),
    "passed": Text(vi="đạt", en="passed"),
    "not_passed": Text(vi="không đạt", en="not passed"),
    "rates": Text(
        vi="độ nhạy {sensitivity}; độ đặc hiệu {specificity}; PPV {ppv}; {labelled} ca có nhãn",
        en="sensitivity {sensitivity}; specificity {specificity}; PPV {ppv}; {labelled} labelled",
    ),
}

STATUSES: Final = {
    Status.SHADOW: Text(vi="Chạy thử", en="Shadow"),
    Status.ENABLED: Text(vi="Đang dùng", en="Enabled"),
    Status.RETIRED: Text(vi="Ngừng dùng", en="Retired"),
}
MODES: Final = {
    Mode.CLINICAL: Text(vi="lâm sàng", en="clinical"),
    Mode.RESEARCH: Text(vi="chỉ dùng cho nghiên cứu", en="for research use only"),
    Mode.PHANTOM: Text(vi="chỉ ảnh mô phỏng", en="phantoms only"),
}
