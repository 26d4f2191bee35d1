"""The programs, as processes of their own: first line, signals, exit codes, one line for a failure.

What is wrong with the command line is checked inside this process, by the same ``main``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import (
    AbortedError,
    HsmsConnection,
    Message,
    Settings,
    cli,
    open_hsms,
    serve_hsms,
)
from hsms_engine.cli import program
from hsms_engine.cli.command import Command
from hsms_engine.driver.tcp import connect_tcp, listen_tcp
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.fake.behaviours import KNOWN, listing
from hsms_engine.messages import S1F1, S1F2, S5F1, S6F11
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
FULL = Path("/dev/full")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hsms_engine", *map(str, arguments)]


class Lines:
    """What a process prints, line by line."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self.process = process
        self._stream = process.stdout
        self._rest = b""

    async def next(self) -> str:
        while b"\n" not in self._rest:
            more = await self._stream.receive_some()
            assert more, f"it ended after {self._rest!r}"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def until(self, event: str) -> dict[str, Any]:
        """The next JSON object that is this event."""
        while True:
            told: dict[str, Any] = json.loads(await self.next())
            if told["event"] == event:
                return told

    async def rest(self) -> str:
        while more := await self._stream.receive_some():
            self._rest += more
        return self._rest.decode()


@asynccontextmanager
async def started(*arguments: object) -> AsyncIterator[Lines]:
    """A program that runs until the block is over, if it does not end by itself."""
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            # The shell that started the tests may ignore it, and what ignores it hands that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            yield Lines(process)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                await pipe.aclose()


@asynccontextmanager
async def fake(*arguments: object) -> AsyncIterator[tuple[Lines, int]]:
    """The program ``fake --json`` on a port of its own choice."""
    async with started("fake", "--port", 0, "--json", *arguments) as lines:
        first = json.loads(await lines.next())
        assert first == {"event": "listening", "host": HOST, "port": first["port"]}
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
        peer = (await lines.next()).removesuffix(": accepted")
        assert [await lines.next() for _ in range(4)] == [
            f"{peer}: selected",
            f"{peer}: received, message S1F1 W, bytes 0",
            f"{peer}: replied, message S1F2, bytes 20",
            f"{peer}: ended, why separated",
        ]
        lines.process.terminate()
        assert await lines.rest() == "stopped\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_fake_separates_on_a_signal_and_exits_with_0(number: signal.Signals) -> None:
    async with fake() as (lines, port), open_hsms(HOST, port) as connection:
        lines.process.send_signal(number)
        # A Separate ends the iteration; anything else would raise.
        assert [primary async for primary in connection] == []
        assert await lines.process.wait() == 0
        assert json.loads((await lines.rest()).splitlines()[-1]) == {"event": "stopped"}
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
            await lines.until("acknowledged")


async def test_fake_answers_from_a_file(tmp_path: Path) -> None:
    book = tmp_path / "book.sml"
    book.write_text('S1F2 <L <A "mine"> <A "1">> .')
    async with fake("--answers", book) as (_, port), open_hsms(HOST, port) as connection:
        assert await connection.request(S1F1()) == Message(1, 2, item=["mine", "1"])


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
        assert lines.process.stdout is not None
        await lines.process.stdout.aclose()
        stream = await connect_tcp(HOST, port)
        assert await lines.process.wait() == 1
        assert await errors_of(lines) == ""
        stream.close()


async def test_fake_ends_in_order_when_nobody_reads_what_its_end_has_to_say() -> None:
    async with fake("--behaviour", "accept-and-say-nothing") as (lines, port):
        held = [await connect_tcp(HOST, port) for _ in range(2)]
        for _ in held:
            await lines.until("accepted")
        assert lines.process.stdout is not None
        await lines.process.stdout.aclose()
        # Nobody hears of this one, and nobody that the others are let go.
        held.append(await connect_tcp(HOST, port))
        assert await lines.process.wait() == 1
        assert await errors_of(lines) == ""
        for stream in held:
            stream.close()


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["fake", "--port", "0"], "hsms-engine fake: cannot write the output: "),
        (["connect"], "hsms-engine connect: cannot write the output: "),
        (["--help"], "hsms-engine: [Errno 28] "),
    ],
)
async def test_a_full_device_is_a_failure_in_one_line(arguments: list[str], where: str) -> None:
    async with equipment_here() as equipment, await trio.open_file(FULL, "wb") as full:
        if arguments == ["connect"]:
            arguments = [*arguments, HOST, str(equipment.port)]
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                command(*arguments),
                stdout=full.fileno(),
                capture_stderr=True,
                check=False,
                env=ENVIRONMENT,
            )
    assert done.returncode == 1
    assert one_line(done.stderr.decode()) == f"{where}No space left on device"


# connect


async def test_connect_prints_replies_as_sml() -> None:
    text = 'S2F41 W <L [2] <A "START"> <L [0]>> .'
    async with equipment_here() as equipment:
        code, out, errors = await connect(
            equipment.port, "--send", "S1F1", "--send", text, "--send", "S64F1 <A 'x'>"
        )
        received = list(equipment.received)
    assert (code, errors) == (0, "")
    peer = f"{HOST}:{equipment.port}"
    expected = [S1F2("hsms-engine", "1.0"), Message.parse("S2F42 <L <B 0> <L>>")]
    expected.append(Message.parse("S64F2 <A 'x'>"))
    printed = [f"// selected: {peer}", *(each.sml() for each in expected), f"// separated: {peer}"]
    assert out == "".join(f"{each}\n" for each in printed)
    # Sent with W, whether it was written or not.
    assert received == [S1F1(), Message.parse(text), Message.parse("S64F1 W <A 'x'>")]


