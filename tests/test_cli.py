"""The programs, as processes of their own: first line, signals, exit codes, one line for a failure.

What is wrong with the command line is checked inside this process, by the same ``main``.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio

import hsms_engine
from hsms_engine import (
    AbortedError,
    HsmsConnection,
    HsmsError,
    Message,
    Settings,
    cli,
    open_hsms,
    process,
    serve_hsms,
)
from hsms_engine.cli import program
from hsms_engine.cli.command import Command
from hsms_engine.cli.connect import held_warnings
from hsms_engine.driver.tcp import connect_tcp, listen_tcp
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.fake.behaviours import KNOWN, listing
from hsms_engine.interrupt import starts_program
from hsms_engine.logs import LINK
from hsms_engine.messages import S1F1, S1F2, S1F17, S5F1, S6F11
from hsms_engine.process import Process
from hsms_engine.secs2 import A, DecodeError, decode, encode
from tests.support.patience import PATIENCE
from tests.support.raw_peer import (
    SELECT_REQ,
    SEPARATE_REQ,
    RawPeer,
    data,
)

if sys.platform == "win32":
    pytest.skip(
        "what is tested here are signals, terminals and pipes of POSIX", allow_module_level=True
    )

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
FULL = Path("/dev/full")
DATA = 0
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
# Unbuffered, a program does not fail once more at its end.
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hsms_engine", *map(str, arguments)]


class Lines:
    """What a process prints, line by line."""

    def __init__(self, process: trio.Process, stream: trio.abc.ReceiveStream) -> None:
        self.process = process
        self.stream = stream
        self._rest = b""

    async def next(self) -> str:
        while b"\n" not in self._rest:
            more = await self.stream.receive_some()
            assert more, f"it ended after {self._rest!r}"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def timed(self) -> str:
        """The next line, which begins with a time, without that."""
        line = await self.next()
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line), line
        return line[13:]

    async def until(self, event: str) -> dict[str, Any]:
        """The next JSON object that is this event."""
        while True:
            told: dict[str, Any] = json.loads(await self.next())
            if told["event"] == event:
                return told

    async def rest(self) -> str:
        while more := await self.stream.receive_some():
            self._rest += more
        return self._rest.decode()


@asynccontextmanager
async def running(
    words: list[str],
    *,
    ignored: Collection[signal.Signals] = (),
    env: Mapping[str, str] = ENVIRONMENT,
    on_terminal: bool = False,
) -> AsyncIterator[Lines]:
    """A program that runs until the block is over, if it does not end by itself."""

    def prepare() -> None:
        # The shell that started the tests may ignore some, and what ignores them hands that on.
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN if each in ignored else signal.SIG_DFL)

    with trio.fail_after(PATIENCE):
        ours, theirs = os.openpty() if on_terminal else os.pipe()
        process = await trio.lowlevel.open_process(
            words,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=env,
            preexec_fn=prepare,
        )
        os.close(theirs)
        lines = Lines(process, trio.lowlevel.FdStream(ours))
        try:
            yield lines
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            for stream in (lines.stream, process.stderr):
                assert stream is not None
                await stream.aclose()


def started(*arguments: object, **options: Any) -> AbstractAsyncContextManager[Lines]:
    return running(command(*arguments), **options)


@asynccontextmanager
async def fake(*arguments: object) -> AsyncIterator[tuple[Lines, int]]:
    """The program ``fake --json`` on a port of its own choice."""
    async with started("fake", "--port", 0, "--json", *arguments) as lines:
        first = json.loads(await lines.next())
        assert (first["event"], first["host"]) == ("listening", HOST)
        assert datetime.fromisoformat(first["at"]).tzinfo is not None
        yield lines, first["port"]


async def errors_of(lines: Lines) -> str:
    assert lines.process.stderr is not None
    return b"".join([each async for each in lines.process.stderr]).decode()


async def connect(port: int, *arguments: object) -> tuple[int, str, str]:
    """Run ``connect``: exit code, output, errors."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            command("connect", HOST, port, *arguments),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=ENVIRONMENT,
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def untimed(text: str) -> list[str]:
    """Lines, of which those that are comments have a time: without it."""
    lines = text.splitlines()
    for line in lines:
        assert not line.startswith("//") or re.match(r"// \d\d:\d\d:\d\d\.\d{3} ", line), line
    return [f"// {line[16:]}" if line.startswith("//") else line for line in lines]


@asynccontextmanager
async def equipment_here(*behaviours: str, **options: Any) -> AsyncIterator[FakeEquipment]:
    """A fake equipment in this process, whose peer is the program."""
    async with trio.open_nursery() as nursery:
        equipment = await nursery.start(partial(serve_fake, behaviours=behaviours, **options))
        yield equipment
        await equipment.aclose()


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text.rstrip("\n")


# fake


async def test_fake_says_first_where_it_listens_and_then_what_happens() -> None:
    async with started("fake", "--port", 0) as lines:
        word, on, address = (await lines.next()).split()
        assert (word, on) == ("listening", "on")
        host, port = address.split(":")
        async with open_hsms(host, int(port)) as connection:
            await connection.request(S1F1())
        peer = (await lines.timed()).removesuffix(": accepted")
        assert [await lines.timed() for _ in range(3)] == [
            f"{peer}: selected",
            f"{peer}: received, message S1F1 W, bytes 0",
            f"{peer}: replied, message S1F2, bytes 20",
        ]
        assert [await lines.next() for _ in range(5)] == [
            "S1F2",
            "<L [2]",
            '  <A "hsms-engine">',
            '  <A "1.0">',
            "> .",
        ]
        assert await lines.timed() == f"{peer}: ended, why separated"
        lines.process.terminate()
        assert await lines.rest() == "stopped\n"


