"""``python -m hsms_engine.demo``: a link whose server is killed, the breaker, and the link back.

Two processes and real TCP; both run this module and need only the engine. Every step is compared
with the expected one; at the first difference the demo stops with exit code 1. Nothing waits for a
long timer: the demo shortens such timers on the running link, and shows that as a step.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from hsms_engine import process
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.errors import CircuitOpenError, HsmsError, LinkDownError
from hsms_engine.events import LinkEvent
from hsms_engine.fake.equipment import FakeEquipment, serve_fake
from hsms_engine.fake.program import Beside, run_fake
from hsms_engine.link import HsmsLink, open_link
from hsms_engine.messages import S1F1, S1F13, S1F14, S6F12
from hsms_engine.process import OutputError, Process, complain
from hsms_engine.protocol.outputs import Step
from hsms_engine.settings import Settings
from statecharts.hsms import ACTIVE, BREAKER
from statecharts.nursery import open_bare_nursery

HOST = "127.0.0.1"
ROUND_TRIPS = 1_000
THRESHOLD = 3
# One reconnect at a time, and only when the demo says so.
MINUTE = 60.0
# The longest time for the whole demo, in seconds: a step that never comes stops it too.
PATIENCE = 28.0
# How the other process is told to end. Windows can tell only the leader of a group of processes;
# ``terminate`` kills there.
if sys.platform == "win32":
    _STOP = signal.CTRL_BREAK_EVENT
    _open = partial(trio.lowlevel.open_process, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP)
else:
    _STOP = signal.SIGTERM
    _open = trio.lowlevel.open_process
_SHOWN = {ACTIVE.id: "chart", BREAKER.id: "breaker"}


class WrongStepError(Exception):
    """A step was not as expected."""


class Timeline:
    """A line for everything that happens: elapsed time, what, and the states of both charts."""

    def __init__(self, this: Process) -> None:
        self._process = this
        self._start = trio.current_time()
        self._states = {"chart": "-", "breaker": "-"}
        self._line("elapsed", "what happened", "chart state", "breaker state")

    def _line(self, elapsed: str, what: str, chart: str, breaker: str) -> None:
        self._process.line(f"{elapsed:>8}  {what:<72}  {chart:<14}  {breaker}".rstrip())

    def note(self, what: str) -> None:
        """Print one line."""
        elapsed = f"{trio.current_time() - self._start:.3f}"
        self._line(elapsed, what, self._states["chart"], self._states["breaker"])

    def watch(self, link: HsmsLink) -> None:
        """Add a line for every change of state of ``link``, from now on."""
        now = link.statistics()
        self._states = {"chart": now.state, "breaker": str(now.breaker_state)}
        link.on_step(self._stepped)

    def _stepped(self, record: Step) -> None:
        before = dict(self._states)
        self._states |= {
            _SHOWN[hop.chart]: hop.after.leaves for hop in record.hops if hop.chart in _SHOWN
        }
        if self._states != before:
            self.note(f"    {record.event}")

    def check(self, what: str, seen: object, expected: object) -> None:
        """A step of the demo. Raises ``WrongStepError`` when it is not as expected."""
        if seen != expected:
            raise WrongStepError(f"{what}: expected {expected!r}, seen {seen!r}")
        self.note(f"{what}: {seen}")


async def serve(port: int, this: Process) -> int:
    """The other process: a fake equipment that reports its connections as JSON."""

    def report(event: str, details: Mapping[str, object]) -> None:
        if "message" not in details:
            this.json({"event": event, **details})

    return await run_fake(this, Settings(host=HOST, port=port), Beside(events=0.1), report=report)


class Server:
    """The fake equipment in a process of its own, and what it has reported."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.port = 0
        # How often it has reported each event.
        self.said: Counter[str] = Counter()
        self._news = trio.Event()

    async def read(self) -> None:
        """Read what it prints, until it exits."""
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                told = json.loads(line)
                self.said[told["event"]] += 1
                self.port = told.get("port", self.port)
            self._tell()
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    async def until(self, *events: str) -> None:
        """Wait until it has reported each of these events at least once."""
        while not all(self.said[event] for event in events):
            await self._news.wait()


@asynccontextmanager
async def run_server(port: int) -> AsyncIterator[Server]:
    """The fake equipment as a process that listens; killed after the block if it still runs."""
    command = [sys.executable, "-m", "hsms_engine.demo", str(port)]
    process = await _open(command, stdout=subprocess.PIPE)
    try:
        async with open_bare_nursery() as nursery:
            server = Server(process)
            nursery.start_soon(server.read)
            await server.until("listening")
            yield server
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def answer_events(link: HsmsLink, arrived: trio.MemorySendChannel[str]) -> None:
    """Acknowledge S6F11 as a host does, as long as the link exists."""
    async for primary in link:
        try:
            await link.reply(primary, S6F12())
        except HsmsError:
            # The connection over which it came is already over.
            continue
        with suppress(trio.WouldBlock):
            arrived.send_nowait(primary.name)


async def names_until(reader: EventReader[LinkEvent], *awaited: str) -> list[str]:
    """The names of the events, up to the last of the awaited ones."""
    names: list[str] = []
    while not set(awaited) <= set(names):
        names.append(type(await anext(reader)).__name__)
    return names


async def exchange(timeline: Timeline, link: HsmsLink) -> None:
    """One S1F13 and its reply."""
    reply = await link.request(S1F13())
    timeline.check("S1F13 is answered", reply.name, S1F14().name)


