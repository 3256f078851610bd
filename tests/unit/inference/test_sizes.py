"""How large a job is, from what the catalogue holds of its study."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from inference.completion import close_quiet
from inference.sizes import MOST_BYTES, MOST_IMAGES
from storage import schema
from storage.catalog import studies
from storage.records import InstanceUid, SeriesUid
from tests.builders import DX, Clock, archive, card, header, keep

CARDS = [card("head"), card("chest", kind="radiograph")]


def _film(number: int):
    return header(
        number,
        sop_class_uid=DX,
        modality="DX",
        series_instance_uid=SeriesUid("2.25.1.2"),
        sop_instance_uid=InstanceUid(f"2.25.1.2.{number}"),
        image_position_patient=None,
    )


@pytest.mark.parametrize(
    ("slices", "films", "film_bytes", "sizes"),
    [
        (MOST_IMAGES, 1, 1000, {"head": "small", "chest": "small"}),
        (MOST_IMAGES + 1, 1, 1000, {"head": "large", "chest": "small"}),
        (MOST_IMAGES, 2, MOST_BYTES // 2 + 1, {"head": "small", "chest": "small"}),
        (MOST_IMAGES, 1, MOST_BYTES + 1, {"head": "small", "chest": "large"}),
    ],
)
def test_a_job_is_as_large_as_what_its_model_reads_of_the_study(
    tmp_path: Path, slices: int, films: int, film_bytes: int, sizes: dict[str, str]
) -> None:
    clock = Clock()
    kept = archive(tmp_path, clock)
    for number in range(1, slices + 1):
        keep(kept, header(number))
    for number in range(1, films + 1):
        keep(kept, _film(number))
    with kept.database.write() as tx:
        of_films = sa.update(schema.instances).where(schema.instances.c.sop_class_uid == DX)
        tx.execute(of_films.values(size_bytes=film_bytes))
        assert studies.most_instances_receiving(tx) == slices + films
    clock.go(60)
    close_quiet(kept.database, CARDS, now=clock.now, seen={})
    with kept.database.read() as tx:
        assert {row.model_id: row.size for row in tx.execute(sa.select(schema.jobs))} == sizes
        assert studies.most_instances_receiving(tx) == 0
