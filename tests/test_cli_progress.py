"""The lines that show how far long messages are, second by second."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from hsms_engine import Transfer, Transfers
from hsms_engine.cli.progress import TransferLines
from hsms_engine.cli.telling import Telling
from hsms_engine.messages import S1F1
from hsms_engine.process import Process

if sys.platform == "win32":
    pytest.skip("terminals of POSIX", allow_module_level=True)

_RATE = 1_000_000
_HIDDEN = "\r\x1b[2K"


def console(file: io.StringIO) -> Console:
    return Console(file=file, force_terminal=True, width=40, color_system=None)


def shown(lines: Callable[[TransferLines], Any], seconds: float) -> str:
    """What is on the terminal after so many seconds of ``lines``."""
    file = io.StringIO()

    async def main() -> None:
        with trio.move_on_after(seconds):
            await lines(TransferLines(lambda: console(file)))

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return file.getvalue()


def steady(total: int, number: int = 1) -> Callable[[], Transfers]:
    """A transfer with ``_RATE`` bytes a second, from now on."""
    start = trio.current_time()

    def transfers() -> Transfers:
        done = int((trio.current_time() - start) * _RATE)
        return Transfers(receiving=Transfer(number, done, total) if done < total else None)

    return transfers


def test_a_long_transfer_says_how_far_how_fast_and_how_long_still() -> None:
    text = shown(lambda lines: lines.follow("peer", steady(16_000_000)), 4)
    last = text.split(_HIDDEN)[-2]
    assert last == "receiving 3.8/16.0 MB 1.0 MB/s 00:13"
    # It is taken away when nobody follows any more, and the cursor is there again.
    assert text.endswith(f"{_HIDDEN}\x1b[?25h\r")
    assert max(len(line) for line in text.split(_HIDDEN)) <= 40 + len("\x1b[?25l")


@pytest.mark.parametrize("seconds", [0.1, 0.9])
def test_a_transfer_of_less_than_a_second_is_not_shown(seconds: float) -> None:
    text = shown(lambda lines: lines.follow("peer", steady(int(seconds * _RATE))), 4)
    assert text == ""


def test_many_short_transfers_are_no_long_one() -> None:
    async def follow(lines: TransferLines) -> None:
        def transfers() -> Transfers:
            now = trio.current_time()
            return Transfers(Transfer(int(now), int(now % 1 * _RATE), _RATE))

        await lines.follow("peer", transfers)

    assert shown(follow, 10) == ""


def test_the_line_is_gone_when_the_transfer_is_over() -> None:
    text = shown(lambda lines: lines.follow("peer", steady(2 * _RATE)), 10)
    assert text.count("receiving") > 3
    assert text.endswith(f"{_HIDDEN}\x1b[?25h\r")


def test_the_next_transfer_has_a_line_of_its_own() -> None:
    async def follow(lines: TransferLines) -> None:
        first, then = steady(3 * _RATE), steady(9 * _RATE, number=2)
        await lines.follow("peer", lambda: first() if first().receiving else then())

    text = shown(follow, 6)
    assert "3.0 MB" in text
    # It is new for a second.
    assert re.findall(r"receiving (\d\.\d)/9.0", text)[0] >= "4.0"


def test_each_connection_and_direction_has_its_line() -> None:
    async def follow(lines: TransferLines) -> None:
        both = Transfers(Transfer(1, 5, 10), Transfer(1, 6, 10))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lines.follow, "a", lambda: both)
            with trio.move_on_after(3):
                await lines.follow("b", lambda: both)
            assert len(drawn(lines)) == 2
            await trio.sleep(1)
            assert len(drawn(lines)) == 2
            nursery.cancel_scope.cancel()
        assert drawn(lines) == []

    assert shown(follow, 100).count("sending") > 10


def drawn(lines: TransferLines) -> list[object]:
    assert lines._lines is not None
    return [*lines._lines.tasks]


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError("input/output error")

    async def main() -> None:
        lines = TransferLines(lambda: console(Gone()))
        with trio.move_on_after(4) as scope:
            await lines.follow("peer", steady(16_000_000))
        assert scope.cancelled_caught

    trio.run(main, clock=MockClock(autojump_threshold=0))


# On the terminal of a program


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """In the block standard error is a terminal. Gives what is asked for what was written to it.

    It is no fixture, because pytest takes standard error back before the test.
    """
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)

    def written() -> str:
        found = b""
        with suppress(BlockingIOError):
            while more := os.read(ours, 65_536):
                found += more
        return found.decode()

    with os.fdopen(theirs, "w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stderr", file)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "40")
        yield written
    os.close(ours)


class Connection:
    """What ``Teller.follow`` asks."""

    peer = "tool:5000"

    def __init__(self) -> None:
        self.transfers = steady(16_000_000)


def told(**how: bool) -> None:
    """A program that tells a message in the middle of a long transfer."""

    async def main() -> None:
        teller = Telling(**how).teller(Process())
        async with trio.open_nursery() as nursery:
            connection: Any = Connection()
            nursery.start_soon(teller.follow, connection)
            await trio.sleep(3)
            teller.happened("received", "tool:5000", S1F1())
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_line_of_the_program_takes_the_place_of_those_of_transfers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with terminal(monkeypatch) as written:
        # Both go to one terminal, as they do for a person.
        monkeypatch.setattr(sys, "stdout", sys.stderr)
        told()
        before, _, after = written().partition("received from tool:5000:")
    # The line is erased, and then comes the beginning of the comment.
    assert re.search(r"\x1b\[2K\x1b\[2m// [\d:.]+ $", before), before[-60:]
    assert "S1F1 W ." in after
    assert "receiving \x1b[32m3." in after


@pytest.mark.parametrize("how", [{"as_json": True}, {"json_items": True}])
def test_with_json_nothing_is_drawn(how: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written:
        told(**how)
        assert written() == ""


@pytest.mark.parametrize("name", ["dumb", "unknown", "", None])
def test_a_terminal_that_cannot_go_back_is_left_alone(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch) as written:
        monkeypatch.delenv("TERM")
        if name is not None:
            monkeypatch.setenv("TERM", name)
        told()
        assert written() == ""


def test_without_colours_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written:
        monkeypatch.setenv("NO_COLOR", "1")
        told()
        text = written()
    assert "receiving 2." in text
    assert re.findall(r"\x1b\[[\d;]*m", text) == []


@pytest.mark.parametrize("stderr", [None, io.StringIO()])
def test_what_is_no_terminal_gets_nothing(
    stderr: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    told()
    assert stderr is None or stderr.getvalue() == ""
