"""What a sender hears of a copy in quarantine is set for each peer, and changes while the gateway runs (D-24)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roi import compose
from roi.cli import app
from roi.settings import Settings
from storage.catalog import quarantine
from tests.raw_scu import CT, EXPLICIT, RawScu, c_store, context
from tests.unit.pacs_gateway.datasets import data_set


def _sent(port: int, pixels: bytes, calling: bytes) -> tuple[int, str]:
    with RawScu(port) as scu:
        scu.associate(context(1, CT, EXPLICIT), calling=calling)
        answer = scu.store(1, c_store(CT, "1.5"), data_set({"SOPInstanceUID": b"1.5", "PixelData": pixels}))
    return answer.status, answer.comment


def _peers(data: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["peers", *words, "--data", str(data)])
    return done.stdout if done.exception is None else str(done.exception)


def test_a_peer_hears_what_was_set_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roi.access._FRESH_S", 0.0)
    settings = Settings(data=tmp_path / "data", dicom_port=0)
    with compose.gateway(settings) as gateway:
        assert _sent(gateway.port, b"first", b"CT1")[0] == 0x0000
        heard = [_sent(gateway.port, b"other", b"CT1")[0]]
        for wish in ("warn", "accept", "refuse"):
            _peers(settings.data, "add", "CT1", "127.0.0.1", "--on-conflict", wish)
            assert wish in _peers(settings.data, "list")
            heard.append(_sent(gateway.port, b"other", b"CT1")[0])
            assert _sent(gateway.port, b"other", b"CT2")[0] == 0x0111  # not listed
        _peers(settings.data, "add", "CT1", "127.0.0.1", "--on-conflict", "accept")
        _peers(settings.data, "add", "CT1", "127.0.0.1")  # says nothing of it, changes nothing
        heard.append(_sent(gateway.port, b"third", b"CT1")[0])
    assert heard == [0x0111, 0xB000, 0x0000, 0x0111, 0x0000]
    with closing(compose.open_archive(settings)) as archive, archive.database.read() as tx:
        assert [each.calling_aet for each in quarantine.listed(tx, waiting=True)] == ["CT1", "CT1"]


def test_an_unknown_wish_is_refused_in_words(tmp_path: Path) -> None:
    assert "refuse, warn, accept" in _peers(tmp_path / "data", "add", "CT1", "h", "--on-conflict", "ignore")