async def round_trips(timeline: Timeline, link: HsmsLink) -> None:
    """Many S1F1, one after the other."""
    began = trio.current_time()
    for _ in range(ROUND_TRIPS):
        await link.request(S1F1())
    rate = ROUND_TRIPS / (trio.current_time() - began)
    timeline.note(f"{ROUND_TRIPS} round trips of S1F1, one after the other: {rate:.0f} a second")


async def refused(timeline: Timeline, link: HsmsLink) -> None:
    """Calls while the breaker is open: each fails at once and says when to try again."""
    attempts = link.statistics().attempts
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "request": partial(link.request, S1F1()),
        "connect": link.connect,
    }
    for name, call in calls.items():
        began = trio.current_time()
        try:
            await call()
        except (LinkDownError, CircuitOpenError) as error:
            took = 1000 * (trio.current_time() - began)
            again = error.retry_after
            kind = type(error).__name__
            timeline.note(f"{name}: {kind} in {took:.1f} ms, retry_after={again:.1f}")
            longest = MINUTE * (1 + link.settings.backoff_jitter)
            timeline.check("  which is within the open time", 0 < again <= longest, True)
        else:
            raise WrongStepError(f"{name}: expected to be refused, seen to succeed")
    timeline.check("attempts these calls have caused", link.statistics().attempts - attempts, 0)


async def outage(
    timeline: Timeline, link: HsmsLink, reader: EventReader[LinkEvent], port: int
) -> None:
    """Another listener on the port, which closes what it accepts, until the breaker opens."""
    async with open_bare_nursery() as nursery:
        settings = Settings(host=HOST, port=port)
        serve = partial(serve_fake, settings, ["accept-and-close"])
        counting: FakeEquipment = await nursery.start(serve)
        timeline.note("on its port now: a listener that accepts, closes and counts")
        link.configure(t5=0.05, allow_short_timers=True)
        timeline.note("configure(t5=0.05): the pause that is running ends now")
        seen = await names_until(reader, "BreakerOpened")
        timeline.check("attempts until the breaker opened", seen.count("Connecting"), THRESHOLD)
        await refused(timeline, link)
        timeline.check("attempts that reached the port", counting.counts["accepted"], THRESHOLD)
        await counting.aclose()


async def recovery(timeline: Timeline, link: HsmsLink, reader: EventReader[LinkEvent]) -> None:
    """Half-open, one probe, selected."""
    attempts = link.statistics().attempts
    link.configure(breaker_open_time=0.05)
    timeline.note("configure(breaker_open_time=0.05): the open time that is running ends now")
    seen = await names_until(reader, "BreakerClosed", "Selected")
    told = [name for name in seen if name.startswith("Breaker")]
    timeline.check("the breaker", told, ["BreakerHalfOpen", "BreakerProbing", "BreakerClosed"])
    timeline.check("probes", link.statistics().attempts - attempts, 1)
    timeline.check("failures it remembers", link.statistics().breaker_failures, 0)


async def demonstrate(timeline: Timeline) -> None:
    """The whole story. Raises ``WrongStepError``."""
    async with open_bare_nursery() as nursery, run_server(0) as first:
        port = first.port
        timeline.note(f"a fake equipment listens on {HOST}:{port}, process {first.process.pid}")
        settings = Settings(
            host=HOST, port=port, t5=MINUTE, breaker_open_time=MINUTE, breaker_threshold=5
        )
        async with open_link(settings) as link:
            timeline.watch(link)
            reader = link.events()
            await link.wait_selected()
            await exchange(timeline, link)
            send, arrived = trio.open_memory_channel[str](2)
            nursery.start_soon(answer_events, link, send)
            timeline.check("the equipment reports", await arrived.receive(), "S6F11")
            # It sends the next one when the previous one is acknowledged.
            timeline.check("and again, having had S6F12", await arrived.receive(), "S6F11")
            await round_trips(timeline, link)
            link.configure(breaker_threshold=THRESHOLD)
            threshold = link.statistics().breaker_threshold
            timeline.check("configure(): the breaker's threshold is now", threshold, THRESHOLD)

            first.process.kill()
            code = await first.process.wait()
            timeline.check(f"the equipment is killed ({code}), and ends well", code == 0, False)
            await names_until(reader, "Waiting")
            timeline.check("the link is selected", link.is_selected, False)
            await outage(timeline, link, reader, port)

            async with run_server(port) as second:
                timeline.note(f"the equipment is back on port {port}")
                await recovery(timeline, link, reader)
                await exchange(timeline, link)
                await link.aclose()
                await second.until("ended")
                timeline.check("connections the equipment saw", second.said["accepted"], 1)
                second.process.send_signal(_STOP)
                timeline.check(
                    "the equipment is told to end, and ends with", await second.process.wait(), 0
                )


async def show(this: Process) -> int:
    """The demo. Raises like ``demonstrate``, and ``trio.TooSlowError``."""
    with trio.fail_after(PATIENCE):
        await demonstrate(Timeline(this))
    this.line("demo: ok")
    return 0


def main(*arguments: str) -> int:
    """Run the demo, or with a port its other process, and return the exit code."""
    match arguments:
        case []:
            run = show
        case [port] if port.isdecimal():
            run = partial(serve, int(port))
        case _:
            complain(f"demo: it takes no arguments, not {' '.join(arguments)!r}")
            return 2
    # Both say themselves what happens; nobody is to hear it twice.
    logging.getLogger("hsms_engine").addHandler(logging.NullHandler())
    try:
        return process.run(run)
    except trio.TooSlowError:
        return _wrong(f"no end within {PATIENCE:g} s")
    except (WrongStepError, HsmsError, OSError) as error:
        return _wrong(str(error))
    except OutputError as error:
        complain(f"demo: {error}")
        return 1


def _wrong(why: str) -> int:
    complain(f"demo: WRONG: {why}")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
