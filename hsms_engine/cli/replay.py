"""``hsms-engine replay``: plays one side of a recording against a live endpoint, a line a message.

The first difference is shown as a diff of SML.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, assert_never

import trio
import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.connect import failed, held_warnings
from hsms_engine.cli.fake import cannot_listen
from hsms_engine.cli.options import (
    AsJson,
    EitherHost,
    EitherPort,
    Listens,
    Protocol,
    checked,
    host_or_equipment,
)
from hsms_engine.cli.recording import Recording
from hsms_engine.cli.times import time_now
from hsms_engine.difference import head_of, short
from hsms_engine.errors import HsmsError
from hsms_engine.logs import escaped
from hsms_engine.process import Process
from hsms_engine.replay import (
    Connected,
    Conversation,
    Ignored,
    ReplayError,
    Said,
    Separated,
    Told,
    UnplayableError,
    dialling,
    open_conversation,
    replay,
)
from hsms_engine.replay.serving import serve_conversation
from hsms_engine.settings import Settings
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from hsms_engine.recorder import RecordTo

_NOTES = """\
The side that is played dials if it did so in the recording, and else listens; --listen and --dial
say otherwise. It sends what that side has sent, when the other side has said what it had said
before. Select, Linktest, Separate and system bytes are those of the new connection. --link NAME
is the link of the recording, if it has several, and that of --config.

The exit code is 1 for the first difference, or when there is no connection, and 2 for a file that
cannot be played. What is compared is in docs/replay.md.

examples:
  hsms-engine replay tool.jsonl --as host 127.0.0.1 5000
  hsms-engine replay tool.jsonl --as host --speed max --ignore S1F2:2 127.0.0.1 5000
  hsms-engine replay tool.jsonl --as equipment --listen 127.0.0.1 5000
"""


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    speed = float(text)
    if not 0 < speed < math.inf:
        raise ValueError
    return speed


def _ignored(text: str) -> Ignored:
    try:
        return Ignored.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def replay_file(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a recording")],
    host: EitherHost = None,
    port: EitherPort = None,
    role: Annotated[
        Any,
        typer.Option(
            "--as", parser=host_or_equipment, metavar="host|equipment", help="the side to play"
        ),
    ],
    speed: Annotated[
        Any,
        typer.Option(
            parser=checked(_speed, "max, or a number above 0"),
            metavar="FACTOR",
            help="by how much pauses are shorter than in the recording [1]; max: none",
        ),
    ] = None,
    step: Annotated[
        bool, typer.Option("--step", help="wait for Enter, not for the time, before each message")
    ] = False,
    ignore: Annotated[
        list[Any] | None,
        typer.Option(
            parser=_ignored,
            metavar="ITEM",
            help="an item that may be another one, as S6F11:2.1, S6F11:3.*.2 or the whole S6F11; "
            "may be repeated",
        ),
    ] = None,
    listen: Listens = None,
    recording: Recording,
    protocol: Protocol,
    as_json: AsJson = False,
) -> int:
    """Play the host or the equipment of a recording, and compare what comes."""
    link, given = protocol.link, protocol
    if given.config is None:
        given = dataclasses.replace(given, link=None)
    # What is wrong with the command line is told before the file is read.
    settings = given.settings(host=host, port=port)
    if step and sys.stdin is None:
        raise CommandError("--step needs a standard input", 2)

    async def play_it(this: Process) -> int:
        nonlocal settings
        output = _Output(this, as_json)
        try:
            conversation = await open_conversation(file, role, link)
        except OSError as error:
            raise CommandError(f"cannot read {file}: {error.strerror or error}", 2) from error
        except UnplayableError as error:
            raise CommandError(error, 2) from error
        for note in conversation.notes:
            output.tell("note", f"note: {note}", note=note)
        settings = given.settings(base=conversation.settings(), host=host, port=port)
        settings = settings.replace(is_equipment=role == "equipment")
        listens = not conversation.dials if listen is None else listen
        play = partial(
            _listen if listens else _dial,
            conversation,
            settings,
            output=output,
            speed=speed or 1.0,
            ignore=ignore or (),
            before_sending=output.wait_for_enter if step else None,
        )
        is_whole = False
        with this.until_stopped():
            try:
                async with recording.shown(begun) as record:
                    await play(record=record)
                is_whole = True
            except ReplayError as error:
                output.differs(error)
                raise CommandError(error.problem) from error
            except OSError as error:
                raise CommandError(f"cannot read {file}: {error.strerror or error}") from error
        for text in held:
            output.tell("warning", f"warning: {text}", warning=text)
        if is_whole:
            counts = f"{conversation.ours:,} sent, {conversation.theirs:,} came"
            output.tell("played", f"{file}: as recorded, {counts}", file=str(file))
        else:
            output.tell("stopped", "stopped")
        return this.exit_code

    try:
        with held_warnings() as held, recording.begun() as begun:
            return process.run(play_it)
    except HsmsError as error:
        raise failed(settings, error) from error


async def _dial(
    conversation: Conversation,
    settings: Settings,
    *,
    record: RecordTo | None,
    output: _Output,
    **options: Any,
) -> None:
    connect = dialling(settings, record)
    await replay(conversation, connect, tell=output.told, **options)


async def _listen(
    conversation: Conversation,
    settings: Settings,
    *,
    output: _Output,
    **options: Any,
) -> None:
    async with open_bare_nursery() as nursery:
        serve = partial(
            serve_conversation,
            conversation,
            settings,
            tell=output.told,
            **options,
        )
        try:
            replayed = await nursery.start(serve)
        except OSError as error:
            raise cannot_listen(settings, error) from error
        where = replayed.address
        output.tell("listening", f"listening on {where}", host=settings.host, port=replayed.port)
        await replayed.finished()


class _Output:
    """What is told: lines for people, or objects."""

    def __init__(self, process: Process, as_json: bool) -> None:
        self._process = process
        self._as_json = as_json

    def tell(self, event: str, text: str, *, is_comment: bool = True, **details: object) -> None:
        """One event: a comment, or an object with its details."""
        if self._as_json:
            self._process.json({"event": event, "at": time_now(), **details})
        else:
            # What a recording says may have what a terminal acts on.
            self._process.line(escaped(f"// {text}" if is_comment else text))

    def told(self, told: Told) -> None:
        """What a replay tells while it is played."""
        number = told.connection
        match told:
            case Connected(peer=peer):
                text = f"connection {number}: selected: {peer}"
                self.tell("selected", text, connection=number, peer=peer)
            case Said(message=message):
                event = "sent" if told.is_ours else "came"
                self.tell(
                    event,
                    f"{told.number} {event} {head_of(message)}",
                    is_comment=False,
                    number=told.number,
                    connection=number,
                    message=message.name,
                )
            case Separated():
                self.tell("separated", f"connection {number}: separated", connection=number)
            case _:
                assert_never(told)

    def differs(self, error: ReplayError) -> None:
        """Something is not as in the recording."""
        if self._as_json:
            self.tell(
                "differs",
                "",
                problem=error.problem,
                details=[*error.details],
                path=error.path,
                expected=error.expected,
                found=error.found,
            )
            return
        for line in (f"DIFFERS: {error.problem}", *error.details):
            self._process.line(escaped(line))

    async def wait_for_enter(self, said: Said) -> None:
        """Ask for Enter before a message is sent."""
        self.tell("next", f"Enter sends {short(said.message)}", number=said.number)
        line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        if not line:
            raise CommandError(f"standard input has ended, before {said} was sent")


COMMAND = Command(replay_file, _NOTES, name="replay")
