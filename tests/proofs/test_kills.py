"""Kill -9 at any moment, a few times; `python -m tests.proofs.kills` does it as often as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proofs.kills import prove, running
from tests.servers import minio, postgres, redis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_ten_kills_of_the_embedded_set_up_lose_and_double_nothing(tmp_path: Path) -> None:
    with running("embedded", tmp_path, "redis") as topology:
        ledger, kills = prove(topology, tmp_path, kills=10, seed=1, heads=1, on_kill=lambda _kill: None)
    assert ledger.violations == []
    assert len(kills) == 10
    assert ledger.figures["files acknowledged"] == ledger.figures["files made"] > 0


@pytest.mark.servers
def test_four_kills_of_roles_apart_and_their_servers_lose_and_double_nothing(tmp_path: Path) -> None:
    for server in (postgres, minio, redis):
        if reason := server.available():
            pytest.skip(reason)
    with running("distributed", tmp_path, "redis") as topology:
        ledger, kills = prove(topology, tmp_path, kills=4, seed=1, heads=1, on_kill=lambda _kill: None)
    assert ledger.violations == []
    assert len(kills) == 4
    assert ledger.figures["files acknowledged"] == ledger.figures["files made"] > 0
