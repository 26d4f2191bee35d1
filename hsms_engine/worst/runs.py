"""The runs that take as long as a bound says, made by two real ends on a network in memory.

Each script leads both ends to where a bound begins to count, and then waits until it is over.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hsms_engine.bounds import Bound, session_gone
from hsms_engine.errors import ConnectionLostError, LinkDownError, ReplyTimeoutError
from hsms_engine.events import Connecting, LinkEvent, Selecting, Waiting
from hsms_engine.link import HsmsLink
from hsms_engine.message import Message
from hsms_engine.settings import Settings
from hsms_engine.worst.stage import EQUIPMENT, HOST, JUST_BEFORE, Stage
from statecharts import draw

_REQUEST = Message(1, 1, wait=True)
_LAST_BYTE = "the last byte has come: the peer has vanished"


@dataclass(frozen=True, slots=True)
class Run:
    """What happened from the moment from which ``bound`` counts, and how long it took.

    ``seconds`` is infinite when it would go on like that for ever.
    """

    bound: Bound
    seconds: float
    steps: tuple[draw.Message, ...]

    def picture(self) -> str:
        """Mermaid text of a sequence diagram."""
        longest = "for ever" if self.seconds == math.inf else f"{self.seconds:.6g} s"
        title = f"{self.bound.name}: {longest}"
        return draw.sequence(self.steps, title, (HOST, EQUIPMENT))


async def _both_selected(stage: Stage) -> HsmsLink:
    stage.start_equipment()
    link = await stage.start_host()
    await link.wait_selected()
    return link


async def _after_failures(stage: Stage, failures: int) -> HsmsLink:
    """A host whose last so many dials have failed, and whose next one finds the network whole."""
    stage.is_unreachable = failures > 0
    link = await stage.start_host()
    while link.statistics().failed_attempts < failures:
        await _until(link, Waiting)
    stage.is_unreachable = False
    return link


async def _until(link: HsmsLink, kind: type[LinkEvent]) -> None:
    """Wait for the next event of this kind."""
    reader = link.events()
    reader._skip_present()
    async for event in reader:
        if isinstance(event, kind):
            return


async def _unanswered(stage: Stage) -> None:
    """The Select.req is never answered whose failure opens the breaker."""
    stage.start_equipment()
    link = await _after_failures(stage, stage.settings.breaker_threshold - 1)
    await _until(link, Selecting)
    stage.crash_equipment()
    stage.begin("the equipment has crashed, and is back")
    stage.start_equipment()
    await link.wait_selected()


async def _deselected(stage: Stage) -> None:
    """The session is deselected, and nobody selects it again."""
    link = await _both_selected(stage)
    stage.begin("the host deselects")
    stage.start(link.deselect)
    await _until(link, Waiting)
    await link.wait_selected()


async def _found(stage: Stage) -> None:
    """The equipment has closed and its reset was lost; its last frame is still on its way."""
    link = await _both_selected(stage)
    stage.begin("the equipment closes the connection, and its reset is lost")
    await stage.connections[-1].send(Message(6, 11))
    stage.crash_equipment(resets=True)
    stage.start_equipment()
    with stage.resets_lost():
        # The last frame is acknowledged, and that too is answered by a reset.
        await trio.sleep(3 * stage.one_way + JUST_BEFORE)
    await _until(link, Waiting)
    await link.wait_selected()


async def _found_after_t3(stage: Stage) -> None:
    """As ``_found``, but nothing comes any more, and the host awaits a reply."""
    link = await _both_selected(stage)
    stage.start(partial(link.request, _REQUEST))
    await wait_all_tasks_blocked()
    stage.begin("the equipment closes the connection, and its reset is lost; a request is open")
    stage.crash_equipment(resets=True)
    stage.start_equipment()
    await _until(link, Waiting)
    await link.wait_selected()


async def _found_by_the_next(stage: Stage) -> None:
    """As ``_found``, but the host has just sent a linktest, and its response is lost too."""
    link = await _both_selected(stage)
    stage.crash_equipment()
    stage.begin("the equipment closes the connection, and its reset is lost")
    stage.start_equipment()
    stage.start(link.linktest)
    await trio.sleep(stage.one_way)
    await wait_all_tasks_blocked()
    stage.answer_by_resets()
    await _until(link, Waiting)
    await link.wait_selected()


async def _lost(stage: Stage, *, is_unreachable: bool, request_open: bool) -> HsmsLink:
    """The host has lost its connection and the equipment has not: the reset was lost.

    T5 is over, and the host dials again at once. ``request_open``: the equipment awaits a reply.
    """
    link = await _both_selected(stage)
    await trio.sleep(stage.settings.pause(0) * (1 + stage.settings.backoff_jitter))
    await link.send(Message(6, 11))
    if request_open:
        stage.start(partial(stage.connections[-1].request, _REQUEST))
    await wait_all_tasks_blocked()
    stage.is_unreachable = is_unreachable
    stage.lose_host()
    return link


async def _refused_once(stage: Stage, *, request_open: bool) -> None:
    """One more failure opens the breaker, and that is the refusal of the next attempt."""
    failures = stage.settings.breaker_threshold - 1
    stage.chance.part, stage.chance.until = 0.0, math.inf
    link = await _lost(stage, is_unreachable=failures > 0, request_open=request_open)
    while link.statistics().failed_attempts < failures:
        if link.statistics().failed_attempts == failures - 1:
            stage.chance.until = -math.inf
        await _until(link, Waiting)
    stage.is_unreachable = False
    stage.begin("the network is whole; the equipment still has the old session")
    await link.wait_selected()


async def _refused_while_t5_runs(stage: Stage) -> None:
    """The host loses a connection that came up at once, so a whole pause is before it."""
    link = await _both_selected(stage)
    await link.send(Message(6, 11))
    await wait_all_tasks_blocked()
    stage.lose_host()
    stage.begin("the network is whole; the equipment still has the old session")
    await _until(link, Waiting)
    await link.wait_selected()


async def _refused_until_found(stage: Stage, *, request_open: bool) -> None:
    """Attempts are refused until the equipment finds out, one of them just before that."""
    settings, delay = stage.settings, stage.one_way
    link = await _lost(stage, is_unreachable=False, request_open=request_open)
    stage.begin("the network is whole; the equipment still has the old session")
    if (interval := settings.linktest_interval) is not None:
        stage.aim((max(interval, settings.t3) if request_open else interval) + 2 * delay)
    await _until(link, Waiting)
    await link.wait_selected()


async def _opened_breaker(stage: Stage) -> None:
    stage.start_equipment()
    link = await _after_failures(stage, stage.settings.breaker_threshold)
    stage.begin("the breaker has opened, and the network is whole")
    await link.wait_selected()


async def _enabled_again(stage: Stage) -> None:
    """The link is disabled and enabled when an attempt has just begun."""
    stage.start_equipment()
    link = await _after_failures(stage, stage.settings.breaker_threshold - 1)
    await _until(link, Connecting)
    link.disable()
    stage.begin("disable, enable")
    link.enable()
    await link.wait_selected()


async def _separated(stage: Stage) -> None:
    """The link is disabled and enabled, and nobody answers its Separate.req."""
    link = await _both_selected(stage)
    await trio.sleep(stage.settings.pause(0) * (1 + stage.settings.backoff_jitter))
    stage.crash_equipment()
    stage.start_equipment()
    link.disable()
    stage.begin("disable, enable")
    link.enable()
    await link.wait_selected()


async def _crashed_host(stage: Stage) -> None:
    await _both_selected(stage)
    stage.crash_host()
    stage.begin("the host has crashed, and its program starts again")
    link = await stage.start_host()
    await link.wait_selected()


async def _refused_at_last(stage: Stage) -> None:
    """As ``_crashed_host``, and an attempt comes just before the old session is gone."""
    await _both_selected(stage)
    stage.crash_host()
    stage.begin("the host has crashed, and its program starts again")
    stage.aim(session_gone(stage.settings, stage.one_way))
    link = await stage.start_host()
    await link.wait_selected()


def _crash(stage: Stage) -> None:
    stage.crash_equipment()
    stage.start_equipment()


def _cut(stage: Stage) -> None:
    stage.cut()


_Vanishes = Callable[[Stage], None]


async def _idle(stage: Stage, vanishes: _Vanishes) -> HsmsLink:
    """The peer vanishes, and nobody asks or sends."""
    link = await _both_selected(stage)
    stage.begin(_LAST_BYTE)
    vanishes(stage)
    await _until(link, Waiting)
    return link


async def _busy(stage: Stage, vanishes: _Vanishes) -> HsmsLink:
    """As ``_idle``: what is sent first is acknowledged, and what is sent then is not."""
    link = await _both_selected(stage)
    stage.begin(f"{_LAST_BYTE}, and the host sends on")
    await link.send(Message(6, 11))
    await trio.sleep(2 * stage.one_way)
    await wait_all_tasks_blocked()
    vanishes(stage)
    await link.send(Message(6, 11))
    return link


async def _asking(stage: Stage, vanishes: _Vanishes) -> HsmsLink:
    """From just before a probe is due, a request is always open."""
    link = await _busy(stage, vanishes)
    async with trio.open_nursery() as nursery:
        for after in (0.0, stage.settings.t3 / 2):
            nursery.start_soon(_ask_for_ever, stage, link, after)
        await _until(link, Waiting)
        nursery.cancel_scope.cancel()
    return link


async def _ask_for_ever(stage: Stage, link: HsmsLink, after: float) -> None:
    interval = stage.settings.linktest_interval or 0.0
    await trio.sleep_until(stage.begun + interval - JUST_BEFORE + after)
    with suppress(LinkDownError, ConnectionLostError):
        while True:
            with suppress(ReplyTimeoutError):
                await link.request(_REQUEST)


async def _sending(stage: Stage, vanishes: _Vanishes) -> HsmsLink:
    """When the last probe is due, the system takes no more bytes."""
    link = await _busy(stage, vanishes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_taking, stage, link)
        await _until(link, Waiting)
        nursery.cancel_scope.cancel()
    return link


async def _stop_taking(stage: Stage, link: HsmsLink) -> None:
    """The host's system takes nothing from the moment at which the last probe is due."""
    settings = stage.settings
    if settings.linktest_interval is None or settings.write_timeout <= settings.t6:
        return
    before = settings.linktest_threshold * (settings.linktest_interval + settings.t6)
    before -= settings.t6
    await trio.sleep_until(stage.begun + before)
    stage.fill_host()
    await link.send(Message(6, 11))