@pytest.mark.parametrize("number", ENDING)
async def test_fake_separates_on_a_signal_and_exits_with_0(number: signal.Signals) -> None:
    async with fake() as (lines, port), open_hsms(HOST, port) as connection:
        lines.process.send_signal(number)
        # A Separate ends the iteration; anything else would raise.
        assert [primary async for primary in connection] == []
        assert await lines.process.wait() == 0
        last = json.loads((await lines.rest()).splitlines()[-1])
        assert (last["event"], {*last}) == ("stopped", {"event", "at"})
        assert await errors_of(lines) == ""


async def test_fake_takes_its_settings_from_the_command_line() -> None:
    behaviours = ("--behaviour", "drop-replies=2", "--behaviour", "delay-replies=0.001")
    async with fake("--session-id", 7, *behaviours, "--linktest", 0, "--quiet") as (lines, port):
        code, out, _ = await connect(port, "--session-id", 7, "--send", "S1F1")
        assert (code, Message.parse(out.split("\n", 1)[1].rsplit("//", 1)[0]).name) == (0, "S1F2")
        code, _, errors = await connect(
            port, "--session-id", 7, "--send", "S1F1", "--t3", 0.05, "--allow-short-timers"
        )
        assert code == 1
        assert "no reply to S1F1 within T3 = 0.05 s" in one_line(errors)
        lines.process.terminate()
        names = [json.loads(line)["event"] for line in (await lines.rest()).splitlines()]
        # Quiet: no message is printed.
        assert names == ["accepted", "selected", "ended"] * 2 + ["stopped"]


async def test_the_session_id_is_that_of_the_command_line() -> None:
    async with (
        fake("--session-id", 7) as (_, port),
        open_hsms(HOST, port, session_id=7) as connection,
    ):
        assert (await connection.request(S1F1())).session_id == 7
    async with equipment_here(settings=Settings(port=0, session_id=8)) as equipment:
        code, _, _ = await connect(equipment.port, "--session-id", 8, "--send", "S1F1")
        assert code == 0


async def test_fake_sends_alarms_and_events() -> None:
    async with fake("--alarms", 0.001, "--events", 0.001) as (lines, port):
        names: set[str] = set()
        async with open_hsms(HOST, port) as connection:
            async for primary in connection:
                names.add(primary.name)
                await connection.reply(primary, Message(primary.stream, primary.function + 1))
                if names == {"S5F1", "S6F11"}:
                    break
            while (await lines.until("received"))["message"] != "S6F12":
                pass


async def test_fake_answers_from_a_file_and_else_as_the_tool_that_is_shipped(
    tmp_path: Path,
) -> None:
    book = tmp_path / "book.sml"
    book.write_text('S1F2 <L <A "mine"> <A "1">> .', encoding="utf-8")
    async with fake("--answers", book) as (_, port), open_hsms(HOST, port) as connection:
        assert await connection.request(S1F1()) == Message(1, 2, item=["mine", "1"])
        assert await connection.request(S1F17()) == Message(1, 18, item=b"\x02")


async def test_fake_takes_its_file_again_at_a_hangup(tmp_path: Path) -> None:
    file = tmp_path / "tool.toml"
    file.write_text("[tool]\nmodel = 'ONE'\n", encoding="utf-8")
    async with fake(file) as (lines, port), open_hsms(HOST, port) as connection:
        for model in ("TWO", "THREE"):
            file.write_text(f"[tool]\nmodel = '{model}'\n", encoding="utf-8")
            lines.process.send_signal(signal.SIGHUP)
            await lines.until("adopted")
            assert await connection.request(S1F1()) == S1F2(model, "1.0")


async def test_fake_on_a_port_in_use_says_so_and_exits_with_1() -> None:
    listener = await listen_tcp(HOST, 0)
    async with started("fake", "--port", listener.port) as lines:
        assert await lines.process.wait() == 1
        line = one_line(await errors_of(lines))
        assert line.endswith(f"cannot listen on {HOST}:{listener.port}: Address already in use")
        assert await lines.rest() == ""
    listener.close()


async def test_fake_ends_when_nobody_reads_its_output() -> None:
    async with fake() as (lines, port):
        await lines.stream.aclose()
        stream = await connect_tcp(HOST, port)
        assert await lines.process.wait() == 1
        assert await errors_of(lines) == ""
        stream.close()


async def test_fake_ends_in_order_when_nobody_reads_what_its_end_has_to_say() -> None:
    async with fake("--behaviour", "accept-and-say-nothing") as (lines, port):
        held = [await connect_tcp(HOST, port) for _ in range(2)]
        for _ in held:
            await lines.until("accepted")
        await lines.stream.aclose()
        # Nobody hears of this one, and nobody that the others are let go.
        held.append(await connect_tcp(HOST, port))
        assert await lines.process.wait() == 1
        assert await errors_of(lines) == ""
        for stream in held:
            stream.close()


# What cannot be written


def shell(redirection: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program whose output goes where a shell sends it."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command(*arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    "arguments", [["fake", "--port", "0"], ["connect"], ["--help"], ["--version"]]
)
@pytest.mark.parametrize(
    ("redirection", "why"),
    [
        (">/dev/full", "No space left on device"),
        (">/dev/full 2>/dev/full", None),
        (">/dev/full 2>&-", None),
        ("1</dev/null", "Bad file descriptor"),
        (">&-", "standard output is closed"),
        (">&- 2>&-", None),
    ],
)
async def test_an_output_that_cannot_be_written_is_a_failure_in_one_line(
    arguments: list[str], redirection: str, why: str | None
) -> None:
    async with equipment_here() as equipment:
        if arguments == ["connect"]:
            arguments = [*arguments, HOST, str(equipment.port)]
        done = await trio.to_thread.run_sync(shell, redirection, *arguments)
        await equipment.until(lambda: equipment.counts["ended"] == equipment.counts["selected"])
    assert (done.returncode, done.stdout) == (1, "")
    if why is None:
        assert done.stderr == ""
    else:
        line = one_line(done.stderr)
        assert line.startswith("hsms-engine")
        assert line.endswith(why)
        assert "listen" not in line


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_a_complaint_that_cannot_be_written_leaves_the_exit_code(redirection: str) -> None:
    done = shell(redirection, "bogus")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


