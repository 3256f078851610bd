"""What the worklist page says, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.words import Text

PAGE: Final[Mapping[str, Text]] = {
    "title": Text(vi="Danh sách ca chụp", en="Reading worklist"),
    "subtitle": Text(vi="theo thứ tự cần đọc", en="in the order to read"),
    "skip": Text(vi="Đến danh sách", en="Skip to the list"),
    "other_language": Text(vi="English", en="Tiếng Việt"),
    "ribbon": Text(vi="Cảnh báo", en="Caution"),
    "as_of": Text(vi="Lúc", en="As of"),
    "zone": Text(vi="giờ Việt Nam", en="Viet Nam time"),
    "total": Text(vi="ca chụp", en="studies"),
    "changed": Text(vi="Danh sách đã thay đổi. Tải lại", en="The list has changed. Reload"),
    "empty": Text(
        vi="Chưa có ca chụp nào. Gửi ảnh DICOM đến cổng nhận để bắt đầu.",
        en="No studies yet. Send DICOM images to the gateway to begin.",
    ),
    "caption": Text(
        vi="Ca chụp xếp theo thứ tự cần đọc; AI chỉ có thể đưa một ca lên, không bao giờ đẩy xuống.",
        en="Studies in the order to read them; AI may only raise a study, never lower it.",
    ),
    "place": Text(vi="Thứ tự", en="Place"),
    "urgency": Text(vi="Mức khẩn", en="Urgency"),
    "wait": Text(vi="Đã chờ / hạn", en="Waited / target"),
    "patient": Text(vi="Người bệnh", en="Patient"),
    "study": Text(vi="Ca chụp", en="Study"),
    "ai": Text(vi="AI gợi ý (không phải chẩn đoán)", en="AI suggestion (not a diagnosis)"),
    "priority": Text(vi="Chỉ định", en="Order"),
    "reason": Text(vi="Vì sao ở vị trí này", en="Why it stands here"),
    "of_target": Text(vi="hạn", en="target"),
    "late": Text(vi="quá hạn", en="overdue"),
    "not_ready": Text(vi="chưa đủ ảnh", en="not complete"),
    "min": Text(vi="phút", en="min"),
    "hours_minutes": Text(vi="{hours} giờ {minutes} phút", en="{hours} h {minutes} min"),
    "days_hours": Text(vi="{days} ngày {hours} giờ", en="{days} d {hours} h"),
    "counts": Text(vi="{series} chuỗi · {images} ảnh", en="{series} series · {images} images"),
    "received": Text(vi="nhận", en="received"),
    "revision": Text(vi="lần nhận", en="revision"),
    "score": Text(vi="điểm", en="score"),
    "threshold": Text(vi="ngưỡng", en="threshold"),
    "below": Text(vi="Dưới ngưỡng", en="Below threshold"),
    "cause": Text(vi="mã lý do", en="reason code"),
    "superseded": Text(vi="gợi ý cũ đã được thay thế", en="earlier suggestions superseded"),
    "outdated": Text(vi="kết quả của lần nhận {revision}", en="result of revision {revision}"),
    "no_order": Text(vi="không ghi", en="none given"),
    "set_by": Text(vi="đặt bởi", en="set by"),
    "id": Text(vi="Mã", en="ID"),
    "accession": Text(vi="Số phiếu", en="Accession"),
    "no_name": Text(vi="(không có tên)", en="(no name)"),
    "no_id": Text(vi="không có", en="none"),
    "no_description": Text(vi="(không có mô tả)", en="(no description)"),
    "male": Text(vi="nam", en="male"),
    "female": Text(vi="nữ", en="female"),
    "sex_other": Text(vi="giới khác", en="other sex"),
    "sex_unknown": Text(vi="không rõ giới", en="sex unknown"),
    "age_unknown": Text(vi="không rõ tuổi", en="age unknown"),
    "age_years": Text(vi="{count} tuổi", en="{count} y"),
    "age_months": Text(vi="{count} tháng", en="{count} mo"),
    "age_days": Text(vi="{count} ngày tuổi", en="{count} days old"),
    "previous": Text(vi="Trang trước", en="Previous page"),
    "next": Text(vi="Trang sau", en="Next page"),
    "page": Text(vi="Trang", en="Page"),
}