async def _crashed_equipment(
    stage: Stage, does: Callable[[Stage, _Vanishes], Awaitable[HsmsLink]]
) -> None:
    link = await does(stage, _crash)
    await link.wait_selected()


_Script = Callable[[Stage], Awaitable[object]]
# For each bound, by its name: the longest of these runs is as long as the bound.
_SCRIPTS: dict[str, tuple[_Script, ...]] = {
    "recovery": (
        _unanswered,
        _opened_breaker,
        _deselected,
        _found,
        _found_after_t3,
        _found_by_the_next,
        _refused_while_t5_runs,
        partial(_refused_once, request_open=False),
        partial(_refused_once, request_open=True),
        partial(_refused_until_found, request_open=False),
        partial(_refused_until_found, request_open=True),
    ),
    "opened breaker": (_opened_breaker,),
    "enabled again": (_enabled_again, _separated),
    "crashed host": (_crashed_host, _refused_at_last),
    "crashed equipment while the host is idle": (partial(_crashed_equipment, does=_idle),),
    "crashed equipment while a request is open": (partial(_crashed_equipment, does=_asking),),
    "crashed equipment while sending": (partial(_crashed_equipment, does=_sending),),
    "silence": (partial(_idle, vanishes=_cut),),
    "silence while a request is open": (partial(_asking, vanishes=_cut),),
    "silence while sending": (partial(_sending, vanishes=_cut),),
}
# A run without an end is left after so many steps, or so many seconds of its clock.
_MOST_STEPS, _LONGEST = 40, 1e6


def worst_run(bound: Bound, settings: Settings, delay: float) -> Run:
    """Run two real ends with these settings until what ``bound`` is about is over.

    Of several runs the longest. It has a virtual clock of its own, so it cannot be called from
    within trio.
    """
    return max(
        (_run(bound, script, settings, delay) for script in _SCRIPTS[bound.name]),
        key=lambda run: run.seconds,
    )


def _run(bound: Bound, script: _Script, settings: Settings, delay: float) -> Run:
    clock = MockClock(autojump_threshold=0)
    return trio.run(_play, bound, script, settings, delay, clock=clock)


async def _play(bound: Bound, script: _Script, settings: Settings, delay: float) -> Run:
    is_endless = bound.seconds == math.inf
    longest, most = (_LONGEST, _MOST_STEPS) if is_endless else (2 * bound.seconds + 1, math.inf)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            stage = Stage(nursery, settings, delay, scope, longest=longest, most=most)
            await script(stage)
        seconds = math.inf if scope.cancelled_caught else trio.current_time() - stage.begun
        steps = tuple(stage.steps)
        nursery.cancel_scope.cancel()
    return Run(bound, seconds, steps)
