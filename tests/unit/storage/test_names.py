"""Names are found however a reader types them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.names import fold


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("Nguyễn^Thị Đào", "NGUYEN THI DAO"),
        ("ĐẶNG^VĂN  ĐỨC", "DANG VAN DUC"),
        ("đỗ^quỳnh", "DO QUYNH"),
        ("Yamada^Tarou=山田^太郎", "YAMADA TAROU=山田 太郎"),
        ("", ""),
    ],
)
def test_accents_case_and_carets_do_not_matter(name: str, folded: str) -> None:
    assert fold(name) == folded


@given(st.text())
def test_composed_and_decomposed_letters_fold_alike(name: str) -> None:
    assert fold(unicodedata.normalize("NFC", name)) == fold(unicodedata.normalize("NFD", name))


@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P"))))
def test_folding_twice_changes_nothing(name: str) -> None:
    assert fold(fold(name)) == fold(name)
