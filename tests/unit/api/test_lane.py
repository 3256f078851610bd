"""Quick work goes one after the other; long work holds nobody up."""

from __future__ import annotations

import threading
from functools import partial

import anyio
import pytest
from anyio import to_thread

from api import lane
from api.lane import Lane

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _Work:
    """Blocks until let go, and notes who began and ended in which order."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.began, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, name: str) -> None:
        self.seen.append(f"{name} begins")
        self.began.release()
        assert self.go.wait(30)
        self.seen.append(f"{name} ends")
        self.ended.release()


async def _all_of(run: Lane, work: _Work, names: str, *, begin: int) -> None:
    """Run work under several names, which goes on when `begin` have begun and no other did."""
    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(run.run, partial(work, name))
        for _ in range(begin):
            assert await to_thread.run_sync(work.began.acquire, True, 30)
        assert not await to_thread.run_sync(work.began.acquire, True, 0.05)
        work.go.set()


async def test_one_follows_the_other_in_the_order_of_their_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "LONG_S", 60)
    work = _Work()
    await _all_of(Lane(1), work, "abc", begin=1)
    assert work.seen == [f"{name} {verb}" for name in "abc" for verb in ("begins", "ends")]


async def test_so_many_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "LONG_S", 60)
    await _all_of(Lane(2), _Work(), "abc", begin=2)


async def test_what_takes_long_holds_nobody_up_and_leaves_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "LONG_S", 0.01)
    run, long = Lane(1), _Work()
    async with anyio.create_task_group() as group:
        group.start_soon(run.run, partial(long, "long"))
        assert await to_thread.run_sync(long.began.acquire, True, 30)
        assert await run.run(lambda: "quick") == "quick"
        long.go.set()
    monkeypatch.setattr(lane, "LONG_S", 60)
    await _all_of(run, _Work(), "ab", begin=1)


async def test_a_place_is_given_back_where_work_fails() -> None:
    run = Lane(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await run.run(lambda: 1 // 0)
    assert await run.run(lambda: "next") == "next"


async def test_work_that_nobody_waits_for_any_longer_ends_unheard() -> None:
    run, work = Lane(1), _Work()
    with anyio.move_on_after(0.01):
        await run.run(partial(work, "given up"))
    work.go.set()
    assert await run.run(lambda: "next") == "next"
    assert await to_thread.run_sync(work.ended.acquire, True, 30)


async def test_work_that_stops_an_iterator_fails_and_leaves_nobody_waiting() -> None:
    nothing: list[int] = []
    run = Lane(1)
    with anyio.fail_after(30), pytest.raises(RuntimeError, match="ended too early"):
        await run.run(lambda: next(iter(nothing)))
    assert await run.run(lambda: "next") == "next"