async def test_an_output_that_breaks_lets_fake_separate() -> None:
    async with started("fake", "--port", 0, "--json", on_terminal=True) as lines:
        port = json.loads(await lines.next())["port"]
        async with open_hsms(HOST, port) as connection:
            await lines.until("selected")
            await lines.stream.aclose()
            # It says in a handler what it has received.
            with suppress(HsmsError):
                await connection.request(S1F1())
            # It has separated; anything else would raise.
            assert [primary async for primary in connection] == []
        assert await lines.process.wait() == 1
        told = json.loads(one_line(await errors_of(lines)))
        assert told["error"] == "cannot write the output: Input/output error"


async def test_an_output_that_breaks_lets_connect_separate() -> None:
    told: list[tuple[str, object]] = []

    def report(event: str, details: Mapping[str, object]) -> None:
        told.append((event, details.get("why")))

    async with equipment_here(report=report) as equipment:
        sends = ("--send", "S1F1", "--count", 1_000_000_000, "--json")
        arguments = ("connect", HOST, equipment.port, *sends)
        async with started(*arguments, on_terminal=True) as lines:
            await lines.until("reply")
            await lines.stream.aclose()
            assert await lines.process.wait() == 1
            assert json.loads(one_line(await errors_of(lines))) == {
                "event": "error",
                "program": "hsms-engine connect",
                "error": "cannot write the output: Input/output error",
                "exit_code": 1,
            }
        await equipment.until(lambda: equipment.counts["ended"] == 1)
    assert ("ended", "separated") in told


def test_a_signal_frees_a_program_whose_reader_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with suppress(BlockingIOError):
        while True:
            os.write(theirs, bytes(65_536))
    os.set_blocking(theirs, True)

    class Blocked(io.FileIO):
        interrupted = False

        def write(self, data: Any, /) -> int:
            if not self.interrupted:
                # As the system does it when it comes while this waits for the reader.
                self.interrupted = True
                signal.raise_signal(signal.SIGTERM)
            return super().write(data)

    async def main(this: Process) -> int:
        with this.until_stopped():
            this.line("blocked")
            this.line("dropped")
            await trio.Event().wait()
        return this.exit_code

    with io.TextIOWrapper(io.BufferedWriter(Blocked(theirs, "w")), encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert process.run(main) == 128 + signal.SIGTERM
        monkeypatch.undo()
    os.close(ours)


def test_a_signal_does_not_cut_a_line_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(io.StringIO):
        encoding = "ascii"

        def write(self, text: str, /) -> int:
            if not self.getvalue():
                signal.raise_signal(signal.SIGTERM)
            return super().write(text)

    async def main(this: Process) -> int:
        with this.until_stopped():
            this.line("h\u00f6st")
            await trio.Event().wait()
        this.line("stopped")
        return 0

    written = Interrupted()
    monkeypatch.setattr(sys, "stdout", written)
    assert process.run(main) == 0
    assert written.getvalue() == "h\\xf6st\nstopped\n"


def test_a_program_runs_in_a_thread_too_where_no_signal_is_heard() -> None:
    async def main(this: Process) -> int:
        return this.exit_code

    async def run() -> int:
        return await trio.to_thread.run_sync(process.run, main)

    assert trio.run(run) == 0


# connect


async def test_connect_prints_replies_as_sml() -> None:
    text = 'S2F41 W <L [2] <A "START"> <L [0]>> .'
    async with equipment_here(unknown="echo") as equipment:
        code, out, errors = await connect(
            equipment.port, "--send", "S1F1", "--send", text, "--send", "S64F1 <A 'x'>"
        )
        received = list(equipment.received)
    assert (code, errors) == (0, "")
    peer = f"{HOST}:{equipment.port}"
    expected = [S1F2("hsms-engine", "1.0"), Message.parse("S2F42 <L <B 2> <L>>")]
    expected.append(Message.parse("S64F2 <A 'x'>"))
    assert untimed(out) == [
        f"// selected: {peer}",
        *(
            line
            for each in expected
            for line in (f"// reply from {peer}:", *each.sml().splitlines())
        ),
        f"// separated: {peer}",
    ]
    # Sent with W, whether it was written or not.
    assert received == [S1F1(), Message.parse(text), Message.parse("S64F1 W <A 'x'>")]


@pytest.mark.parametrize(
    ("more", "unsent"), [(0, ""), (1, "1 more message was"), (2, "2 more messages were")]
)
async def test_what_is_not_sent_because_of_an_error_is_told(more: int, unsent: str) -> None:
    words = ["--send", "S64F1", *["--send", "S1F1"] * more]
    async with equipment_here(answer=lambda _: Message(64, 0)) as equipment:
        code, _, errors = await connect(equipment.port, *words)
    assert code == 1
    assert one_line(errors).endswith(f"; {unsent} not sent") == bool(unsent)


def test_an_address_in_one_word_is_told_how_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["connect", "10.1.2.3:5000"]) == 2
    assert "write '10.1.2.3:5000' with a space" in one_line(capsys.readouterr().err)


async def test_connect_sends_and_prints_text_in_the_encoding_of_the_link(tmp_path: Path) -> None:
    text = 'S64F1 W\n<A "温度"> .'
    file = tmp_path / "links.toml"
    async with equipment_here(unknown="echo") as equipment:
        file.write_text(f"[link.a]\nport = {equipment.port}\ntext_encoding = 'gbk'", "utf-8")
        for given in (("--text-encoding", "gbk"), ("--config", file)):
            code, out, errors = await connect(equipment.port, *given, "--send", text, "--json")
            assert (code, errors) == (0, "")
            reply = json.loads(out.splitlines()[1])
            assert reply["sml"] == 'S64F2\n<A "温度"> .'
        # One that is written with other bytes, and shown as them.
        code, out, _ = await connect(equipment.port, "--send", "S64F1 <A 0xCE 0xC2>", "--json")
        assert json.loads(out.splitlines()[1])["sml"] == "S64F2\n<A 0xCE 0xC2> ."
        bodies = [each.body for each in equipment.received]
    assert bodies == [encode(A("温度", encoding="gbk"))] * 2 + [encode(A(b"\xce\xc2"))]