async def test_connect_without_a_message_selects_and_separates() -> None:
    async with equipment_here() as equipment:
        code, out, errors = await connect(equipment.port, "--json")
        await equipment.until(lambda: equipment.counts["ended"] == 1)
    peer = f"{HOST}:{equipment.port}"
    assert (code, errors) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "selected", "peer": peer},
        {"event": "separated", "peer": peer},
    ]


async def test_connect_sends_as_often_as_asked_and_prints_json() -> None:
    async with equipment_here() as equipment:
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
    heads = [line for line in out.splitlines() if line.startswith(("//", "S"))]
    assert heads == [
        f"// selected: {peer}",
        *(f"// received from {peer}:", "S6F3 ."),
        *(f"// received from {peer}:", "S5F1 W"),
        *(f"// received from {peer}:", "S6F11 W"),
        *(f"// received from {peer}:", "S64F1 W ."),
        "S1F2",
        f"// separated: {peer}",
    ]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("refuse-tcp", "not connected, during TCP connect: "),
        ("accept-and-close", "not connected, during select: "),
        ("refuse-select=3", "the peer answered Select.req with status 3 (exhausted)"),
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


async def test_connect_interrupted_separates_and_exits_with_130() -> None:
    told: list[tuple[str, object]] = []

    def report(event: str, details: Mapping[str, object]) -> None:
        told.append((event, details.get("why")))

    async with (
        equipment_here("delay-replies=3600", report=report) as equipment,
        started("connect", HOST, equipment.port, "--send", "S1F1") as lines,
    ):
        await equipment.until(lambda: equipment.counts["received"] == 1)
        lines.process.send_signal(signal.SIGINT)
        assert await lines.process.wait() == 130
        assert await errors_of(lines) == ""
        await equipment.until(lambda: equipment.counts["ended"] == 1)
        assert told[-1] == ("ended", "separated")


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
        (["fake", "--behaviour", "explode"], "unknown behaviour 'explode'; there are answer-"),
        (["fake", "--behaviour", "drop-replies=0"], "drop-replies=0 is not a whole number in 1.."),
        (["fake", "--answers", "/no/such/file"], "cannot read --answers /no/such/file: No such"),
        (["fake", "--alarms", "0"], "alarms=0.0 is not in 0.001..86400 s"),
        (["connect"], "Missing argument 'HOST'"),
        (["connect", HOST], "Missing argument 'PORT'"),
        (["connect", HOST, "0"], "'0' is not a whole number in 1..65535"),
        (["connect", HOST, "5000", "--t6", "241"], "t6=241.0 is not in 1..240 s"),
        (["connect", HOST, "1", "--t5", "0"], "t5=0.0 is not in 1..240 s"),
        (["connect", HOST, "1", "--t7", "0"], "t7=0.0 is not in 1..240 s"),
        (["connect", HOST, "5000", "--count", "0"], "'0' is not a whole number in 1..1000000000"),
        (["connect", HOST, "5000", "--send", "S1F2"], "S1F2 is a secondary: give a primary"),
        (["connect", HOST, "5000", "--send", "S1F1 <A"], "line 1, column 6: this item is never"),
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
    book.write_text("S1F2 <L\n<X 1>> .")
    assert cli.main(["fake", "--answers", str(book)]) == 2
    assert f"{tmp_path}/a book.sml:2:" in one_line(capsys.readouterr().err)


def test_an_address_that_is_not_here_cannot_be_listened_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["fake", "--host", "203.0.113.1"]) == 1
    assert "cannot listen on 203.0.113.1:5000: " in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("arguments", [[], ["fake"], ["connect"]])
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


@pytest.mark.parametrize("on_terminal", [False, True])
def test_the_notes_of_a_command_are_shown_as_they_are(
    on_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def noted() -> int:
        """Have notes."""
        return 0

    notes = "examples [red]:\n   one\n  two\n\nmore"
    monkeypatch.setattr(program, "COMMANDS", (*program.COMMANDS, Command(noted, notes)))
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
            text=True,
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

    monkeypatch.setattr(program, "COMMANDS", (*program.COMMANDS, Command(wait)))
    assert cli.main(["wait"]) == 130


# Without what it needs


@pytest.mark.parametrize("name", ["typer", "rich"])
def test_without_its_extra_the_program_says_what_to_install(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})")
    done = _run_with_modules_of(tmp_path)
    assert done.returncode == 2
    assert one_line(done.stderr) == (
        f"hsms-engine: {name} is not installed: pip install 'hsms-engine[cli]'"
    )


def test_another_module_that_is_missing_is_a_fault_of_ours(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import nothing_of_that_name")
    done = _run_with_modules_of(tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("No module named 'nothing_of_that_name'\n")


def _run_with_modules_of(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("fake", "--help"),
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
