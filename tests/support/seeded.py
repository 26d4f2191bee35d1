"""Runs of trio whose every accident is drawn from a seed.

Trio takes the tasks that can run in either order, by the toss of a coin. Here the coin is seeded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
import trio
from trio._core import _run as trio_run
from trio.testing import MockClock


@pytest.fixture(autouse=True)
def seeded_scheduler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    state = trio_run._r.getstate()
    yield
    trio_run._r.setstate(state)


def run(
    main: Callable[[], Awaitable[Any]],
    seed: int,
    instruments: Sequence[trio.abc.Instrument] = (),
    *,
    is_virtual: bool = True,
) -> Any:
    """A whole trio run of this seed, on a clock that jumps unless it must be the real one."""
    trio_run._r.seed(seed)
    clock = MockClock(autojump_threshold=0) if is_virtual else None
    return trio.run(main, clock=clock, instruments=instruments)