async def test_fake_answers_and_prints_text_in_the_encoding_of_the_link(tmp_path: Path) -> None:
    book = tmp_path / "book.sml"
    book.write_text('S64F2 <A "温度"> .', encoding="utf-8")
    options = ("--answers", book, "--text-encoding", "gb18030", "--json")
    async with started("fake", "--port", 0, *options) as lines:
        port = (await lines.until("listening"))["port"]
        async with open_hsms(HOST, port) as connection:
            request = Message(64, 1, True, "温", text_encoding="gb18030")
            reply = await connection.request(request)
            assert reply.item == A("温度", encoding="gb18030")
        assert (await lines.until("received"))["sml"] == 'S64F1 W\n<A "温"> .'
        lines.process.send_signal(signal.SIGTERM)
        await lines.process.wait()


async def test_connect_tells_a_failure_once() -> None:
    async with equipment_here() as equipment:
        wrong = ("--session-id", 3, "--send", "S1F1")
        code, out, errors = await connect(equipment.port, *wrong)
        assert (code, untimed(out)) == (1, [f"// selected: {HOST}:{equipment.port}"])
        assert "reported S1F1 with S9F1" in one_line(errors)
        code, out, errors = await connect(equipment.port, *wrong, "--json")
        assert (code, errors) == (1, "")
        assert [json.loads(line)["event"] for line in out.splitlines()] == ["selected", "error"]


@pytest.mark.parametrize("as_json", [False, True])
async def test_connect_tells_a_warning_that_is_followed_by_no_failure(as_json: bool) -> None:
    sends = ("--send", "S1F1", *(["--json"] if as_json else []))
    async with dialled_by_connect(*sends) as (lines, peer):
        await peer.select_by_answering()
        system = (await peer.frame()).system
        await peer.send(data(6, 3, 1, session=9), data(1, 2, system))
        assert (await peer.frame()).stype == SEPARATE_REQ
        await peer.close()
        assert await lines.process.wait() == 0
        *_, last = (await lines.rest()).splitlines()
        assert await errors_of(lines) == ""
    if as_json:
        told = json.loads(last)
        assert datetime.fromisoformat(told.pop("at")).tzinfo is not None
    else:
        [last] = untimed(last)
        assert last.startswith("// warning: ")
        told = {"event": "warning", "warning": last[12:]}
    assert told.keys() == {"event", "warning"}
    assert told["event"] == "warning"
    assert "S6F3 has session id 9, and ours is 0" in told["warning"]


async def test_connect_shows_a_defect_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with held_warnings() as held:
        LINK.warning("a warning")
        LINK.error("a defect")
    LINK.warning("after it")
    assert held == ["a warning"]
    assert [each.getMessage() for each in caplog.records] == ["a defect", "after it"]


async def test_connect_without_a_message_selects_and_separates() -> None:
    async with equipment_here() as equipment:
        local = ("--local-host", "127.0.0.2", "--local-port", 0)
        code, out, errors = await connect(equipment.port, *local, "--json")
        await equipment.until(lambda: equipment.counts["ended"] == 1)
    peer = f"{HOST}:{equipment.port}"
    assert (code, errors) == (0, "")
    told = [json.loads(line) for line in out.splitlines()]
    times = [datetime.fromisoformat(each.pop("at")) for each in told]
    assert times == sorted(times)
    assert told[0].pop("local").startswith("127.0.0.2:")
    assert told == [
        {"event": "selected", "peer": peer, "remote": peer},
        {"event": "separated", "peer": peer},
    ]


async def test_connect_sends_nothing_as_often_as_asked() -> None:
    async with equipment_here() as equipment:
        code, out, errors = await connect(equipment.port, "--count", 1_000_000_000)
    peer = f"{HOST}:{equipment.port}"
    assert (code, errors) == (0, "")
    assert untimed(out) == [f"// selected: {peer}", f"// separated: {peer}"]


async def test_connect_sends_as_often_as_asked_and_prints_json() -> None:
    async with equipment_here(unknown="echo") as equipment:
        sends = ("--send", "S1F1", "--send", "S64F1")
        code, out, _ = await connect(equipment.port, *sends, "--count", 3, "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [each["message"] for each in told[1:-1]] == ["S1F2", "S64F2"] * 3
    assert {each["event"] for each in told[1:-1]} == {"reply"}
    assert Message.parse(told[1]["sml"]) == S1F2("hsms-engine", "1.0")


async def test_connect_answers_what_the_equipment_says_unasked() -> None:
    replies: list[Message] = []

    async def speak_first(connection: HsmsConnection) -> None:
        primary = await anext(connection)
        await connection.send(Message(6, 3))
        replies.append(await connection.request(S5F1(0x81, 1, "hot")))
        replies.append(await connection.request(S6F11(1, 2, {})))
        with pytest.raises(AbortedError):
            await connection.request(Message(64, 1, True))
        await connection.reply(primary, S1F2())
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_hsms, speak_first, Settings(port=0))
        peer = server.address
        code, out, _ = await connect(server.port, "--send", "S1F1")
        nursery.cancel_scope.cancel()
    assert code == 0
    assert [each.name for each in replies] == ["S5F2", "S6F12"]
    heads = [line for line in untimed(out) if line.startswith(("//", "S"))]
    assert heads == [
        f"// selected: {peer}",
        *(f"// received from {peer}:", "S6F3 ."),
        *(f"// received from {peer}:", "S5F1 W"),
        *(f"// received from {peer}:", "S6F11 W"),
        *(f"// received from {peer}:", "S64F1 W ."),
        f"// reply from {peer}:",
        "S1F2",
        f"// separated: {peer}",
    ]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("refuse-tcp", "not connected, during TCP connect: "),
        ("accept-and-close", "not connected, during select: "),
        (
            "refuse-select=3",
            "the peer answered Select.req with status 3 (exhausted: another host has the session)",
        ),
        ("drop-replies", "no reply to S1F1 within T3 = 0.05 s"),
        ("cut-mid-frame", "S1F1 got no reply: "),
        ("separate-after=1", "the peer separated"),
    ],
)
async def test_connect_says_in_one_line_why_it_failed(behaviour: str, message: str) -> None:
    # A short T3 only where it is to expire: a busy machine is not a lost reply.
    timers = ("--t3", 0.05, "--allow-short-timers") if "T3" in message else ()
    async with equipment_here(behaviour) as equipment:
        code, _, errors = await connect(equipment.port, *timers, "--send", "S1F1", "--count", 2)
    assert code == 1
    line = one_line(errors)
    assert line.startswith("hsms-engine connect: ")
    assert message in line


