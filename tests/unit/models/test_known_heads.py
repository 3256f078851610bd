"""No drawn head that the tests, the demo or the benchmarks send is refused as one that the model does not know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from inference.gates import check_input
from models import registry
from models.contract import Volume
from models.reference.cases import head_volume, standard_positions
from models.reference.good_heads import KINDS, draw_good_head
from models.reference.head import draw_head, make_plain
from models.reference.recipes import HEAD_CT

pytest.importorskip("torch", reason="running a network needs the extra `ai`")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PLAIN = (40, 41, 42, 43, 77, 0, 2)
"""Bleeding plainly: acceptance, browser, proofs, first image, time to flag."""
BLEEDING, NORMAL = (1, 4, 6), (0, 1, 4, 3, 5, 6, 41, 801, 802, 821)
"""Demo, acceptance, conformance and browser."""
PROGRESSIVE = range(7000, 7004)
"""Benchmark of provisional flags."""
PARTS = (12, 16, 24)


def _head(
    seed: int, *, bleeds: bool, plain: bool = False, slices: int = 32, step_mm: float = 5.0, tilt_deg: float = 0.0
) -> Volume:
    scene = draw_head(seed, haemorrhage=bleeds)
    scene = make_plain(scene) if plain else scene
    return head_volume(scene, standard_positions(slices, step_mm), step_mm=step_mm, tilt_deg=tilt_deg)


def _parts(head: Volume, *counts: int) -> Iterator[Volume]:
    """What there is of a head while it arrives, from the feet and from the head."""
    for count in counts:
        for part in (slice(0, count), slice(-count, None)):
            yield replace(head, voxels=head.voxels[part], instance_uids=head.instance_uids[part])


def _sent(what: str) -> Iterator[Volume]:
    if what == "plainly bleeding":
        yield from (_head(seed, bleeds=True, plain=True) for seed in PLAIN)
        yield _head(40, bleeds=True, plain=True, slices=16)
    elif what == "bleeding and normal":
        yield from (_head(seed, bleeds=True) for seed in BLEEDING)
        yield from (_head(seed, bleeds=False, slices=slices) for seed in NORMAL for slices in (20, 32))
    elif what == "arriving":
        for seed in PLAIN[:4]:
            yield from _parts(_head(seed, bleeds=True, plain=True), *PARTS)
        for seed in PROGRESSIVE:
            yield from _parts(_head(seed, bleeds=seed < 7003, slices=64, step_mm=2.5), *PARTS, 32, 64)
    elif what == "thin":
        head = _head(40, bleeds=True, plain=True, slices=300, step_mm=0.6)
        yield from (head, *_parts(head, *PARTS, 60, 100))
    elif what == "tilted":
        yield from (
            _head(seed, bleeds=True, tilt_deg=tilt_deg) for seed in (*BLEEDING, 801, 821) for tilt_deg in (15.0, -15.0)
        )
    else:
        yield from (draw_good_head(9_900_000 + at).volume() for at in range(len(KINDS)))


@pytest.mark.parametrize(
    "what", ["plainly bleeding", "bleeding and normal", "arriving", "thin", "tilted", "of every kind"]
)
def test_no_head_that_is_sent_anywhere_here_is_refused(what: str) -> None:
    model = registry.load(registry.card(HEAD_CT.name), "cpu")
    heads = list(_sent(what))
    distances = [model.predict(head).distance for head in heads]
    assert len(distances) >= len(KINDS)
    assert max(distances) <= model.card.known_inputs.threshold


def test_the_gates_before_let_heads_of_every_kind_pass() -> None:
    rules = registry.card(HEAD_CT.name).input_rules
    for head in (draw_good_head(9_900_000 + at).volume() for at in range(len(KINDS))):
        check_input(head, rules)
