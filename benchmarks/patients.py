"""Studies of nobody, as many as one likes, with names and dates as a Vietnamese hospital has them.

The same number always gives the same study.  How often a family name occurs, in which order a sender writes a name
and with or without accents, how many studies a patient has and which modalities come together: all of it is near
enough to the real thing for an index to behave as it would there.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

FIRST_DAY: Final = date(2023, 11, 1)
DAYS: Final = 3 * 365
STUDIES_A_PATIENT: Final = 3

_FAMILIES: Final = (
    ("Nguyễn", 38.0), ("Trần", 11.0), ("Lê", 9.5), ("Phạm", 7.1), ("Huỳnh", 5.1), ("Phan", 4.5), ("Vũ", 3.9),
    ("Đặng", 2.1), ("Bùi", 2.0), ("Đỗ", 1.4), ("Hồ", 1.3), ("Ngô", 1.3), ("Dương", 1.0), ("Lý", 0.5), ("Đinh", 0.8),
    ("Mai", 0.6), ("Trịnh", 0.6), ("Đoàn", 0.5), ("Tôn Nữ", 0.2), ("Y Blô", 0.1), ("H'Hen", 0.1), ("Ksor", 0.1),
)  # fmt: skip
_MIDDLES: Final = (
    "Văn", "Thị", "Thị", "Văn", "Đức", "Minh", "Ngọc", "Hữu", "Xuân", "Thanh", "Quang", "Kim", "Hồng", "Thu", "Thuý",
    "Gia", "Bảo", "Công", "Đình", "Thị Minh", "Thị Ngọc", "Văn Quốc",
)  # fmt: skip
_GIVENS: Final = (
    "An", "Ánh", "Bình", "Châu", "Cường", "Diễm", "Duy", "Dũng", "Đào", "Đạt", "Đức", "Giang", "Hà", "Hải", "Hạnh",
    "Hiếu", "Hoà", "Hùng", "Hương", "Khai", "Khánh", "Lan", "Linh", "Long", "Mai", "Nam", "Nga", "Ngân", "Nhung",
    "Oanh", "Phong", "Phúc", "Phương", "Quân", "Quỳnh", "Sơn", "Thảo", "Thắng", "Thu", "Trang", "Trung", "Tuấn",
    "Tuyết", "Uyên", "Vinh", "Vy", "Xuân", "Ý", "Yến", "Ỷ",
)  # fmt: skip
_MODALITIES: Final = (
    ("DX", 40.0), ("CT", 20.0), ("US", 15.0), ("MR", 8.0), ("CR", 6.0), ("CT\\SR", 3.0), ("MG", 2.0), ("ES", 2.0),
    ("DX\\SR", 1.5), ("XA", 1.0), ("MR\\PR", 0.6), ("CT\\PR\\SR", 0.4), ("NM", 0.3), ("CT\\PT", 0.1), ("RTDOSE", 0.05),
    ("RTPLAN\\RTSTRUCT", 0.05),
)  # fmt: skip
_DESCRIPTIONS: Final = {
    "DX": "X-QUANG NGỰC THẲNG", "CR": "X-QUANG CỘT SỐNG", "CT": "CT SỌ NÃO KHÔNG TIÊM", "US": "SIÊU ÂM Ổ BỤNG",
    "MR": "MRI CỘT SỐNG THẮT LƯNG", "MG": "NHŨ ẢNH HAI BÊN", "ES": "NỘI SOI DẠ DÀY", "XA": "CHỤP MẠCH VÀNH",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """What is told of a study."""

    number: int
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str
    study_date: str
    study_time: str
    accession_number: str
    study_description: str
    referring_physician_name: str
    modalities: tuple[str, ...]


def listed(count: int) -> Iterator[Listed]:
    """Return studies 0 to `count`."""
    for number in range(count):
        yield nth(number)


def nth(number: int) -> Listed:
    """Return one of them."""
    rng = random.Random(number)
    person = random.Random(f"patient {number // STUDIES_A_PATIENT}")
    modalities = tuple(_pick(rng, _MODALITIES).split("\\"))
    words = (_pick(person, _FAMILIES), person.choice(_MIDDLES), person.choice(_GIVENS))
    born = date(1930, 1, 1) + timedelta(days=person.randrange(90 * 365))
    day = FIRST_DAY + timedelta(days=rng.randrange(DAYS))
    return Listed(
        number=number,
        study_instance_uid=_uid(number, "study"),
        series_instance_uid=_uid(number, "series"),
        patient_id=f"BN{100_000_000 + (number // STUDIES_A_PATIENT) * 7919 % 899_999_999}",
        patient_name=_written(words, person),
        patient_birth_date=f"{born:%Y%m%d}",
        patient_sex=person.choice("MF"),
        study_date=f"{day:%Y%m%d}",
        study_time=f"{rng.randrange(6, 22):02d}{rng.randrange(60):02d}{rng.randrange(60):02d}",
        accession_number=f"{day:%y}{modalities[0]}{number:08d}",
        study_description=_DESCRIPTIONS.get(modalities[0], ""),
        referring_physician_name=f"{_pick(rng, _FAMILIES)}^{rng.choice(_GIVENS)}",
        modalities=modalities,
    )


def _pick(rng: random.Random, weighted: tuple[tuple[str, float], ...]) -> str:
    values, weights = zip(*weighted, strict=True)
    [value] = rng.choices(values, weights)
    return str(value)


def _written(words: tuple[str, str, str], person: random.Random) -> str:
    """Write a name as one sender or another does."""
    family, middle, given = words
    style = person.randrange(4)
    if style == 0:
        return f"{family}^{given}^{middle}"
    if style == 1:
        return f"{family}^{middle} {given}"
    return f"{family} {middle} {given}".upper() if style == 2 else f"{family}^{middle}^{given}".upper()


def _uid(number: int, what: str) -> str:
    digest = hashlib.sha256(f"{what} {number}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