async def test_connect_says_when_a_reply_is_not_secs() -> None:
    async def reply_with_rubbish(connection: HsmsConnection) -> None:
        primary = await anext(connection)
        await connection.reply(primary, Message(1, 2, body=b"\xff"))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_hsms, reply_with_rubbish, Settings(port=0))
        code, _, errors = await connect(server.port, "--send", "S1F1")
        nursery.cancel_scope.cancel()
    assert code == 1
    one_line(errors)
    assert "S1F2: a body of 1 bytes that is no SECS-II" in errors


async def test_connect_goes_on_when_what_it_is_told_is_not_secs() -> None:
    async def tell_rubbish(connection: HsmsConnection) -> None:
        primary = await anext(connection)
        await connection.send(Message(6, 11, body=b"\xff"))
        # The reply comes behind it, so both have been read when the program ends.
        await connection.reply(primary, Message(1, 2))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_hsms, tell_rubbish, Settings(port=0))
        code, told, _ = await connect(server.port, "--send", "S1F1", "--count", "1")
        nursery.cancel_scope.cancel()
    assert code == 0
    assert "S1F2" in told


# Signals


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize(
    ("behaviour", "sends"),
    [
        ("answer-everything", ("--count", 1_000_000_000)),
        ("delay-replies=3600", ()),
    ],
)
async def test_connect_separates_on_a_signal(
    behaviour: str, sends: tuple[object, ...], number: signal.Signals
) -> None:
    told: list[tuple[str, object]] = []

    def report(event: str, details: Mapping[str, object]) -> None:
        told.append((event, details.get("why")))

    async with (
        equipment_here(behaviour, report=report) as equipment,
        started("connect", HOST, equipment.port, "--send", "S1F1", "--json", *sends) as lines,
    ):
        await equipment.until(lambda: equipment.counts["received"] >= 1)
        lines.process.send_signal(number)
        *_, last = (await lines.rest()).splitlines()
        assert await lines.process.wait() == 128 + number
        assert json.loads(last)["event"] == "separated"
        assert await errors_of(lines) == ""
        await equipment.until(lambda: equipment.counts["ended"] == 1)
        assert told[-1] == ("ended", "separated")


@asynccontextmanager
async def dialled_by_connect(*arguments: object, **options: Any) -> AsyncIterator[Dialled]:
    """A peer made of bytes that ``connect`` has reached, its Select.req not taken."""
    listener = await listen_tcp(HOST, 0)
    async with started("connect", HOST, listener.port, *arguments, **options) as lines:
        stream, _ = await listener.accept()
        listener.close()
        yield lines, RawPeer(stream)
        stream.close()


Dialled = tuple[Lines, RawPeer]


@pytest.mark.parametrize("number", ENDING)
async def test_connect_ends_on_a_signal_while_it_selects(number: signal.Signals) -> None:
    async with dialled_by_connect("--t6", 240) as (lines, peer):
        assert (await peer.frame()).stype == SELECT_REQ
        lines.process.send_signal(number)
        assert await lines.process.wait() == 128 + number
        await peer.end()
        assert await lines.rest() == await errors_of(lines) == ""


def test_a_hangup_that_is_heard_stops_nothing_and_a_later_one_does() -> None:
    said: list[str] = []

    async def main(this: Process) -> int:
        heard = trio.Event()
        with this.hearing_hangup(heard.set):
            signal.raise_signal(signal.SIGHUP)
            await heard.wait()
        said.append("heard")
        with this.until_stopped():
            signal.raise_signal(signal.SIGHUP)
            await trio.Event().wait()
        said.append("stopped")
        return this.exit_code

    assert process.run(main) == 128 + signal.SIGHUP
    assert said == ["heard", "stopped"]


def test_a_second_signal_ends_the_goodbye_and_a_third_has_the_effect_of_the_system() -> None:
    said: list[str] = []
    before = {each: signal.getsignal(each) for each in ENDING}

    async def main(this: Process) -> int:
        try:
            with this.until_stopped():
                signal.raise_signal(signal.SIGHUP)
                await trio.Event().wait()
            said.append("goodbye")
            signal.raise_signal(signal.SIGTERM)
            await trio.Event().wait()
            return 0
        finally:
            said.append("over")
            assert signal.getsignal(signal.SIGTERM) is before[signal.SIGTERM]

    assert process.run(main) == 128 + signal.SIGHUP
    assert said == ["goodbye", "over"]
    assert {each: signal.getsignal(each) for each in ENDING} == before


def send_in_one_go(process: trio.Process, *numbers: signal.Signals) -> None:
    for each in (signal.SIGSTOP, *numbers, signal.SIGCONT):
        process.send_signal(each)


async def test_two_signals_in_one_go_do_not_prevent_the_separate_of_connect() -> None:
    async with dialled_by_connect("--send", "S1F1") as (lines, peer):
        await peer.select_by_answering()
        assert (await peer.frame()).stype == DATA
        send_in_one_go(lines.process, signal.SIGHUP, signal.SIGTERM)
        assert (await peer.frame()).stype == SEPARATE_REQ
        assert await lines.process.wait() == 128 + signal.SIGHUP


