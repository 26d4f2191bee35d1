"""``hsms-engine fleet``: one of several processes that share the tools of a file out among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, assert_never

import trio
import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.connect import warnings_given_to
from hsms_engine.cli.fake import refused
from hsms_engine.cli.options import AsJson, checked, whole
from hsms_engine.cli.recording import Recording
from hsms_engine.cli.storing import Storing, look
from hsms_engine.cli.telling_health import HealthWhere, telling_health
from hsms_engine.cli.telling_metrics import MetricsWhere, telling_metrics
from hsms_engine.cli.times import time_now, time_of_day
from hsms_engine.errors import HsmsError, LeaseError, LeaseSetupError, SettingsError
from hsms_engine.events import Blocked, Happened, LinkEvent, Missed, Standby, Waiting
from hsms_engine.fleet import Fleet, ShareChanged, ToolHappened, open_fleet
from hsms_engine.fleet.tools import Tools, expect_name
from hsms_engine.logs import escaped
from hsms_engine.message import Message
from hsms_engine.process import Process
from hsms_engine.scenario import courtesy
from hsms_engine.toml_file import TomlError

if TYPE_CHECKING:
    from hsms_engine.lease.redis import RedisStore
    from hsms_engine.metrics import Collector

_NOTES = """\
FILE is a file of links, and each link in it is a tool. Run the same command with the same FILE and
the same store on several machines: each owns a share of the tools, and takes over those of a
process that is gone. What the tools send is published in the store and acknowledged; requests for
a tool may come from any process. docs/fleet.md says what holds, and when.

SIGTERM and Ctrl-C hand all tools over to the other processes, one after the other with Separate,
and end it with exit code 0. After a second signal it waits for nobody.

exit codes:
  0  stopped; with --once: all tools of this process's share were selected
  1  it failed; with --once: a tool of the share was not selected
  2  wrong usage, also a store that somebody must change: a password, a version, a layout

examples:
  hsms-engine fleet --tools tools.toml --store redis://127.0.0.1
  hsms-engine fleet --tools tools.toml --store redis://127.0.0.1 --name host-1 --health 9000
  hsms-engine fleet --tools tools.toml --store redis://127.0.0.1 --once
  hsms-engine fleet --tools tools.toml --check
