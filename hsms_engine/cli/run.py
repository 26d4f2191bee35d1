"""``hsms-engine run``: plays one side of a link from a file, a line a step.

The connection is dialled, or awaited. What was expected and did not come is shown as a diff of SML.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import trio
import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.connect import failed, held_warnings
from hsms_engine.cli.fake import cannot_listen, refused
from hsms_engine.cli.options import AsJson, EitherHost, EitherPort, Listens, Protocol, checked
from hsms_engine.cli.recording import Recording
from hsms_engine.cli.times import time_now
from hsms_engine.connection import HsmsConnection, open_hsms
from hsms_engine.difference import short, sml_of
from hsms_engine.errors import ConnectError, HsmsError
from hsms_engine.events import PeerEnded, PeerTurnedAway
from hsms_engine.process import Process
from hsms_engine.scenario import (
    Began,
    DifferenceError,
    Passed,
    Scenario,
    StepError,
    Told,
    Unexpected,
    play,
    read_scenario,
)
from hsms_engine.scenario.report import Report
from hsms_engine.scenario.steps import PEER_WITHIN, Repeat, Step, round_text
from hsms_engine.server import HsmsServer, serve_hsms
from hsms_engine.settings import Settings
from hsms_engine.toml_file import TomlError
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from hsms_engine.recorder import RecordTo

_NOTES = """\
A scenario with role = "equipment" listens for a host, one with role = "host" dials; --listen and
--dial say otherwise. The format is in docs/scenarios.md.

The exit code is 1 when a step fails or there is no connection, 2 for a file that is no scenario.

examples:
  hsms-engine run start-up.toml 127.0.0.1 5000
  hsms-engine run start-up.toml 127.0.0.1 5000 --junit report.xml
  hsms-engine run start-up.toml --peer-within 60
  hsms-engine run tool.toml --listen 127.0.0.1 5000
  hsms-engine run start-up.toml --check
