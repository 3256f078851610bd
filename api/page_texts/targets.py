"""What the page says where targets are set, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.page_texts.every import EVERY_PAGE
from api.words import Text

PAGE: Final[Mapping[str, Text]] = {
    "title": EVERY_PAGE["targets"],
    "subtitle": Text(vi="ca nào cần đọc trong bao lâu", en="how soon each class is to be read"),
    "skip": Text(vi="Đến bảng hạn đọc", en="Skip to the targets"),
    "reader": Text(vi="Người đặt", en="Set by"),
    "who": Text(vi="Hãy ghi tên người đặt trước.", en="Say first who you are."),
    "caption": Text(
        vi="Số phút từ khi đủ ảnh đến khi đọc, theo mức khẩn. Cấp cứu do người đặt luôn đứng trước mọi ca.",
        en="Minutes from completion to reading, by class. A person's own STAT goes before everything.",
    ),
    "class": Text(vi="Mức khẩn", en="Class"),
    "minutes": Text(vi="Phút", en="Minutes"),
    "default": Text(vi="Mặc định", en="Default"),
    "set_by": Text(vi="Đặt bởi", en="Set by"),
    "set": Text(vi="Đặt hạn đọc", en="Set the targets"),
    "bounds": Text(
        vi="Cam kết: ca ở hàng không bao giờ bị ca ở cột vượt, nếu ca kia đủ ảnh muộn hơn quá chừng này phút. “–”: "
        "không bị vượt bởi ca đến sau.",
        en="Guarantee: a study of the row is never overtaken by one of the column that became ready later by more than "
        "so many minutes. “–”: by none that became ready later.",
    ),
    "waits": Text(vi="Ca chờ", en="Waits"),
    "moved": Text(
        vi="Đặt hạn sẽ xếp lại mọi ca đang chờ ngay lập tức và được ghi vào nhật ký.",
        en="Setting targets moves everything that waits at once, and is written into the audit.",
    ),
}
