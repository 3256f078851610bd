"""Voxel memory is lent to one at a time, kept once nobody looks into it, and given back when it is to be forgotten."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from inference.voxels import Floats, VoxelMemory

SHAPE = (4, 8, 8)


def _of_torch(array: Floats) -> object:
    import torch

    return torch.from_numpy(array)


def _where(array: Floats) -> int:
    return int(array.__array_interface__["data"][0])


def _given_up(memory: VoxelMemory, shape: tuple[int, ...] = SHAPE) -> int:
    return _where(memory.lend(shape))


@pytest.fixture
def memory() -> VoxelMemory:
    return VoxelMemory(most_bytes=4 * 4 * 8 * 8)


def test_memory_that_was_given_up_is_lent_again(memory: VoxelMemory) -> None:
    first = _given_up(memory)
    again = memory.lend(SHAPE)
    assert _where(again) == first
    assert again.shape == SHAPE
    assert again.dtype == np.float32
    assert again.flags.writeable


def test_a_smaller_stack_lies_in_the_memory_of_a_larger_one(memory: VoxelMemory) -> None:
    assert _given_up(memory) == _where(memory.lend((2, 8, 8)))


def test_two_at_a_time_never_share(memory: VoxelMemory) -> None:
    first, second = memory.lend(SHAPE), memory.lend(SHAPE)
    first[:], second[:] = 1.0, 2.0
    assert not np.shares_memory(first, second)
    assert (first == 1.0).all()


@pytest.mark.parametrize(
    "look", [lambda array: array[1:], lambda array: array[0].T, _of_torch], ids=["slices", "one slice", "torch"]
)
def test_memory_that_something_still_looks_into_is_not_lent(memory: VoxelMemory, look) -> None:  # type: ignore[no-untyped-def]
    lent = memory.lend(SHAPE)
    where = _where(lent)
    view = look(lent)
    del lent
    gc.collect()
    assert _given_up(memory) != where
    del view
    memory.forget()


def test_a_stack_that_is_too_large_is_not_kept(memory: VoxelMemory) -> None:
    memory.lend((5, 8, 8))
    assert not memory._kept


def test_what_is_to_be_forgotten_is_not_kept(memory: VoxelMemory) -> None:
    memory.lend(SHAPE)
    assert memory._kept
    memory.forget()
    assert not memory._kept


def test_many_threads_never_write_into_each_other(memory: VoxelMemory) -> None:
    def stays(number: int) -> bool:
        lent = memory.lend(SHAPE)
        lent[:] = number
        return all(bool((lent == number).all()) for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(stays, range(400)))