"""


def _positive(text: str) -> float:
    seconds = float(text)
    if not (isfinite(seconds) and seconds > 0):
        raise ValueError
    return seconds


def _not_negative(text: str) -> float:
    seconds = float(text)
    if not (isfinite(seconds) and seconds >= 0):
        raise ValueError
    return seconds


def fleet(
    *,
    tools: Annotated[Path, typer.Option(metavar="FILE", help="a TOML file of links: the tools")],
    storing: Storing,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="that of this process in the fleet; who comes back by it has the same share",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(parser=whole(0, 10_000), metavar="N", help="the most tools that it takes"),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="only read FILE")] = False,
    once: Annotated[
        bool,
        typer.Option("--once", help="own what can be owned, tell it, give it back, and exit"),
    ] = False,
    within: Annotated[
        float,
        typer.Option(
            parser=checked(_positive, "a number of seconds above 0"),
            metavar="SECONDS",
            help="how long --once waits at most",
        ),
    ] = 30.0,
    hand_over: Annotated[
        float | None,
        typer.Option(
            parser=checked(_not_negative, "a number of seconds"),
            metavar="SECONDS",
            help="when it is stopped, how long it waits at most for others to stand by for its "
            "tools (default: two leases); 0 gives them back at once",
        ),
    ] = None,
    health: HealthWhere = None,
    metrics: MetricsWhere = None,
    recording: Recording,
    as_json: AsJson = False,
) -> int:
    """Own a share of many tools, beside other processes that own the rest."""
    try:
        known = Tools.from_toml(tools)
    except SettingsError as error:
        if check and isinstance(error.__cause__, TomlError):
            return refused(error.__cause__, as_json=as_json)
        raise CommandError("; ".join(str(error).splitlines()), 2) from error
    try:
        if name is not None:
            expect_name("a process of a fleet", name)
    except SettingsError as error:
        raise CommandError(error, 2) from error
    if check:
        return process.run(partial(_tell_good, tools, known, as_json))
    store = storing.opened()

    async def run(this: Process) -> int:
        output = _Output(this, as_json)
        with warnings_given_to(output.warn):
            with this.until_stopped() as looking:
                await _expect_store(store, known, output, once=once)
            # It may come when nothing waits for the store any more.
            if looking.cancel_called:
                return 0
            async with (
                telling_metrics(metrics, output.shows_metrics) as collector,
                recording.shown(begun) as record,
                open_fleet(
                    known, store, name=name, limit=limit, answers=courtesy.HOST, record=record
                ) as opened,
                telling_health(opened.links.values(), health, output.tells_health),
            ):
                follower = _Follower(opened, output, collector)
                output.tell("joined", f"{opened.name} joins the fleet", name=opened.name)
                # What stops this lets the exit of the fleet give all back.
                with this.until_stopped():
                    if once:
                        with trio.move_on_after(within):
                            await follower.settled()
                        return follower.report()
                    await follower.run()
                # It is told how all is given up.
                patience = 2 * store.duration if hand_over is None else hand_over
                opened.drain(patience if follower.has_others else 0.0)
                await follower.run()
        output.tell("stopped", "stopped")
        return 0

    with recording.begun() as begun:
        return process.run(run)


async def _tell_good(file: Path, tools: Tools, as_json: bool, this: Process) -> int:
    output = _Output(this, as_json)
    text = f"{file}: good: {_counted(len(tools))}"
    output.tell("good", text, file=str(file), tools=len(tools))
    return 0


async def _expect_store(store: RedisStore, tools: Tools, output: _Output, *, once: bool) -> None:
    """Raises ``CommandError`` for a store that will not do; one that is away may come back."""
    error = await look(store, tools)
    if error is not None:
        if once:
            raise CommandError(error) from error
        output.warn(f"{error}; it is asked again")


class _Follower:
    """Tells what happens in a fleet, and adds its links to the metrics."""

    def __init__(self, fleet: Fleet, output: _Output, collector: Collector | None) -> None:
        self._fleet = fleet
        self._output = output
        self._collector = collector
        self._events = fleet.events()
        # By tool: the link that is in the metrics.
        self._shown: dict[str, object] = {}
        self._share: frozenset[str] | None = None
        # By tool of the share: why it is not selected, as far as that is known, and whether that
        # will be otherwise soon.
        self._known: dict[str, tuple[str, bool]] = {}

    @property
    def has_others(self) -> bool:
        """Whether another process is there that takes tools."""
        members: Any = self._fleet.status()["members"]
        return any(each["name"] != self._fleet.name and each["limit"] != 0 for each in members)

    async def run(self) -> None:
        """Tell what happens, until the fleet has drained."""
        async for event in self._events:
            self._take(event)

    async def settled(self) -> None:
        """Tell what happens, until of each tool of the share it is known how it is."""
        async for event in self._events:
            self._take(event)
            if self._share is not None and all(map(self._is_settled, self._share)):
                return

    def report(self) -> int:
        """Tell how each tool of the share is, and return the exit code."""
        share = sorted(self._share or ())
        selected = [each for each in share if self._is_selected(each)]
        for tool in share:
            is_selected = tool in selected
            why, _ = ("", False) if is_selected else self._known.get(tool, _UNKNOWN)
            text = f"{tool}: {'selected' if is_selected else f'not selected: {why}'}"
            self._output.tell("tool", text, tool=tool, is_selected=is_selected, why=why or None)
        if self._share is None:
            raise CommandError("the store has not told yet which tools are to be owned here")
        counted = f"{len(selected)} of {len(share)} tools are selected"
        self._output.tell("owned", counted, selected=len(selected), share=len(share))
        return 0 if len(selected) == len(share) else 1

    def _is_selected(self, tool: str) -> bool:
        link = self._fleet.links.get(tool)
        return link is not None and link.is_selected

    def _is_settled(self, tool: str) -> bool:
        _, is_soon_over = self._known.get(tool, _UNKNOWN)
        return self._is_selected(tool) or not is_soon_over

    def _take(self, event: ShareChanged | ToolHappened | Missed) -> None:
        match event:
            case ShareChanged(members=members, tools=tools, unplaced=unplaced):
                self._share = frozenset(tools)
                text = (
                    f"the share of this process: {_counted(len(tools))}; "
                    f"without a place: {unplaced}; in the fleet: {', '.join(members)}"
                )
                self._output.tell(
                    "share", text, tools=[*tools], members=[*members], unplaced=unplaced
                )
            case ToolHappened(tool=tool, event=happened):
                self._show(tool)
                self._learn(tool, happened)
                self._output.happened(tool, happened)
            case Missed(count=count):
                self._output.warn(f"{count} events came too fast and are not told")
            case _:
                assert_never(event)

    def _show(self, tool: str) -> None:
        link = self._fleet.links.get(tool)
        if self._collector is None or link is None or self._shown.get(tool) is link:
            return
        self._shown[tool] = link
        self._collector.add(link, tool)

    def _learn(self, tool: str, event: LinkEvent) -> None:
        """Why a tool is not selected."""
        match event:
            case Standby(error=LeaseError() as error):
                self._known[tool] = str(error), not isinstance(error, LeaseSetupError)
            case Standby(owner=owner) if owner:
                self._known[tool] = f"{owner} owns it", False
            case Waiting(error=HsmsError() as error):
                self._known[tool] = str(error), False
            case Waiting():
                self._known[tool] = "the next attempt has not begun yet", True
            case Blocked():
                self._known[tool] = "its breaker is open", False
            case _:
                self._known.pop(tool, None)


class _Output:
    """What is told: lines for people, or objects."""

    def __init__(self, this: Process, as_json: bool) -> None:
        self._process = this
        self._as_json = as_json

    def tell(self, event: str, text: str, *, ago: float = 0.0, **details: object) -> None:
        """One event, ``ago`` seconds before: a comment, or an object with its details."""
        if self._as_json:
            self._process.json({"event": event, "at": time_now(ago), **details})
        else:
            # What a store or a file says may have what a terminal acts on.
            self._process.line(escaped(f"// {time_of_day(ago)} {text}"))

    def happened(self, tool: str, event: LinkEvent) -> None:
        """An event of the link of a tool: its name in words, and what it has."""
        name = _WORD.sub(r" \1", type(event).__name__).lower().strip()
        details = dict(_details(event))
        listed = [f"{key.replace('_', ' ')} {value}" for key, value in details.items()]
        text = f"{tool}: {', '.join([name, *listed])}"
        self.tell(name, text, ago=trio.current_time() - event.at, tool=tool, **details)

    def warn(self, text: str) -> None:
        self.tell("warning", f"warning: {text}", warning=text)

    def tells_health(self, where: str) -> None:
        self.tell("telling health", f"telling health on {where}", where=where)

    def shows_metrics(self, where: str) -> None:
        self.tell("showing metrics", f"showing metrics on {where}", where=where)


_UNKNOWN = "it is not known yet", True
_WORD = re.compile("([A-Z])")


def _counted(tools: int) -> str:
    return f"{tools} tool{'s' * (tools != 1)}"


def _details(event: Happened) -> Iterator[tuple[str, Any]]:
    """What an event has, as JSON has it. What is not known is left out."""
    for each in fields(event):
        if each.name in ("at", "epoch"):
            continue
        match value := getattr(event, each.name):
            case None | "":
                pass
            case Exception():
                yield "why", str(value)
            case float():
                yield each.name, round(value, 3) if isfinite(value) else None
            case Message():
                yield each.name, value.name
            case _:
                yield each.name, value


COMMAND = Command(fleet, _NOTES)
