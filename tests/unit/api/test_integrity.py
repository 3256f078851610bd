from __future__ import annotations

from fastapi.testclient import TestClient

from storage.archive import Archive
from storage.scrub import Manner, scrub
from tests import builders
from tests.unit.api.test_wado import damage


def test_what_a_scrub_found_is_told(client: TestClient, archive: Archive, clock: builders.Clock) -> None:
    assert client.get("/api/integrity").json() == {"under_way": None, "last": None, "damaged": [], "quarantined": 0}
    builders.keep(archive, builders.header())
    (key,) = archive.objects.keys()
    damage(archive, key)
    scrub(archive, Manner(rate_mb_s=0, clock=clock), actor="test")
    told = client.get("/api/integrity").json()
    assert (told["last"]["checked"], told["last"]["corrupt"], told["under_way"]) == (1, 1, None)
    (one,) = told["damaged"]
    assert (one["object_key"], one["damage"], one["sop_instance_uid"]) == (key, "corrupt", "2.25.1.1.1")
    assert client.get("/health/ready").status_code == 200
