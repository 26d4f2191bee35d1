"""The fault proxy as a program, and its page: what both say is what happens."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import cli, open_hsms
from hsms_engine.driver.tcp import connect_tcp
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.messages import S1F1
from hsms_engine.proxy.faults import conditions, listing, rows, values
from tests.support.network import closed_port
from tests.support.page_tests import run_tests
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
PAGE = (ROOT / "docs" / "proxy.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


class Program:
    """The proxy as a process: what it prints, line by line."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._rest = b""

    async def next(self) -> str:
        stream = self.process.stdout
        assert stream is not None
        while b"\n" not in self._rest:
            more = await stream.receive_some()
            assert more, f"it ended after {self._rest!r}"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def next_timed(self) -> str:
        """The next line, without its time."""
        time, _, line = (await self.next()).partition(" ")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", time)
        return line


@asynccontextmanager
async def started(*words: object) -> AsyncIterator[Program]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "hsms_engine", *map(str, words)],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    try:
        with trio.fail_after(PATIENCE):
            yield Program(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        assert process.stdout is not None
        await process.stdout.aclose()


@asynccontextmanager
async def fake_here() -> AsyncIterator[FakeEquipment]:
    async with trio.open_nursery() as nursery:
        tool = await nursery.start(serve_fake)
        yield tool
        nursery.cancel_scope.cancel()


@ON_POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_program_tells_what_happens_and_ends_on_a_signal(number: signal.Signals) -> None:
    async with fake_here() as tool:
        words = ("proxy", "--to", f"{HOST}:{tool.port}", "--fault", "duplicate-frame=S1F2")
        async with started(*words, "--fault", "drop-frame=S9F9") as program:
            port = int((await program.next()).removeprefix(f"listening on {HOST}:"))
            async with open_hsms(HOST, port) as connection:
                assert (await program.next_timed()).startswith(f"1: accepted from {HOST}:")
                assert (await connection.request(S1F1())).name == "S1F2"
                told = "1 to-host: S1F2 sent again (duplicate-frame=S1F2)"
                assert await program.next_timed() == told
                program.process.send_signal(number)
                assert (await program.next_timed()).startswith("1: ended, the proxy ends; ")
            assert [await program.next() for _ in range(3)] == [
                "duplicate-frame=S1F2: acted once",
                "drop-frame=S9F9: acted 0 times",
                "stopped",
            ]
            assert await program.process.wait() == 0


@ON_POSIX
async def test_the_program_tells_it_as_json_too() -> None:
    port = closed_port()
    words = ("proxy", "--json", "--seed", 3, "--to", f"{HOST}:1", "--listen", f"{HOST}:{port}")
    async with started(*words, "--fault", "accept-and-say-nothing") as program:
        first = json.loads(await program.next())
        assert first == {"event": "listening", "at": first["at"], "host": HOST, "port": port}
        host = await connect_tcp(HOST, port)
        assert json.loads(await program.next())["event"] == "accepted"
        acted = json.loads(await program.next())
        assert (acted["connection"], acted["fault"]) == (1, "accept-and-say-nothing")
        host.close()
        assert json.loads(await program.next())["why"] == "closed"
        program.process.terminate()
        assert json.loads(await program.next()) == {
            "event": "stopped",
            "faults": {"accept-and-say-nothing": 1},
        }
        assert await program.process.wait() == 0


@pytest.mark.parametrize(
    ("words", "why", "code"),
    [
        ([], "Missing option '--to'", 2),
        (["--to", "x"], "'x' is not HOST:PORT, such as 127.0.0.1:5000 or [::1]:5000", 2),
        (["--to", ":5000"], "':5000' is not HOST:PORT", 2),
        (["--to", "::1:5000"], "'::1:5000' is not HOST:PORT", 2),
        (["--to", "tool:x"], "'tool:x' is not HOST:PORT", 2),
        (["--to", "tool:65536"], "'tool:65536' is not HOST:PORT", 2),
        (["--to", "[::1]:1", "--fault", "latncy=1"], "unknown fault 'latncy'; did you mean", 2),
        (["--to", "[::1]:1", "--seed", "x"], "'x' is not a whole number in 0..", 2),
        (
            ["--to", "tool:1", "--listen", "203.0.113.1:5000"],
            "cannot listen on 203.0.113.1:5000: ",
            1,
        ),
        (
            ["--to", "tool:1", "--listen", "no-such-host.invalid:5000"],
            "cannot listen on 'no-such-host.invalid', for which no address is known: ",
            1,
        ),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    words: list[str],
    why: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = socket.getaddrinfo

    def answer(host: str, *rest: Any, **options: Any) -> Any:
        if host == "no-such-host.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert cli.main(["proxy", *words]) == code
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.startswith("hsms-engine proxy: ")
    assert why in errors
    assert errors.count("\n") == 1


# The page


def table(rows: list[tuple[str, str]], head: tuple[str, str]) -> str:
    """Rows as a table of Markdown."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    for written, meaning in rows:
        shown = written.replace("|", "\\|")
        lines.append(f"| `{shown}` | {meaning} |")
    return "\n".join(lines) + "\n"


def test_the_page_and_the_help_have_all_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(rows(), ("fault", "what it does")) in PAGE
    assert table(conditions(), ("condition", "in force")) in PAGE
    assert cli.main(["proxy", "--help"]) == 0
    shown = {line.strip() for line in capsys.readouterr().out.splitlines()}
    lines = [*listing().splitlines(), *values().splitlines()]
    assert {line.strip() for line in lines} <= shown


EXAMPLES = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
HOSTS = [each for each in EXAMPLES if each.startswith("$ hsms-engine connect")]
PROXIES = [each for each in EXAMPLES if each.startswith("$ hsms-engine proxy")]


def parts(example: str) -> tuple[list[str], list[str]]:
    """The words of a command after its program, and the lines that it prints."""
    first, *lines = example.splitlines()
    words = shlex.split(first.removeprefix("$ "))
    assert words[0] == "hsms-engine"
    return words[1:], lines


def as_pattern(line: str, ports: dict[str, int]) -> str:
    """A line of the page, in which times, and numbers that the system chooses, are any."""
    for shown, real in ports.items():
        line = line.replace(shown, str(real))
    pattern = re.escape(line)
    pattern = re.sub(r"127\\\.0\\\.0\\\.1:(5[0-9]{4})\b", r"127\\.0\\.0\\.1:[0-9]+", pattern)
    pattern = re.sub(r"\d\d:\d\d:\d\d\\\.\d{3}", r"\\d\\d:\\d\\d:\\d\\d\\.\\d{3}", pattern)
    return pattern.replace("…", ".*")


@ON_POSIX
@pytest.mark.parametrize("number", range(3))
async def test_an_example_of_the_page_runs_as_it_says(number: int) -> None:
    assert (len(PROXIES), len(HOSTS)) == (3, 3)
    words, told = parts(PROXIES[number])
    host_words, printed = parts(HOSTS[number])
    async with fake_here() as tool:
        ports = {"5001": closed_port(), "5000": tool.port}
        words = [re.sub("5000|5001", lambda found: str(ports[found[0]]), each) for each in words]
        host_words = [each.replace("5001", str(ports["5001"])) for each in host_words]
        async with started(*words) as program:
            lines = [await program.next()]
            done = await trio.run_process(
                [sys.executable, "-m", "hsms_engine", *host_words],
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
                env=ENVIRONMENT,
            )
            while len(lines) < len(told):
                lines.append(await program.next())
    for wanted, got in zip(told, lines, strict=True):
        assert re.fullmatch(as_pattern(wanted, ports), got), (wanted, got)
    shown = done.stdout.decode().splitlines()
    for wanted, got in zip(printed, shown, strict=True):
        assert re.fullmatch(as_pattern(wanted, ports), got), (wanted, got)


@ON_POSIX
def test_the_program_of_the_page_runs() -> None:
    whole = next(each for each in PROGRAMS if "trio.run" in each)
    done = subprocess.run(
        [sys.executable, "-c", whole],
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (shown,) = re.findall(r"^It prints:\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert done.stdout == shown


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    (tests,) = (each for each in PROGRAMS if "def test_" in each)
    file = tmp_path / "test_page.py"
    file.write_text(tests, encoding="utf-8")
    run_tests(file, ENVIRONMENT)
