"""What ``connect`` and ``listen`` print: SML below comments that have the time, or JSON objects.

On a terminal the comments are dim, unless ``NO_COLOR`` says otherwise (https://no-color.org), and
long messages are shown on their way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer

from hsms_engine.cli.options import AsJson
from hsms_engine.cli.progress import TransferLines
from hsms_engine.cli.sending import Passed
from hsms_engine.cli.times import time_now, time_of_day
from hsms_engine.connection import HsmsConnection
from hsms_engine.logs import escaped
from hsms_engine.message import Message
from hsms_engine.process import Process
from hsms_engine.secs2 import DecodeError
from hsms_engine.secs2.json_form import to_json

_DIM: Final = "\x1b[2m{}\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How it is told what happens."""

    as_json: AsJson = False
    json_items: Annotated[
        bool,
        typer.Option(
            "--json-items",
            help='as --json, and each message has its items too: [{"L": [{"U4": [1]}]}]',
        ),
    ] = False

    def teller(self, process: Process) -> Teller:
        """What tells it."""
        return Teller(process, is_json=self.as_json or self.json_items, has_items=self.json_items)


class Teller:
    """Writes what happens, each with the time at which it is told."""

    def __init__(self, process: Process, *, is_json: bool, has_items: bool) -> None:
        self._process = process
        self._is_json = is_json
        self._has_items = has_items
        self._is_colored = not is_json and _takes_color()
        self._lines = TransferLines() if not is_json and _moves_cursor() else None

    def happened(
        self, event: str, peer: str, message: Message | None = None, *, why: str | None = None
    ) -> None:
        """``event`` has happened to the connection of ``peer``."""
        if self._is_json:
            told: dict[str, object] = {"peer": peer}
            if message is not None:
                told |= self._parts(message)
            self._object(event, told if why is None else {**told, "why": why})
            return
        reason = "" if why is None else f": {why}"
        if message is None:
            self._comment(f"{event}: {peer}{reason}")
            return
        self._comment(f"{event} {'to' if event == 'sent' else 'from'} {peer}:")
        if (fault := unreadable(message)) is None:
            self._line(message.sml())
        else:
            self._comment(fault)

    def selected(self, peer: str, local: str, remote: str) -> None:
        """The connection of ``peer`` is selected; these are the addresses of its two ends."""
        if self._is_json:
            self._object("selected", {"peer": peer, "local": local, "remote": remote})
        else:
            self.happened("selected", peer)

    async def follow(self, connection: HsmsConnection) -> None:
        """Show how far the long messages of this connection are, until this is cancelled.

        Where that is not shown, it returns at once.
        """
        if self._lines is not None:
            await self._lines.follow(connection.peer, connection.transfers)

    def listens(self, address: str, host: str, port: int) -> None:
        """This end listens."""
        if self._is_json:
            self._object("listening", {"host": host, "port": port})
        else:
            self._comment(f"listening on {address}")

    def tells_health(self, where: str) -> None:
        """This program tells its health there."""
        if self._is_json:
            self._object("telling health", {"where": where})
        else:
            self._comment(f"telling health on {where}")

    def stopped(self) -> None:
        """This end listens no longer."""
        if self._is_json:
            self._object("stopped", {})
        else:
            self._comment("stopped")

    def passed_over(self, passed: Iterable[Passed]) -> None:
        """What was passed over in the files of what is sent."""
        for each in passed:
            if self._is_json:
                self._object("note", asdict(each))
            else:
                self._comment(f"note: {each}")

    def warned(self, texts: Iterable[str]) -> None:
        """What the library has warned of."""
        for text in texts:
            if self._is_json:
                self._object("warning", {"warning": text})
            else:
                self._comment(f"warning: {text}")

    def _parts(self, message: Message) -> dict[str, object]:
        fault = unreadable(message)
        parts = {
            "message": message.name,
            "wait": message.wait,
            "sml": message.sml() if fault is None else f"// {fault}",
        }
        if not self._has_items:
            return parts
        if fault is not None:
            return {**parts, "items": None, "body": message.body.hex()}
        encoding = message.text_encoding
        return {**parts, "items": [to_json(each, encoding) for each in message.items]}

    def _object(self, event: str, told: dict[str, object]) -> None:
        self._process.json({"event": event, "at": time_now(), **told})

    def _comment(self, text: str) -> None:
        # It may have what stands in a file, or its name.
        line = escaped(f"// {time_of_day()} {text}")
        self._line(_DIM.format(line) if self._is_colored else line)

    def _line(self, text: str) -> None:
        if self._lines is not None:
            self._lines.hide()
        self._process.line(text)


def unreadable(message: Message) -> str | None:
    """What is wrong with a body that is no SECS-II; None when nothing is.

    The peer is told, as of each body that a program reads.
    """
    try:
        _ = message.items
    except DecodeError as error:
        size = len(message.body)
        return f"{message.name}: a body of {size} bytes that is no SECS-II: {error}"
    return None


def _takes_color() -> bool:
    """Whether standard output is a terminal that shows colours, and nobody has said no."""
    if sys.platform == "win32" or not sys.stdout.isatty():
        return False
    return not os.environ.get("NO_COLOR") and _knows_escapes()


def _moves_cursor() -> bool:
    """Whether standard error is a terminal on which a line can be drawn again."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    return sys.platform == "win32" or _knows_escapes()


def _knows_escapes() -> bool:
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown")
