from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from roi.access import KnownPeers
from storage.catalog import peers
from storage.catalog.peers import Peer
from storage.database import Database
from storage.records import OnConflict, Origin
from tests import builders

REFUSE, WARN, ACCEPT = OnConflict.REFUSE, OnConflict.WARN, OnConflict.ACCEPT


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    archive = builders.archive(tmp_path)
    with archive.database.write() as tx:
        for aet, host, said in (("A", "127.0.0.1", WARN), ("B", "127.0.0.1", ACCEPT), ("C", "127.0.0.2", ACCEPT)):
            peers.add(tx, Peer(aet=aet, host=host, on_conflict=said), now=builders.START)
    yield archive.database
    archive.close()


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (Origin(via="dimse", calling_aet="B", address="127.0.0.1"), ACCEPT),
        (Origin(via="dimse", calling_aet="D", address="127.0.0.1"), REFUSE),
        (Origin(via="stow", address="127.0.0.1"), WARN),
        (Origin(via="stow", address="127.0.0.2"), ACCEPT),
        (Origin(via="stow", address="127.0.0.3"), REFUSE),
    ],
)
def test_a_sender_hears_of_conflicts_by_its_title_or_on_the_web_by_its_address(  # W-24
    database: Database, origin: Origin, said: OnConflict
) -> None:
    assert KnownPeers(database).on_conflict(origin) is said