async def test_two_signals_in_one_go_do_not_prevent_the_separate_of_fake() -> None:
    async with fake() as (lines, port):
        peer = RawPeer(await connect_tcp(HOST, port))
        await peer.select()
        await lines.until("selected")
        send_in_one_go(lines.process, signal.SIGHUP, signal.SIGTERM)
        assert (await peer.frame()).stype == SEPARATE_REQ
        await peer.close()
        assert await lines.process.wait() == 128 + signal.SIGHUP


@pytest.mark.parametrize("others", [{signal.SIGHUP}, {signal.SIGHUP, signal.SIGINT}])
async def test_a_signal_that_is_ignored_from_the_start_stays_ignored(
    others: set[signal.Signals],
) -> None:
    # As ``nohup`` and a shell do it.
    async with dialled_by_connect("--send", "S1F1", ignored=others) as (lines, peer):
        await peer.select_by_answering()
        assert (await peer.frame()).stype == DATA
        for each in (*others, signal.SIGTERM):
            lines.process.send_signal(each)
        assert (await peer.frame()).stype == SEPARATE_REQ
        await peer.close()
        assert await lines.process.wait() == 128 + signal.SIGTERM


SCRIPT = "import sys\nfrom hsms_engine.cli import main\nsys.exit(main())\n"


@pytest.mark.parametrize("module", ["trio", "statemachine", "typer"])
@pytest.mark.parametrize("start", ["-m hsms_engine", "-mhsms_engine", "hsms-engine"])
async def test_ctrl_c_while_a_program_is_imported_is_quiet(
    module: str, start: str, tmp_path: Path
) -> None:
    # In place of a module, one whose import does not end.
    (tmp_path / f"{module}.py").write_text(
        "import signal\nprint('importing', flush=True)\nsignal.pause()\n",
        encoding="utf-8",
    )
    words = start.split()
    if start == "hsms-engine":
        script = tmp_path / start
        script.write_text(SCRIPT, encoding="utf-8")
        words = [str(script)]
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    async with running([sys.executable, *words, "--help"], env=environment) as lines:
        assert await lines.next() == "importing"
        lines.process.send_signal(signal.SIGINT)
        assert await lines.process.wait() == 130
        assert await errors_of(lines) == ""


@pytest.mark.parametrize(
    ("arguments", "original", "starts"),
    [
        (["-m", "--help"], ["python", "-X", "dev", "-m", "hsms_engine", "--help"], True),
        (["-m"], ["python", "-m", "hsms_engine.demo"], True),
        (["-m"], ["python", "-Im", "hsms_engine"], True),
        (["-m", "hsms_engine"], ["python", "-m", "pytest", "hsms_engine"], False),
        (["-m"], ["python", "-m", "hsms_engine_user"], False),
        (["/usr/bin/hsms-engine", "fake"], [], True),
        (["C:\\bin\\hsms-engine.exe"], [], True),
        (["/home/me/hsms-engine.py"], [], False),
        (["-c"], ["python", "-c", "import hsms_engine"], False),
        ([], [], False),
    ],
)
def test_only_a_program_of_this_package_changes_what_ctrl_c_does(
    arguments: list[str], original: list[str], starts: bool
) -> None:
    assert starts_program(arguments, original) is starts


def test_the_library_leaves_ctrl_c_alone() -> None:
    code = "import hsms_engine, signal\nprint(signal.getsignal(signal.SIGINT).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stdout == "default_int_handler\n"


