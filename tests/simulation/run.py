"""One run of a plan: real drivers on a network in memory, what happens to them, and what is so.

* **Safety**, whatever breaks: every step is a step of the charts and is as the proof claims; what
  arrives was sent, in order, once, byte by byte; nothing but an ``HsmsError`` comes out of a call;
  nothing stays.
* **Liveness**, from the time on at which nothing breaks any more and what was lost has been sent
  again: every enabled link is selected within the bound of its settings, and then answers.

All is drawn from the plan and its seed, so the same plan writes the same log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import TextIO

import trio
from trio._core import _run as trio_run

from hsms_engine.virtual import Network
from tests.simulation.calls import Calls
from tests.simulation.clock import StuckError
from tests.simulation.monitors import Monitors
from tests.simulation.plan import Plan
from tests.simulation.programs import Programs
from tests.simulation.recovery import Recovery
from tests.simulation.storm import Storm
from tests.simulation.watch import Report, Watch, watching

# No run lasts longer, in seconds of its clock.
_LONGEST = 1e6


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Trio takes its tasks in an order that is drawn from ``seed``."""
    state, before = trio_run._r.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # as pytest-trio does
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        trio_run._r.setstate(state)


def run_plan(
    plan: Plan, monitors: Monitors | None = None, *, record: TextIO | None = None
) -> Report:
    """Run ``plan``, and write its recording into ``record``. Raises ``OSError`` of that file."""
    watch = Watch(plan, monitors or Monitors(), record=record)
    with _seeded(plan.seed), watching(watch):
        try:
            trio.run(_run, watch, clock=watch.clock)
        except BaseExceptionGroup as errors:
            watch.fail(f"raised: {_leaves(errors)}")
        except (StuckError, trio.TrioInternalError, AssertionError) as error:
            watch.fail(f"raised: {error!r} {error.__cause__!r}")
    watch.finish()
    report = watch.report
    report.link_seconds = watch.clock.now * len(plan.links)
    return report


def _leaves(error: BaseException) -> str:
    match error:
        case BaseExceptionGroup(exceptions=inner):
            return "; ".join(map(_leaves, inner))
        case _:
            return repr(error)


async def _run(watch: Watch) -> None:
    """The storm, the recovery, and the ends of all programs."""
    plan = watch.plan
    sent = watch.sent_bytes if plan.theme == "late" else None
    network = Network(Random(f"network {plan.seed}"), plan.kernel, sent)
    calls = Calls(watch)
    programs = Programs(watch, calls, network)
    recovery = Recovery(watch, calls, programs)
    with watch.scope:
        async with trio.open_nursery() as ground:
            ground.start_soon(network.run)
            with trio.fail_after(_LONGEST):
                async with trio.open_nursery() as lives:
                    await programs.begin(lives)
                    async with trio.open_nursery() as users:
                        async with trio.open_nursery() as breaks:
                            await Storm(watch, calls, programs, users, breaks).play()
                            breaks.cancel_scope.cancel()
                        await recovery.recover()
                        users.cancel_scope.cancel()
                    programs.over.set()
                    for event in list(programs.leave.values()):
                        event.set()
                await trio.sleep(1)
            watch.look()
            recovery.nothing_stays()
            ground.cancel_scope.cancel()
