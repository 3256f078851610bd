"""A power cut takes nothing that was acknowledged; and the script that says so notices when it does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.proofs.powercut import cut, violations

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_acknowledged_survives_a_power_cut_and_no_object_is_half_there(tmp_path: Path, seed: int) -> None:
    after = cut(tmp_path, random.Random(seed), associations=3, slices=40)
    assert after.acknowledged
    assert violations(after) == []


def test_a_store_that_did_not_sync_its_objects_is_caught(tmp_path: Path) -> None:
    after = cut(tmp_path, random.Random(3), associations=3, slices=40, synced=False)
    assert after.lost
    found = violations(after)
    assert any("lost" in line or "other bytes" in line for line in found)
    assert any("not a whole object" in line for line in found)
