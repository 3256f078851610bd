"""A decoder's process may refuse, crash, hang or run out: one frame fails, nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from imaging import Decode, Decoders, FrameForm
from imaging.decoders import Limits
from imaging.errors import DecodeRefused, DecoderLost, DecodersBusy

FORM = FrameForm(codec="native", rows=2, columns=2, bits_allocated=8, bits_stored=8, high_bit=7)
FRAME = Decode(form=FORM, frame=b"\1\2\3\4")


class Trap:
    """A job that does something else to the process that unpickles it."""

    form = FORM

    def __init__(self, act: Callable[..., Any], *args: object) -> None:
        self._acts = (act, args)

    def __reduce__(self) -> Any:
        return self._acts


def spin() -> None:
    while True:
        pass


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders(Limits(processes=1, memory_bytes=128 * 1024**2))
    yield made
    made.close()


def test_a_frame_comes_back(decoders: Decoders) -> None:
    assert decoders.run(FRAME) == b"\1\2\3\4"


def test_a_decoder_that_crashes_is_replaced(decoders: Decoders, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DecoderLost):
        decoders.run(Trap(os._exit, 139))  # type: ignore[arg-type]
    assert [record.reason for record in caplog.records] == ["exit 139"]  # type: ignore[attr-defined]
    assert decoders.run(FRAME) == b"\1\2\3\4"


def test_a_codec_that_never_ends_is_killed_at_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    hasty = Decoders(Limits(processes=1, wall_s=0.2))
    with closing(hasty), pytest.raises(DecoderLost):
        hasty.run(Trap(spin))  # type: ignore[arg-type]
    assert [record.reason for record in caplog.records] == ["deadline"]  # type: ignore[attr-defined]


def test_a_frame_that_unfolds_beyond_the_memory_is_refused(decoders: Decoders) -> None:
    # 196 MB of zeros in 3 MB of PackBits runs.
    form = replace(FORM, codec="rle", rows=14000, columns=14000)
    header = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    bomb = header + b"\x81\0" * (14000 * 14000 // 128 + 1)
    with pytest.raises(DecodeRefused, match="memory"):
        decoders.run(Decode(form=form, frame=bomb))
    assert decoders.run(FRAME) == b"\1\2\3\4"


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 0},
        {"rows": 65536},
        {"samples": 2},
        {"bits_allocated": 24},
        {"bits_stored": 9},
        {"rows": 65535, "columns": 65535},
    ],
)
def test_a_form_that_no_image_has_is_refused_before_anything_starts(change: dict[str, int]) -> None:
    never = Decoders()
    with pytest.raises(DecodeRefused):
        never.run(Decode(form=replace(FORM, **change), frame=b""))  # type: ignore[arg-type]


def test_when_enough_wait_the_next_is_sent_away() -> None:
    full = Decoders(Limits(processes=1, waiting=0))
    full._places.acquire()
    with pytest.raises(DecodersBusy):
        full.run(FRAME)


def test_one_that_gets_no_decoder_in_time_is_sent_away() -> None:
    full = Decoders(Limits(processes=1, waiting=1, wait_s=0.0))
    full._take()
    with pytest.raises(DecodersBusy):
        full.run(FRAME)


def test_whoever_asks_loads_no_codec() -> None:
    code = "import sys, imaging; print([name for name in ('numpy', 'imagecodecs', 'pydicom') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