"""


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError
    return seconds


def run(
    *,
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="a TOML file of steps")],
    host: EitherHost = None,
    port: EitherPort = None,
    listen: Listens = None,
    peer_within: Annotated[
        float | None,
        typer.Option(
            parser=checked(_positive, "a number of seconds above 0"),
            metavar="SECONDS",
            help="how long to wait for the other side: 60 when this side listens; one that dials "
            "tries once, or with this every T5",
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the result of each step as XML")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="only read the file")] = False,
    recording: Recording,
    protocol: Protocol,
    as_json: AsJson = False,
) -> int:
    """Play a host or an equipment from a file of steps, and compare what comes."""
    try:
        played = read_scenario(scenario)
    except TomlError as error:
        if check:
            return refused(error, as_json=as_json)
        raise CommandError("; ".join(map(str, error.problems)), 2) from error
    listens = played.role == "equipment" if listen is None else listen
    settings = protocol.settings(base=played.settings, host=host, port=port)
    if settings.text_encoding != played.settings.text_encoding:
        raise CommandError(
            f"{scenario} is read with text_encoding = {played.settings.text_encoding!r}, and the "
            f"connection would have {settings.text_encoding!r}: write it in [settings] there",
            2,
        )
    # What an end does that the other one does not, it does by its role.
    settings = settings.replace(is_equipment=played.role == "equipment")
    patience = played.peer_within if peer_within is None else peer_within
    report = Report(played)

    async def play_it(this: Process) -> int:
        output = _Output(this, as_json)
        for doubt in played.doubts:
            output.tell("doubt", f"doubt: {doubt}", doubt=str(doubt))
        if check:
            output.tell("checked", f"{scenario}: {_counted(played)}", file=str(scenario))
            return 0
        began = trio.current_time()

        def tell(told: Told) -> None:
            report.tell(told)
            output.told(told)

        opened = _awaited if listens else _dialled
        try:
            async with (
                recording.shown(begun) as record,
                opened(settings, patience, record, output) as connection,
            ):
                # What stops this lets the exit of the block around it separate.
                with this.until_stopped():
                    report.selected_after = trio.current_time() - began
                    output.tell("selected", f"selected: {connection.peer}", peer=connection.peer)
                    try:
                        await play(played, connection, tell)
                    except StepError as error:
                        report.error = error
                        output.failed(error)
        except HsmsError:
            # What a step has said of a lost connection says more.
            if report.error is None:
                raise
        for text in held:
            output.tell("warning", f"warning: {text}", warning=text)
        if report.error is not None:
            raise CommandError(report.error.summary) from report.error
        if this.exit_code == 0:
            output.tell("passed all", f"{played.name}: passed, {_counted(played)}")
        else:
            number = None if report.step is None else report.step.number
            where = "" if number is None else f" in step {number}"
            output.tell("stopped", f"stopped{where}", step=number)
        return this.exit_code

    if junit is not None and not check:
        _write(junit, b"")
    try:
        with held_warnings() as held, recording.begun() as begun:
            code = process.run(play_it)
        if code:
            where = "" if report.step is None else f" in step {report.step.number}"
            report.problem = f"it was stopped{where}"
        return code
    except HsmsError as error:
        failure = failed(settings, error)
        report.problem = str(failure)
        raise failure from error
    except CommandError as error:
        report.problem = str(error)
        raise
    finally:
        if junit is not None and not check:
            _write(junit, report.junit())


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise CommandError(f"cannot write --junit {file}: {error.strerror or error}") from error


def _counted(scenario: Scenario) -> str:
    count = len(scenario.steps)
    return f"{count} step{'' if count == 1 else 's'}"


@asynccontextmanager
async def _dialled(
    settings: Settings, within: float | None, record: RecordTo | None, output: _Output
) -> AsyncIterator[HsmsConnection]:
    """A connection that was dialled once, or with ``within`` until one is selected.

    Between two attempts is T5, as E37 has it. Raises ``ConnectError`` of the last attempt that
    begins in that time.
    """
    over, is_selected, is_told = trio.current_time() + (within or 0.0), False, False
    while True:
        try:
            async with open_hsms(settings, record=record) as connection:
                is_selected = True
                yield connection
            return
        except ConnectError as error:
            if is_selected or trio.current_time() + settings.t5 > over:
                raise
            if not is_told:
                again = f"tried again every {settings.t5:g} s (T5)"
                output.tell("waiting", f"{error}; {again}", problem=str(error))
            is_told = True
        await trio.sleep(settings.t5)


@asynccontextmanager
async def _awaited(
    settings: Settings, given: float | None, record: RecordTo | None, output: _Output
) -> AsyncIterator[HsmsConnection]:
    """The connection of the first peer that selects. Raises ``CommandError`` when none does."""
    within = PEER_WITHIN if given is None else given
    give, take = trio.open_memory_channel[HsmsConnection](1)
    others: list[str] = []

    async def hand_over(connection: HsmsConnection) -> None:
        with suppress(trio.WouldBlock):
            give.send_nowait(connection)
        await trio.sleep_forever()

    async def watch(server: HsmsServer) -> None:
        async for event in server.events():
            match event:
                case (
                    PeerTurnedAway(peer=peer, why=why)
                    | PeerEnded(peer=peer, was_selected=False, why=why)
                ):
                    others.append(f"{peer}: {why}")
                    output.tell(
                        "never selected", f"never selected: {others[-1]}", peer=peer, why=why
                    )
                case _:
                    pass

    async with open_bare_nursery() as nursery:
        try:
            serve = partial(serve_hsms, hand_over, settings, record=record)
            server = await nursery.start(serve)
        except OSError as error:
            raise cannot_listen(settings, error) from error
        where = server.address
        output.tell("listening", f"listening on {where}", host=settings.host, port=server.port)
        nursery.start_soon(watch, server)
        connection = None
        with trio.move_on_after(within):
            connection = await take.receive()
        if connection is None:
            came = f"{len(server.connections) + len(others)} connections came"
            last = f", the last one that ended: {others[-1]}" if others else ""
            raise CommandError(f"no peer has selected within {within:g} s on {where}: {came}{last}")
        yield connection
        await server.aclose()


class _Output:
    """What is told: lines for people, or objects."""

    def __init__(self, process: Process, as_json: bool) -> None:
        self._process = process
        self._as_json = as_json

    def tell(self, event: str, text: str, **details: object) -> None:
        """One event: a comment, or an object with its details."""
        if self._as_json:
            self._process.json({"event": event, "at": time_now(), **details})
        else:
            self._process.line(f"// {text}")

    def told(self, told: Told) -> None:
        """What a scenario tells while it is played."""
        match told:
            case Began(step=Repeat()) | Passed():
                self._step(told)
            case Began():
                pass
            case Unexpected(message=message, reply=reply):
                answered = "no reply wanted" if reply is None else f"answered with {reply.name}"
                self.tell(
                    "unexpected",
                    f"unexpected, {answered}: {short(message)}",
                    message=message.name,
                    sml=sml_of(message),
                    reply=None if reply is None else reply.name,
                )
            case _:
                assert_never(told)

    def _step(self, told: Began | Passed) -> None:
        step = told.step
        seconds = told.seconds if isinstance(told, Passed) else None
        if self._as_json:
            event = "began" if seconds is None else "passed"
            self.tell(event, "", **_described(step, told.rounds), seconds=seconds)
            return
        end = "" if seconds is None else f": ok, {seconds:.3f} s"
        self._process.line(f"{_head(step, told.rounds)}{end}")

    def failed(self, error: StepError) -> None:
        """A step has failed."""
        if not self._as_json:
            self._process.line(f"{_head(error.step, error.rounds)}: FAILED: {error.problem}")
            for line in error.details:
                self._process.line(line)
            return
        told = {**_described(error.step, error.rounds), "problem": error.problem}
        match error:
            case DifferenceError(path=path, expected=expected, found=found, diff=diff):
                told |= {"path": path, "expected": expected, "found": found, "diff": [*diff]}
            case _:
                pass
        self.tell("failed", "", **told)


def _head(step: Step, rounds: tuple[int, ...]) -> str:
    """What a line about a step begins with: ``3.1, round 2: start: send S1F1``."""
    name = "" if step.name is None else f"{step.name}: "
    return f"{step.number}{round_text(rounds)}{':' if rounds else ''} {name}{step}"


def _described(step: Step, rounds: tuple[int, ...]) -> dict[str, object]:
    return {
        "step": step.number,
        "rounds": [*rounds],
        "name": step.name,
        "what": str(step),
        "place": step.where,
    }


COMMAND = Command(run, _NOTES)
