"""Slices of one kind lie near to one another."""

from __future__ import annotations

import numpy as np

from models.reference.kinds import split_kinds

RNG = np.random.default_rng(0)
MIDDLES = RNG.normal(0, 30, (4, 12))
SEEN = np.concatenate([RNG.normal(middle, 1.0, (50, 12)) for middle in MIDDLES])
ORDER = RNG.permutation(len(SEEN))


def _middles(kinds: list[np.ndarray]) -> np.ndarray:
    found = np.stack([kind.mean(axis=0) for kind in kinds])
    return found[np.argsort(found[:, 0])]


def test_what_lies_together_is_of_one_kind_and_nothing_is_lost() -> None:
    kinds = split_kinds(SEEN[ORDER], 4)
    assert [len(kind) for kind in kinds] == [50] * 4
    assert np.abs(_middles(kinds) - MIDDLES[np.argsort(MIDDLES[:, 0])]).max() < 1.0
    assert np.allclose(np.sort(np.concatenate(kinds), axis=0), np.sort(SEEN, axis=0))


def test_the_same_items_give_the_same_kinds() -> None:
    first, second = split_kinds(SEEN[ORDER], 4), split_kinds(SEEN[ORDER], 4)
    assert all((one == other).all() for one, other in zip(first, second, strict=True))


def test_one_kind_is_everything() -> None:
    [only] = split_kinds(SEEN, 1)
    assert (only == SEEN).all()
