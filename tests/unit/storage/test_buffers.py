"""Memory that is lent comes back when nobody looks at it any more, and not before."""

from __future__ import annotations

from storage.buffers import Buffers


def _filled(buffers: Buffers, letter: bytes, length: int = 100) -> memoryview:
    taken = buffers.take(length)
    taken[:] = letter * length
    return taken


def test_what_is_held_stays_as_it_is() -> None:
    buffers = Buffers()
    held = [_filled(buffers, bytes([letter])) for letter in range(20)]
    assert [set(each) for each in held] == [{letter} for letter in range(20)]


def test_a_part_of_it_is_enough_to_hold_it() -> None:
    buffers = Buffers()
    part = memoryview(_filled(buffers, b"a"))[10:20]
    for _ in range(5):
        _filled(buffers, b"b")
    assert part == b"a" * 10


def test_what_nobody_holds_is_used_again() -> None:
    buffers = Buffers()
    _filled(buffers, b"a")
    assert buffers.take(60) == b"a" * 60
    assert buffers.take(100_000) == bytes(100_000)  # longer than what is kept


def test_what_is_a_few_bytes_longer_fits_where_another_was() -> None:
    buffers = Buffers()
    _filled(buffers, b"a", 100_000)
    assert buffers.take(100_002)[:100_000] == b"a" * 100_000


def test_no_more_is_kept_than_a_few_pieces() -> None:
    buffers = Buffers()
    held = [buffers.take(100) for _ in range(20)]
    held.clear()
    assert len(buffers._kept) == 8
