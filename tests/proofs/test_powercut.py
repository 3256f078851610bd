"""A power cut takes nothing that was acknowledged; and the script that says so notices when it does."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from storage.sync import file_system
from tests.proofs.powercut import cut, violations

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_acknowledged_survives_a_power_cut_and_no_object_is_half_there(tmp_path: Path, seed: int) -> None:
    after = cut(tmp_path, random.Random(seed), associations=3, slices=40)
    assert after.acknowledged
    assert violations(after) == []


def test_a_store_that_relied_on_a_journal_it_did_not_sync_is_caught(tmp_path: Path) -> None:
    if file_system(tmp_path) not in {"ext4", "xfs"}:
        pytest.skip("no journal on this file system")
    after = cut(tmp_path, random.Random(3), associations=3, slices=40, settle_s=3600)
    assert after.lost
    shutil.rmtree(after.data / "store/journal")
    found = violations(after)
    assert any("lost" in line or "other bytes" in line for line in found)
    assert any("not a whole object" in line for line in found)
