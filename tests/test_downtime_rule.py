"""The rule of ``Unreachable`` held against itself, said in another way, for any life of a link.

A downtime is a longest row of phases in which the link should be selected and is not. It is told
when it has lasted for ``unreachable_after``, unless one was told since the link was last selected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby
from random import Random
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsms_engine import Phase, Settings
from hsms_engine.protocol.context import Context
from hsms_engine.protocol.downtime import Downtime

PHASES: tuple[Phase, ...] = get_args(Phase)
# In these it is selected, or need not be.
UP: tuple[Phase, ...] = ("selected", "idle", "separating", "closed")
# A phase, and for how many seconds it lasts.
Life = Sequence[tuple[Phase, int]]
LIVES = st.lists(st.tuples(st.sampled_from(PHASES), st.integers(0, 20)), max_size=30)


def told_by_rule(life: Life, after: int) -> Iterator[tuple[float, float]]:
    ends = accumulate(seconds for _, seconds in life)
    rows = [(phase, end - seconds, end) for (phase, seconds), end in zip(life, ends, strict=True)]
    may_tell = True
    for is_down, row in groupby(rows, key=lambda each: each[0] not in UP):
        phases = list(row)
        begin, end = phases[0][1], phases[-1][2]
        if not is_down:
            may_tell = may_tell or any(phase == "selected" for phase, *_ in phases)
        elif may_tell and end - begin >= after:
            may_tell = False
            yield begin + after, after


class Run:
    """A link that lives so, and what is told of it by whoever wakes in time."""

    def __init__(self, settings: Settings, *, reconnects: bool = True) -> None:
        self.now = 0.0
        self.told: list[tuple[float, float]] = []
        context = Context(settings, lambda: self.now, Random(1), lambda _: "tool")
        self.downtime = Downtime(context, reconnects=reconnects)

    def live(self, life: Life) -> None:
        left: Phase = "idle"
        for phase, seconds in life:
            if phase != left:
                self.downtime.moved(left, phase)
            left, end = phase, self.now + seconds
            while (due := self.downtime.due()) <= end:
                assert due >= self.now
                self.now = due
                self.told.append((due, self.downtime.told()))
            self.now = end


@given(life=LIVES, after=st.integers(1, 30))
@example(life=[("waiting", 5), ("separating", 0), ("waiting", 5)], after=5)
@example(life=[("waiting", 5), ("selected", 0), ("waiting", 5)], after=5)
@example(life=[("waiting", 4), ("connecting", 4), ("selecting", 4)], after=10)
def test_it_is_told_as_the_rule_says(life: Life, after: int) -> None:
    run = Run(Settings(unreachable_after=after))
    run.live(life)
    assert run.told == list(told_by_rule(life, after))


@given(life=LIVES)
@pytest.mark.parametrize("reconnects", [True, False])
def test_nothing_is_told_without_the_setting_or_of_one_connection(
    life: Life, *, reconnects: bool
) -> None:
    run = Run(Settings(unreachable_after=None if reconnects else 1), reconnects=reconnects)
    run.live(life)
    assert run.told == []


@given(life=LIVES)
def test_since_when_it_is_selected_or_not_is_its_latest_change(life: Life) -> None:
    run = Run(Settings())
    run.live(life)
    begun, was, at = 0, False, 0
    for phase, seconds in life:
        if (phase == "selected") is not was:
            was, begun = not was, at
        at += seconds
    assert run.downtime.since == begun
