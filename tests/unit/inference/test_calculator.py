"""The calculator's process: its answer, its limits, and that there is one at a time."""

from __future__ import annotations

import threading
import time

import pytest

from inference.calculator import Calculator, Limits
from inference.errors import CalculatorBusy, CalculatorLost, NothingToExpect
from inference.expectation import expect
from inference.site import Site

SITE = Site(readers=1, reading_min=10, hourly=(4.8,) * 168, eligible=1, prevalence=0.1, head_start_min=220)
LARGE = Site(readers=90, reading_min=10, hourly=(500.0,) * 168, eligible=1, prevalence=0.1, head_start_min=220)
FOUND = {"sensitivity": 0.9, "specificity": 0.9}


def test_the_answer_is_what_the_formulas_and_the_drawn_weeks_say():
    assert Calculator().expect(SITE, **FOUND, seed=3) == expect(SITE, **FOUND, seed=3)


def test_what_has_no_answer_says_why_from_the_other_process():
    calculator = Calculator()
    with pytest.raises(NothingToExpect, match="only grows") as raised:
        calculator.expect(
            Site(**{**{name: getattr(SITE, name) for name in SITE.__slots__}, "readers": 1, "reading_min": 60.0}),
            **FOUND,
        )
    assert raised.value.reason == "overload"


@pytest.mark.parametrize("limits", [Limits(wall_s=2.0), Limits(cpu_s=1), Limits(memory_bytes=0)])
def test_a_question_that_takes_more_than_it_may_is_killed_and_the_next_one_answered(limits: Limits):
    calculator = Calculator(limits)
    with pytest.raises(CalculatorLost):
        calculator.expect(LARGE, **FOUND)
    with pytest.raises(CalculatorLost):  # and not busy: the place is free again
        calculator.expect(LARGE, **FOUND)


def test_a_second_question_is_told_to_come_again_and_closing_kills_the_first():
    calculator, lost = Calculator(), []

    def ask() -> None:
        with pytest.raises(CalculatorLost) as raised:
            calculator.expect(LARGE, **FOUND)
        lost.append(raised.value)

    asking = threading.Thread(target=ask)
    asking.start()
    while calculator._process is None:
        time.sleep(0.01)
    with pytest.raises(CalculatorBusy):
        calculator.expect(SITE, **FOUND)
    calculator.close()
    asking.join(timeout=30)
    assert len(lost) == 1
