"""``hsms-engine listen``, and what it and ``connect`` print."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import AbortedError, HsmsConnection, Message, SelectRefusedError, cli, open_hsms
from hsms_engine.cli.sending import Passed
from hsms_engine.cli.telling import Teller
from hsms_engine.events import Closed, Missed
from hsms_engine.messages import S1F1, S1F2, S1F13, S1F14, S6F11, S6F12
from hsms_engine.process import Process
from hsms_engine.secs2 import U4, A, L
from hsms_engine.secs2.json_form import from_json

if sys.platform == "win32":
    pytest.skip("signals and terminals of POSIX", allow_module_level=True)

from hsms_engine.cli.listen import _tell
from tests.test_cli import ENVIRONMENT, HOST, Lines, errors_of, one_line, started, untimed


@asynccontextmanager
async def listening(*words: object, **options: Any) -> AsyncIterator[tuple[Lines, int]]:
    async with started("listen", HOST, 0, *words, **options) as lines:
        first = await lines.next()
        if "--json" in words or "--json-items" in words:
            told = json.loads(first)
            assert told["event"] == "listening"
            yield lines, told["port"]
        else:
            [line] = untimed(first)
            yield lines, int(line.rpartition(":")[2])


async def ended(lines: Lines, number: int = signal.SIGTERM) -> None:
    """It separates, and that is how a server ends."""
    lines.process.send_signal(number)
    assert await lines.process.wait() == 0
    assert await errors_of(lines) == ""


async def test_listen_answers_as_an_equipment_and_prints_what_comes() -> None:
    async with listening() as (lines, port):
        async with open_hsms(HOST, port) as connection:
            assert (await connection.request(S1F1())) == S1F2("hsms-engine", "1.0")
            with pytest.raises(AbortedError):
                await connection.request(Message(64, 1, True))
            peer = connection.local_address
        told = [await lines.next()]
        while not told[-1].endswith("the peer separated"):
            told.append(await lines.next())
        assert untimed("\n".join(told[:-1])) == [
            f"// accepted: {peer}",
            f"// selected: {peer}",
            f"// received from {peer}:",
            "S1F1 W .",
            f"// received from {peer}:",
            "S64F1 W .",
        ]
        assert untimed(told[-1])[0].startswith(f"// ended: {peer}: ")
        await ended(lines, signal.SIGINT)
        assert untimed(await lines.rest()) == ["// stopped"]


async def test_listen_answers_as_a_host() -> None:
    async with listening("--role", "host", "--json") as (lines, port):
        async with open_hsms(HOST, port) as connection:
            assert (await connection.request(S6F11(1, 2, {}))) == S6F12(0)
            assert (await connection.request(S1F13("x", "1"))) == Message.parse(
                "S1F14 <L <B 0> <L>> ."
            )
        assert (await lines.until("ended"))["why"].endswith("the peer separated")
        await ended(lines)
        assert json.loads(await lines.rest())["event"] == "stopped"


async def answering(connection: HsmsConnection, replies: Sequence[Message | None]) -> list[str]:
    """Take primaries, and answer each that wants it with the next reply, if there is one."""
    names = []
    for reply in replies:
        primary = await anext(connection)
        names.append(primary.name)
        if reply is not None:
            await connection.reply(primary, reply)
    return names


async def test_listen_sends_to_each_peer_that_selects(tmp_path: Path) -> None:
    file = tmp_path / "events.sml"
    file.write_text("S6F11 <L [3] <U4 1> <U4 2> <L>> .\nS1F13 W <L [0]> .", encoding="utf-8")
    words = ("--send", "S1F1", "--send", f"@{file}", "--count", 2, "--json-items")
    async with listening(*words) as (lines, port):
        for _ in range(2):
            async with open_hsms(HOST, port) as connection:
                replies = [S1F2("m", "1"), None, S1F14(0, "m", "1")] * 2
                names = await answering(connection, replies)
                assert names == ["S1F1", "S6F11", "S1F13"] * 2
                peer = connection.local_address
                told = await lines.until("reply")
                assert (told["peer"], told["message"], told["wait"]) == (peer, "S1F2", False)
                assert [from_json(each) for each in told["items"]] == [L(A("m"), A("1"))]
                assert datetime.fromisoformat(told["at"]).tzinfo is not None
                sent = await lines.until("sent")
                assert from_json(sent["items"][0]) == L(U4(1), U4(2), L())
            await lines.until("ended")
        await ended(lines)


async def test_listen_goes_on_when_a_message_fails() -> None:
    short = ("--t3", 0.05, "--allow-short-timers")
    words = ("--send", "S1F1", "--send", "S1F13", *short, "--json")
    async with listening(*words) as (lines, port):
        async with open_hsms(HOST, port) as connection:
            # An equipment reports with S9F9 that it has waited in vain.
            assert await answering(connection, [None] * 3) == ["S1F1", "S9F9", "S1F13"]
            failed = await lines.until("failed")
            assert "no reply to S1F1 within T3 = 0.05 s" in failed["why"]
        # The peer has left in the middle of the next one.
        assert (await lines.until("ended"))["why"].endswith("the peer separated")
        async with open_hsms(HOST, port) as connection:
            await anext(connection)
        await ended(lines)


@pytest.mark.parametrize("events", [["accepted", "selected"], ["accepted", "selected", "ended"]])
async def test_of_peers_that_come_together_each_is_accepted_before_it_is_selected(
    events: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "links.toml"
    file.write_text(f'[link.a]\nhost = "{HOST}"\nport = 0\nmax_sessions = 9\n', encoding="utf-8")
    async with started("listen", "--config", file, "--json") as lines:
        port = (await lines.until("listening"))["port"]
        peers = [socket.create_connection((HOST, port)) for _ in range(9)]
        try:
            # All have asked before the program looks.
            lines.process.send_signal(signal.SIGSTOP)
            for peer in peers:
                peer.sendall(bytes.fromhex("0000000a ffff 0000 0001 00000001"))
                if "ended" in events:
                    peer.shutdown(socket.SHUT_WR)
            lines.process.send_signal(signal.SIGCONT)
            told = [json.loads(await lines.next()) for _ in range(9 * len(events))]
        finally:
            for peer in peers:
                peer.close()
        for peer_told in {each["peer"] for each in told}:
            assert [each["event"] for each in told if each["peer"] == peer_told] == events
        await ended(lines)


async def test_listen_has_one_session_and_says_who_is_refused() -> None:
    async with listening("--json") as (lines, port), open_hsms(HOST, port) as connection:
        with pytest.raises(SelectRefusedError):
            async with open_hsms(HOST, port):
                pass
        assert "refused with Select.rsp 3" in (await lines.until("warning"))["warning"]
        assert (await lines.until("refused"))["why"] == "others have all sessions (1)"
        assert (await lines.until("ended"))["peer"] != connection.local_address
        await connection.deselect()
        assert (await lines.until("deselected"))["peer"] == connection.local_address
        await ended(lines)


async def test_listen_lets_in_only_whom_it_is_told_to() -> None:
    async with listening("--allow", "192.0.2.0/24") as (lines, port):
        stream = await trio.open_tcp_stream(HOST, port)
        [line] = untimed(await lines.next())
        assert line.startswith(f"// turned away: {HOST}:")
        assert "allowed_networks" in line
        await stream.aclose()
        await ended(lines)


async def test_listen_warns_when_other_machines_reach_it() -> None:
    async with started("listen", "0.0.0.0", 0) as lines:
        await lines.next()
        lines.process.send_signal(signal.SIGTERM)
        assert await lines.process.wait() == 0
        assert one_line(await errors_of(lines)).startswith("hsms-engine listen: warning: ")


def test_a_port_that_is_taken_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        assert cli.main(["listen", HOST, str(taken.getsockname()[1])]) == 1
    assert "Address already in use" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "Missing argument 'HOST'"),
        ([HOST], "Missing argument 'PORT'"),
        ([HOST, "65536"], "'65536' is not a whole number in 0..65535"),
        ([HOST, "0", "--role", "tool"], "'tool' is neither host nor equipment"),
        ([HOST, "0", "--send", "S1F2"], "S1F2 is a secondary"),
        ([HOST, "0", "--send", "S2F41"], "it has no usual body"),
        ([HOST, "0", "--send", "@/no/such"], "cannot read /no/such: No such file or directory"),
        ([HOST, "0", "--send", "@"], "--send @: no FILE is named after the @"),
        ([HOST, "0", "--library", "/"], "cannot read /: Is a directory"),
        ([HOST, "0", "--allow", "everybody"], "allowed_networks"),
        ([HOST, "0", "--second-host", "maybe"], "second_host"),
        ([HOST, "0", "--config", "/no/such"], "cannot read /no/such"),
        ([HOST, "0", "--tls-certificate", "/no/such.pem"], "/no/such.pem"),
    ],
)
def test_a_wrong_command_line_of_listen_is_refused_in_one_line(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["listen", *words]) == 2
    assert why in one_line(capsys.readouterr().err)
    assert cli.main(["listen", *words, "--json-items"]) == 2
    out, errors = capsys.readouterr()
    assert errors == ""
    assert why in json.loads(one_line(out))["error"]


async def test_listen_prints_in_any_locale_and_stops_when_nobody_reads() -> None:
    plain = {**ENVIRONMENT, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    words = ("--text-encoding", "utf-8")
    async with listening(*words, env=plain) as (lines, port):
        async with open_hsms(HOST, port) as connection:
            await connection.send(Message(10, 1, item="温", text_encoding="utf-8"))
            while not (line := await lines.next()).startswith("<"):
                pass
            assert line == r'<A "\u6e29"> .'
            await lines.stream.aclose()
            await connection.send(Message(10, 1))
            assert [each async for each in connection] == []
        assert await lines.process.wait() == 1
        assert await errors_of(lines) == ""


def test_the_help_of_both_fits_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for command in ("connect", "listen"):
        assert cli.main([command, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "--json-items" in shown
        assert "--library" in shown


# What is printed


class Recorded(Process):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "is_dim"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "unknown"}, False),
        ({"TERM": ""}, False),
        ({}, False),
    ],
)
def test_comments_are_dim_on_a_terminal_that_may_have_colours(
    variables: dict[str, str], is_dim: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Terminal())
    recorded = Recorded()
    for is_json in (False, True):
        Teller(recorded, is_json=is_json, has_items=False).happened("reply", "p", S1F1())
    comment, sml, told = recorded.lines
    assert comment.startswith("\x1b[2m// ") == comment.endswith("\x1b[0m") == is_dim
    assert sml == "S1F1 W ."
    assert json.loads(told)["sml"] == sml
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    Teller(recorded, is_json=False, has_items=False).stopped()
    assert recorded.lines[-1].startswith("// ")


def told(**how: bool) -> tuple[Teller, list[str]]:
    recorded = Recorded()
    return Teller(recorded, **{"is_json": False, "has_items": False, **how}), recorded.lines


def test_a_body_that_is_no_secs_is_told_in_each_form() -> None:
    message = Message(6, 11, body=b"\xff")
    fault = "S6F11: a body of 1 bytes that is no SECS-II"
    teller, lines = told()
    teller.happened("received", "p", message)
    assert untimed(lines[1])[0].startswith(f"// {fault}")
    teller, lines = told(is_json=True)
    teller.happened("received", "p", message)
    assert json.loads(lines[0])["sml"].startswith(f"// {fault}")
    assert "items" not in json.loads(lines[0])
    teller, lines = told(is_json=True, has_items=True)
    teller.happened("received", "p", message)
    assert (json.loads(lines[0])["items"], json.loads(lines[0])["body"]) == (None, "ff")


def test_a_comment_is_one_line_in_which_nothing_acts_on_the_terminal() -> None:
    teller, lines = told()
    teller.passed_over([Passed("a\nS1F1 W .sml", 1, 2, "comment", "\x1b[2J\r")])
    [line] = untimed("\n".join(lines))
    assert line == r"// note: a\nS1F1 W .sml, line 1, column 2: comment: \x1b[2J\r"


def test_notes_warnings_and_what_was_missed_are_told() -> None:
    note = Passed("f.sml", 1, 2, "comma", "no comma")
    teller, lines = told()
    teller.passed_over([note])
    teller.warned(["careful"])
    _tell(Missed(0.0, 0, 7), teller)
    # That it is stopped is told by what stops it.
    _tell(Closed(0.0, 0), teller)
    assert untimed("\n".join(lines)) == [
        "// note: f.sml, line 1, column 2: comma: no comma",
        "// warning: careful",
        "// warning: 7 events came too fast and are not told",
    ]
    teller, lines = told(is_json=True)
    teller.passed_over([note])
    teller.happened("ended", "p", why="it is over")
    objects = [json.loads(each) for each in lines]
    assert all(re.fullmatch(r"[-0-9]{10}T.*", each.pop("at")) for each in objects)
    assert objects == [
        {
            "event": "note",
            "file": "f.sml",
            "line": 1,
            "column": 2,
            "kind": "comma",
            "text": "no comma",
        },
        {"event": "ended", "peer": "p", "why": "it is over"},
    ]
