"""A command of ours is kept running behind the worker while there is need of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from roi import behind
from roi.behind import Keeper
from roi.compose import open_database
from roi.settings import Settings
from storage.archive import utc_now
from storage.database import Database, Transaction
from storage.turn import turn_at


class Need:
    """One that is there, and stays as it is told to."""

    def __init__(self, *, waits: bool = True, leaves: bool = False) -> None:
        self._waits = waits
        self._leaves = leaves

    def waits(self, tx: Transaction) -> bool:
        return self._waits

    def ended(self, tx: Transaction) -> bool:
        return self._leaves


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with closing(open_database(settings)) as made:
        yield made


@pytest.mark.parametrize(
    ("ends_well", "leaves", "rests"),
    [(True, False, []), (True, True, [behind._REST_S]), (False, False, [behind._REST_S])],
)
def test_what_failed_or_left_something_undone_rests_before_it_is_started_again(
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    ends_well: bool,
    leaves: bool,
    rests: list[float],
) -> None:
    keeper = Keeper(settings, database, "extract", "extract", Need(leaves=leaves))
    started, rested = [], list[float]()
    monkeypatch.setattr(behind, "run_behind", lambda _settings, command, _loop: started.append(command) or ends_well)
    monkeypatch.setattr(keeper.loop, "wait", rested.append)
    keeper.step()
    assert (started, rested) == (["extract"], rests)


def test_nobody_is_started_without_need_or_beside_another(settings: Settings, database: Database) -> None:
    assert not Keeper(settings, database, "extract", "extract", Need(waits=False)).is_wanted()
    keeper = Keeper(settings, database, "extract", "extract", Need())
    assert keeper.is_wanted()
    with turn_at(database, "extract", clock=utc_now):
        assert not keeper.is_wanted()