# The command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing command"),
        (["bogus"], "No such command 'bogus'"),
        (["fakes"], "Did you mean 'fake'?"),
        (["fake", "--prot", "1"], "No such option: --prot (Possible options: --"),
        (["fake", "--port"], "Option '--port' requires an argument"),
        (["fake", "--port", "66000"], "'66000' is not a whole number in 0..65535"),
        (["fake", "--port", "http"], "'http' is not a whole number in 0..65535"),
        (["fake", "--session-id", "-1"], "'-1' is not a whole number in 0..32767"),
        (["fake", "--t3", "soon"], "'soon' is not a number of seconds"),
        (["fake", "--t3", "121"], "t3=121.0 is not in 1..120 s"),
        (["fake", "--t8", "0.5"], "t8=0.5 is not in 1..120 s"),
        (["fake", "--linktest", "-1"], "linktest_interval=-1.0 is not in 0.1..86400 s"),
        (["fake", "--second-host", "ask"], "second_host='ask' is not 'probe' or 'refuse'"),
        (["fake", "--behaviour", "explode"], "unknown behaviour 'explode'; there are answer-"),
        (["fake", "--behaviour", "drop-reply"], "'drop-reply'; did you mean 'drop-replies'?"),
        (["fake", "--behaviour", "drop-replies=0"], "drop-replies=0 is not a whole number in 1.."),
        (["fake", "--answers", "/no/such/file"], "cannot read --answers /no/such/file: No such"),
        (["fake", "--answers", "/"], "cannot read --answers /: Is a directory"),
        (["fake", "--answers", "/dev/zero"], "/dev/zero: longer than 4 MB, the limit of an answer"),
        (["fake", "--alarms", "0"], "alarms=0.0 is not in 0.001..86400 s"),
        (["bounds", "--t5", "0"], "t5=0.0 is not in 1..240 s"),
        (["bounds", "--second-host", "ask"], "second_host='ask' is not 'probe' or 'refuse'"),
        (["bounds", "--backoff-factor", "much"], "'much' is not a number"),
        (["bounds", "--one-way-delay", "-1"], "one_way_delay=-1.0 is not a number of seconds from"),
        (["bounds", "--slot-wait", "nan"], "slot_wait=nan is not a number of seconds from 0 on"),
        (["bounds", "--of", "all"], "--of 'all' is no bound; there are recovery, opened breaker, "),
        (["bounds", "--of", "silense"], "--of 'silense' is no bound; did you mean 'silence'?"),
        (["bounds", "--config", "/no/such"], "cannot read /no/such: No such file"),
        (["bounds", "--config", "/"], "cannot read /: Is a directory"),
        (["fake", "--config", "/dev/zero"], "/dev/zero: longer than 1 MB, the limit of such a"),
        (["connect", "--config", "/dev/null", "--link", "x"], "/dev/null has no link 'x'; there"),
        (["fake", "--link", "x"], "--link x needs --config FILE, where it stands"),
        (["connect"], "Missing argument 'HOST'"),
        (["connect", HOST], "Missing argument 'PORT'"),
        (["connect", HOST, "0"], "'0' is not a whole number in 1..65535"),
        (["connect", HOST, "5000", "--t6", "241"], "t6=241.0 is not in 1..240 s"),
        (["connect", HOST, "1", "--t5", "0"], "t5=0.0 is not in 1..240 s"),
        (["connect", HOST, "1", "--t7", "0"], "t7=0.0 is not in 1..240 s"),
        (["connect", HOST, "5000", "--count", "0"], "'0' is not a whole number in 1..1000000000"),
        (["connect", HOST, "5000", "--send", "S1F2"], "S1F2 is a secondary: give a primary"),
        (["connect", HOST, "5000", "--send", "S1F1 <A"], "line 1, column 6: this item is never"),
        (["connect", HOST, "5000", "--send", "S1F1 <A '温'>"], "is not ASCII (0..127): name its"),
        (["connect", HOST, "5000", "--text-encoding", "hex"], "text_encoding='hex' cannot be used"),
        (["fake", "--text-encoding", "utf-16"], "'utf-16' is no superset of ASCII: it writes"),
        (["connect", "", "5000"], "host='' is not a host name or address"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, errors = capsys.readouterr()
    assert message in one_line(errors)
    assert errors.startswith("hsms-engine")
    assert out == ""


def test_answers_that_are_no_answers_are_refused_with_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "a\nbook.sml"
    book.write_text("S1F2 <L\n<X 1>> .", encoding="utf-8")
    assert cli.main(["fake", "--answers", str(book)]) == 2
    assert f"{tmp_path}/a book.sml:2:" in one_line(capsys.readouterr().err)


def test_an_address_that_is_not_here_cannot_be_listened_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["fake", "--host", "203.0.113.1"]) == 1
    assert "cannot listen on 203.0.113.1:5000: " in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "program_name", "why", "code"),
    [
        (["--json"], "hsms-engine", "No such option: --json", 2),
        (["bogus", "--json"], "hsms-engine", "No such command 'bogus'.", 2),
        (["fake", "--json", "--prot"], "hsms-engine fake", "No such option: --prot", 2),
        (["fake", "--port", "x", "--json"], "hsms-engine fake", "'x' is not a whole number", 2),
        (["fake", "--json", "--t3", "121"], "hsms-engine fake", "t3=121.0 is not in", 2),
        (
            ["fake", "--json", "--answers", "/a\nb"],
            "hsms-engine fake",
            "--answers /a b: No such",
            2,
        ),
        (["fake", "--json", "--host", "203.0.113.1"], "hsms-engine fake", "cannot listen on", 1),
        (["connect", "--json"], "hsms-engine connect", "Missing argument 'HOST'", 2),
        (["bounds", "--json", "--of", "x"], "hsms-engine bounds", "'x' is no bound; there", 2),
        (["bounds", "--json", "--picture", "/"], "hsms-engine bounds", "cannot write", 1),
    ],
)
def test_as_json_an_error_is_one_object_where_the_reader_of_objects_looks(
    arguments: list[str], program_name: str, why: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == code
    out, errors = capsys.readouterr()
    told = json.loads(one_line(out))
    assert why in told["error"]
    assert told == {
        "event": "error",
        "program": program_name,
        "error": told["error"],
        "exit_code": code,
    }
    assert errors == ""


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_as_json_an_error_that_cannot_be_written_there_is_on_standard_error(
    redirection: str,
) -> None:
    done = shell(redirection, "fake", "--json", "--port", "x")
    told = json.loads(one_line(done.stderr))
    # A closed output is a failure of its own.
    why = "standard output is closed" if "-" in redirection else "'x' is not a whole number"
    assert why in told["error"]


def test_the_words_of_the_process_are_those_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hsms-engine", "fake", "--json", "--bogus"])
    assert cli.main() == 2
    assert json.loads(one_line(capsys.readouterr().out))["event"] == "error"


# No such name is in the DNS (RFC 2606).
NOWHERE = "no-such-host.invalid"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["connect", NOWHERE, "5000"], f"no address is known for the host '{NOWHERE}': "),
        (
            ["fake", "--host", NOWHERE],
            f"cannot listen on '{NOWHERE}', for which no address",
        ),
        (["connect", "a" * 70, "5000"], "is no host name: "),
        (["fake", "--host", "a" * 70], "is no host name: "),
    ],
)
def test_a_host_without_an_address_is_told_in_one_line(
    arguments: list[str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask = socket.getaddrinfo

    def answer(host: str, *rest: Any, **options: Any) -> Any:
        if host == NOWHERE:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert cli.main(arguments) == 1
    assert why in one_line(capsys.readouterr().err)


LINKS = """\
[profile.short]
allow_short_timers = true
t3 = 0.05

[link.tool]
profile = "short"
host = "127.0.0.1"
port = {port}
session_id = 7
"""


async def test_connect_dials_the_link_of_a_file_and_options_win(tmp_path: Path) -> None:
    file = tmp_path / "links.toml"
    async with equipment_here("drop-replies", settings=Settings(port=0, session_id=7)) as tool:
        file.write_text(LINKS.format(port=tool.port), encoding="utf-8")
        async with started("connect", "--config", file, "--send", "S1F1", "--t3", "0.06") as lines:
            assert untimed(await lines.next()) == [f"// selected: {HOST}:{tool.port}"]
            assert await lines.process.wait() == 1
            assert "T3 = 0.06 s" in one_line(await errors_of(lines))
        assert tool.counts["received"] == 1
        file.write_text(LINKS.format(port=1), encoding="utf-8")
        words = ("connect", HOST, tool.port, "--config", file, "--link", "tool", "--json")
        async with started(*words) as lines:
            assert (await lines.until("selected"))["peer"] == f"{HOST}:{tool.port}"
            assert await lines.process.wait() == 0


async def test_fake_listens_as_the_link_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "links.toml"
    file.write_text(LINKS.format(port=1), encoding="utf-8")
    async with fake("--config", file) as (_, port), open_hsms(HOST, port, session_id=7) as conn:
        assert (await conn.request(S1F1())).session_id == 7


async def test_fake_shows_what_it_receives() -> None:
    async with started("fake", "--port", 0, "--unknown", "echo") as lines:
        port = int((await lines.next()).rpartition(":")[2])
        async with open_hsms(HOST, port) as connection:
            await connection.request(Message(64, 1, True, ["x\n"]))
            await connection.request(Message(64, 1, True, body=b"\xff"))
            await connection.request(Message(64, 1, True, bytes(5_000)))
        peer = (await lines.timed()).removesuffix(": accepted")
        assert await lines.timed() == f"{peer}: selected"
        no_secs = "a body of 1 bytes that is no SECS-II: " + str(unreadable(b"\xff"))
        text = ["<L [1]", '  <A "x" 0x0A>', "> ."]
        for size, body in ((6, None), (1, no_secs), (5_003, "a body of 5003 bytes")):
            for event, name in (("received", "S64F1 W"), ("replied", "S64F2")):
                assert await lines.timed() == f"{peer}: {event}, message {name}, bytes {size}"
                shown = [name, *text] if body is None else [f"// {name.split()[0]}: {body}"]
                assert [await lines.next() for _ in shown] == shown


def unreadable(body: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as raised:
        decode(body)
    return raised.value


async def test_fake_shows_what_it_receives_as_json_too() -> None:
    async with fake() as (lines, port), open_hsms(HOST, port) as connection:
        await connection.request(S1F1())
        told = await lines.until("received")
        assert (told["message"], told["bytes"], told["sml"]) == ("S1F1 W", 0, "S1F1 W .")
        assert datetime.fromisoformat(told["at"]).tzinfo is not None
        assert (await lines.until("replied"))["sml"].startswith("S1F2\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fake"],
        ["connect"],
        ["bounds"],
        ["messages"],
        ["proxy"],
        ["sml"],
        ["sml", "check"],
        ["sml", "format"],
    ],
)
def test_help_explains_every_option(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--help"]) == 0
    out = capsys.readouterr().out
    # Plain: nobody looks at it on a terminal.
    assert out.startswith(" ".join(["Usage: hsms-engine", *arguments, "[OPTIONS]"]))
    assert out.isascii()
    if arguments == ["fake"]:
        assert set(listing().splitlines()) <= {line.removeprefix("  ") for line in out.splitlines()}


def test_the_version_is_shown_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"hsms-engine {hsms_engine.__version__}\n"
    # Other options before a command are none.
    assert cli.main(["--verbose"]) == 2
    assert "No such option: --verbose" in one_line(capsys.readouterr().err)


def test_help_on_a_terminal_is_drawn() -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command("fake", "-h"),
        stdout=theirs,
        env={**ENVIRONMENT, "COLUMNS": "120", "TERM": "xterm", "NO_COLOR": "1"},
    ) as process:
        os.close(theirs)
        shown = b""
        # Linux answers with an error where a pipe would end.
        with suppress(OSError):
            while more := os.read(ours, 65_536):
                shown += more
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    # The corner of a box, and no colour.
    assert "\u256d" in text
    assert "\x1b[3" not in text
    assert "drop-replies[=N] " in text


def add_command(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    name = command.run.__name__
    module = ModuleType(name)
    vars(module)["COMMAND"] = command
    monkeypatch.setitem(sys.modules, f"hsms_engine.cli.{name}", module)
    monkeypatch.setattr(program, "COMMANDS", (*program.COMMANDS, name))


@pytest.mark.parametrize("on_terminal", [False, True])
def test_the_notes_of_a_command_are_shown_as_they_are(
    on_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def noted() -> int:
        """Have notes."""
        return 0

    notes = "examples [red]:\n   one\n  two\n\nmore"
    add_command(monkeypatch, Command(noted, notes))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
    assert cli.main(["noted", "--help"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    begin = next(at for at, line in enumerate(lines) if "[red]" in line)
    indent = lines[begin].index("e")
    assert [line[indent:] for line in lines[begin : begin + 5]] == notes.splitlines()


def test_a_shell_completes_commands_and_behaviours() -> None:
    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            command(),
            env={
                **ENVIRONMENT,
                "_HSMS_ENGINE_COMPLETE": "complete_bash",
                "COMP_WORDS": " ".join(["hsms-engine", *words]),
                "COMP_CWORD": str(len(words)),
            },
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        return done.stdout.split()

    assert completed("con") == ["connect"]
    assert completed("fake", "--behaviour", "delay") == [
        name for name in KNOWN if name.startswith("delay")
    ]


def test_an_interrupt_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait() -> int:
        raise KeyboardInterrupt

    add_command(monkeypatch, Command(wait))
    assert cli.main(["wait"]) == 130


# Without what it needs


@pytest.mark.parametrize("name", ["typer", "rich"])
def test_without_its_extra_the_program_says_what_to_install(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text(
        f"raise ModuleNotFoundError(name={name!r})", encoding="utf-8"
    )
    done = _run_with_modules_of(tmp_path)
    assert done.returncode == 2
    assert one_line(done.stderr) == (
        f'hsms-engine: {name} is not installed: in the folder of the source, pip install ".[cli]"'
    )


def test_another_module_that_is_missing_is_a_fault_of_ours(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import nothing_of_that_name", encoding="utf-8")
    done = _run_with_modules_of(tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("No module named 'nothing_of_that_name'\n")


def _run_with_modules_of(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("fake", "--help"),
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
