"""A task for each selected session of a link: what a host sets up after every reconnect.

Invariants:

* It runs at most once at a time: the task of one session has been left, however long that takes,
  before that of another begins. A session that is over by then has none.
* What it raises ends only itself: an ``Exception`` is reported, aloud when the session goes on
  without what the task would have set up, and the next session has the task again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.logs import Teller, name_of
from statecharts.nursery import open_bare_nursery

# What ends only the task that raises it.
_CONTAINED: type[Exception] = Exception


class SessionTask:
    """``task`` is called for each selected session of ``driver``, and cancelled at its end."""

    def __init__(self, driver: Driver, task: Callable[[], Awaitable[object]]) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._task = task
        # Around everything: cancelled when the task is taken away.
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        """Run until the link is closed, or ``scope`` is cancelled."""
        engine, driver = self._engine, self._driver
        with self.scope:
            while True:
                await driver.until(lambda: engine.is_selected)
                if engine.is_closed:
                    return
                await self._serve(engine.times_selected)

    async def _serve(self, session: int) -> None:
        """Run the task at most until the session of this number is over, and wait for that."""
        async with open_bare_nursery() as nursery:
            nursery.start_soon(self._run_task, self._driver.teller, session)
            await self._driver.until(lambda: not self._goes_on(session))
            nursery.cancel_scope.cancel()

    async def _run_task(self, teller: Teller, session: int) -> None:
        try:
            await self._task()
        except* _CONTAINED as errors:
            # With its session it would have ended anyway: what is there now is not set up.
            then, level = "", logging.INFO
            if self._goes_on(session):
                then = "; the link stays selected, and the task runs again for the next session"
                level = logging.WARNING
            what = f"the task {name_of(self._task)} of its session"
            teller.say_raised(what, errors, then, level)

    def _goes_on(self, session: int) -> bool:
        return self._engine.is_selected and self._engine.times_selected == session
