"""Checks around every test that runs a driver: nothing of it stays, and it did what the charts say.

``leak_check`` watches every driver made in a test. When the test is over:

* no socket is open that was not open before;
* no driver, no connection and no transaction is alive, so that memory does not grow by use;
* every recorded step is what the charts do, and every effect in it was possible;
* every counter in use is one that ``statistics()`` shows.

``no_task_left`` is its part inside trio: no task of the engine runs after the test. A test that
hangs is stopped by the real clock.
"""

from __future__ import annotations

import gc
import signal
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.statistics import COUNTERS
from hsms_engine.protocol.transactions import Transaction
from statecharts import NotAllowedError
from statecharts.hsms.world import ImpossibleEffectError
from tests.support.patience import PATIENCE
from tests.support.replay import Replay


def open_sockets() -> set[str]:
    """The sockets this process has open; only Linux tells."""
    found: set[str] = set()
    if sys.platform != "linux":
        return found
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def engine_tasks() -> list[str]:
    """The names of the tasks of this trio run that are the engine's."""
    root = trio.lowlevel.current_root_task()
    found: list[str] = []
    tasks = [root] if root is not None else []
    while tasks:
        task = tasks.pop()
        found += [task.name] if task.name.startswith("hsms_engine.") else []
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


class _Watch:
    """The objects of the engine that a test has made, without keeping them alive."""

    def __init__(self) -> None:
        self.made: list[tuple[str, weakref.ref[Any]]] = []
        self.faults: list[str] = []

    def follow(self, driver: Driver) -> None:
        replay = Replay(driver.engine._life.router.system)
        counters = driver.engine._context.counters

        def take(record: Step) -> None:
            try:
                replay.take(record)
                assert set(counters) <= set(COUNTERS), f"hidden: {set(counters) - set(COUNTERS)}"
            except (AssertionError, NotAllowedError, ImpossibleEffectError, ValueError) as fault:
                # Raised here, it would stop the engine; so it is reported after the test.
                self.faults.append(f"{driver.name}: {record.event}: {fault!r}")

        driver.recorders.append(take)

    def alive(self) -> list[str]:
        return [name for name, made in self.made if made() is not None]


def _watching(kind: type[Any], watch: _Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    original = kind.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        if "__weakref__" in dir(kind):
            watch.made.append((kind.__name__, weakref.ref(self)))
        if isinstance(self, Driver):
            watch.follow(self)

    monkeypatch.setattr(kind, "__init__", init)


def _too_long(_: int, frame: FrameType | None) -> None:
    # Not an exception that a test or trio could catch: this process cannot go on after it.
    pytest.exit(f"the test runs for ever, now at {frame}", returncode=1)


@contextmanager
def _not_for_ever() -> Iterator[None]:
    if sys.platform == "win32":
        # It has no such timer: there a test that hangs hangs.
        yield
    else:
        handler = signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)


@pytest.fixture(autouse=True)
def leak_check(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Objects that are alive now are not of this test: the collection after it can skip them.
    gc.freeze()
    watch = _Watch()
    for kind in (Driver, Engine, Epoch, Transaction):
        _watching(kind, watch, monkeypatch)
    failed_before = request.session.testsfailed
    sockets_before = open_sockets()
    with _not_for_ever():
        yield
    if request.session.testsfailed > failed_before:
        # The traceback of a failure keeps everything alive.
        return
    assert not watch.faults, watch.faults[0]
    assert open_sockets() - sockets_before == set()
    gc.collect()
    assert watch.alive() == []


@pytest.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    yield
    assert engine_tasks() == []
