"""The phantoms a model is judged on, fixed before it is trained: ``python -m models.reference.held_out``.

`held_out.json` holds the generators' parameters and a digest over every number drawn for every held-out phantom.  A
changed generator, range, rate or seed changes a digest, and a test fails.  Pixels follow from those numbers up to the
last bit of floating-point arithmetic, which differs between processors, so they are not what is digested.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from models.reference.chest import CHEST_DOMAINS, CHEST_VERSION, RATES, ChestScene, draw_chest
from models.reference.head import HEAD_DOMAINS, HEAD_VERSION, VISIBLE_MM2, HeadScene, draw_head
from models.reference.recipes import CHEST, HEAD_CT

HELD_OUT_FILE = Path(__file__).parent / "held_out.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """One set of held-out phantoms, of one domain.

    For heads `cases` are single slices, each of another head, and `studies` whole heads of `study_slices` slices; for
    chests `cases` are images.  An even seed bleeds, an odd one does not; chest findings come by chance.
    """

    model: str
    domain: str
    first_seed: int
    cases: int
    studies: int = 0
    study_slices: int = 0

    def case_seeds(self) -> range:
        """Give the seeds of the single slices or images."""
        return range(self.first_seed, self.first_seed + self.cases)

    def study_seeds(self) -> range:
        """Give the seeds of the whole heads."""
        return range(self.first_seed + 50_000, self.first_seed + 50_000 + self.studies)

    def scenes(self) -> Iterator[HeadScene | ChestScene]:
        """Give every scene of the set, in order."""
        for seed in (*self.case_seeds(), *self.study_seeds()):
            yield draw_held_out(self, seed)


HELD_OUT: tuple[HeldOut, ...] = (
    HeldOut(model=HEAD_CT.name, domain="base", first_seed=6_000_000, cases=1000, studies=200, study_slices=32),
    HeldOut(model=HEAD_CT.name, domain="shift-noise", first_seed=4_100_000, cases=400, studies=40, study_slices=32),
    HeldOut(model=HEAD_CT.name, domain="shift-anatomy", first_seed=4_200_000, cases=400, studies=40, study_slices=32),
    HeldOut(model=HEAD_CT.name, domain="shift-lesions", first_seed=4_300_000, cases=400, studies=40, study_slices=32),
    HeldOut(model=CHEST.name, domain="base", first_seed=2_000_000, cases=1000),
    HeldOut(model=CHEST.name, domain="shift-noise", first_seed=2_100_000, cases=500),
    HeldOut(model=CHEST.name, domain="shift-anatomy", first_seed=2_200_000, cases=500),
    HeldOut(model=CHEST.name, domain="shift-lesions", first_seed=2_300_000, cases=500),
)


def draw_held_out(held_out: HeldOut, seed: int) -> HeadScene | ChestScene:
    """Draw one scene of a held-out set."""
    if held_out.model == HEAD_CT.name:
        return draw_head(seed, haemorrhage=seed % 2 == 0, domain=held_out.domain)
    return draw_chest(seed, domain=held_out.domain)


def describe() -> dict[str, object]:
    """Give what `held_out.json` must hold: parameters of the generators, and the sets with their digests."""
    return {
        "generators": {
            HEAD_CT.name: {
                "version": HEAD_VERSION,
                "visible_mm2": VISIBLE_MM2,
                "domains": {name: asdict(ranges) for name, ranges in HEAD_DOMAINS.items()},
            },
            CHEST.name: {
                "version": CHEST_VERSION,
                "rates": dict(RATES),
                "domains": {name: asdict(ranges) for name, ranges in CHEST_DOMAINS.items()},
            },
        },
        "sets": [{**asdict(held_out), "sha256": _digest(held_out)} for held_out in HELD_OUT],
    }


def _digest(held_out: HeldOut) -> str:
    digest = hashlib.sha256()
    for scene in held_out.scenes():
        digest.update(canonical_json({"scene": _rounded(asdict(scene))}).encode())
    return digest.hexdigest()


def _rounded(value: object) -> object:
    """Give the value with its numbers cut to nine digits, so that a processor's last bit makes no other digest."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_rounded(part) for part in value]
    return value


def canonical_json(value: Mapping[str, object]) -> str:
    """Give JSON with sorted keys and no spaces: equal text, equal value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def main() -> None:
    """Write `held_out.json`."""
    HELD_OUT_FILE.write_text(json.dumps(describe(), indent=1) + "\n")


if __name__ == "__main__":
    main()
