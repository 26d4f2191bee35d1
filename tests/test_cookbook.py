"""Every page of the cookbook shows a file as it is, and every such file runs as its page says."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import Message, Settings, open_hsms
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.messages import S1F1, S1F2, S1F13, S1F14, S2F37, S5F3
from tests.support.page_tests import run_tests
from tests.support.pair import Switchboard, link_end
from tests.support.patience import PATIENCE
from tests.support.raw_peer import data
from tests.support.tools import needs
from tests.support.virtual import run_virtually

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
BOOK = ROOT / "docs" / "cookbook"
PAGES = sorted(path.name for path in BOOK.glob("*.md") if path.name != "README.md")
HOST = "127.0.0.1"
DEPLOY = ROOT / "deploy"
SERVICE = DEPLOY / "hsms-engine.service"
DOCKERFILE = DEPLOY / "Dockerfile"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def page(name: str) -> str:
    return (BOOK / name).read_text(encoding="utf-8")


# The pages


def shown(name: str) -> dict[str, str]:
    """The files that a page shows, and what it shows of each."""
    found = re.findall(
        r"^\[(.+)\]\(\.\./\.\./\1\):\n\n```\w+\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL
    )
    return dict(found)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_its_file_as_it_is(name: str) -> None:
    files = shown(name)
    assert files
    for file, text in files.items():
        assert text == (ROOT / file).read_text(encoding="utf-8"), file


def test_every_page_is_in_the_index_and_every_program_is_on_a_page() -> None:
    assert sorted(re.findall(r"\]\((\w+\.md)\)", page("README.md"))) == PAGES
    files = {path.relative_to(ROOT).as_posix() for path in EXAMPLES.iterdir() if path.is_file()}
    # Its folders have pages of their own.
    files |= {path.relative_to(ROOT).as_posix() for path in DEPLOY.iterdir() if path.is_file()}
    assert {file for name in PAGES for file in shown(name)} == files


# The programs


@asynccontextmanager
async def equipment_here(**settings: object) -> AsyncIterator[FakeEquipment]:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            chosen = Settings(port=0).replace(**settings)  # type: ignore[arg-type]  # of a test
            equipment = await nursery.start(partial(serve_fake, chosen))
            yield equipment
            await equipment.aclose()


@asynccontextmanager
async def started(*words: object, folder: Path) -> AsyncIterator[trio.Process]:
    """A program that runs until it is stopped or the block is over."""
    process = await trio.lowlevel.open_process(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            await stream.aclose()


class Reader:
    """The lines that a program prints."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._rest = b""

    async def next(self) -> str:
        while b"\n" not in self._rest:
            more = await self._stream.receive_some()
            assert more, f"it ended after {self._rest!r}"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


async def errors_of(process: trio.Process) -> str:
    assert process.stderr is not None
    return b"".join([each async for each in process.stderr]).decode()


async def test_the_host_sets_the_tool_up_again_after_it_was_gone(tmp_path: Path) -> None:
    set_up = [S1F13(), S2F37(True), S5F3(True)]
    async with equipment_here() as tool:
        (tmp_path / "links.toml").write_text(
            f"[link.tool]\nport = {tool.port}\nt5 = 0.01\nallow_short_timers = true\n"
            "breaker_threshold = 1000\n",
            encoding="utf-8",
        )
        words = (EXAMPLES / "host.py", "links.toml", "tool")
        async with started(*words, folder=tmp_path) as process:
            await tool.until(lambda: tool.counts["replied"] == 3)
            await tool.kill()
            await tool.restart()
            await tool.until(lambda: tool.counts["replied"] == 6)
            assert list(tool.received) == set_up * 2
            (connection,) = tool.connections
            assert (await connection.request(Message(6, 11, True))).name == "S6F12"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            assert await errors_of(process) == ""
        # The first connection died with the tool.
        await tool.until(lambda: tool.counts["ended"] == 1)
    log = (tmp_path / "host.log").read_text(encoding="utf-8")
    assert log.count(f"INFO hsms_engine.link: tool {HOST}:{tool.port} active: selected\n") == 2
    assert log.count("INFO host: S1F13 was answered with S1F14") == 2
    assert "the next attempt begins in " in log
    assert "INFO host: received S6F11" in log
    assert log.splitlines()[-1].endswith("INFO host: separated")
    traffic = (tmp_path / "traffic.log").read_text(encoding="utf-8")
    assert traffic.count(" active sent S1F13 W ") == 2
    assert " hsms_engine.traffic: " not in log
    assert " hsms_engine.link: " not in traffic


async def host_whose_tool_takes_its_set_up_later() -> list[tuple[float, int]]:
    """When the tool is asked, and for which function, until it has taken all."""
    (set_up,) = (runpy.run_path(str(EXAMPLES / "host.py"))[name] for name in ["set_up"])
    board, asked = Switchboard(), []
    # Of virtual time.
    with trio.fail_after(1_000):
        async with link_end(board, linktest_interval=None) as link:
            link.on_selected(set_up)
            peer = await board.peer()
            await peer.select_by_answering()
            # Aborted, no reply within T3, and at last all of it.
            for answer in (True, 0, True, None, True, True, True):
                frame = await peer.frame()
                asked.append((trio.current_time(), frame.byte3))
                if answer is not None:
                    function = frame.byte3 + 1 if answer else 0
                    await peer.send(data(frame.byte2 & 0x7F, function, frame.system))
            await wait_all_tasks_blocked()
            assert link.statistics().times_selected == 1
    return asked


def test_the_host_tries_its_set_up_again_while_the_session_stays() -> None:
    found = run_virtually(host_whose_tool_takes_its_set_up_later)
    assert found == [
        *((0, 13), (0, 37)),
        *((30, 13), (30, 37)),
        # T3, and the pause.
        *((105, 13), (105, 37), (105, 3)),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C goes to all of its console there")
async def test_the_host_on_asyncio_asks_for_the_clock_and_separates(tmp_path: Path) -> None:
    async with equipment_here() as tool:
        words = (EXAMPLES / "asyncio_host.py", HOST, tool.port)
        async with started(*words, folder=tmp_path) as process:
            lines = Reader(process)
            # Both are asked at once.
            told = {(await lines.next()).partition(":")[0] for _ in range(2)}
            assert told == {"set up", "its clock"}
            (connection,) = tool.connections
            assert (await connection.request(Message(6, 11, True))).name == "S6F12"
            assert await lines.next() == "received: S6F11"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            assert await errors_of(process) == ""
        await tool.until(lambda: tool.counts["ended"] == 1)
    assert {each.name for each in tool.received} == {"S1F13", "S2F17", "S6F12"}


async def test_the_equipment_with_metrics_counts_its_hosts(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with started(EXAMPLES / "metrics.py", 0, 0, folder=tmp_path) as process:
            first = await Reader(process).next()
            port, page_port = map(int, re.findall(r"(\d+)(?:,|$)", first))

            def numbers() -> dict[str, float]:
                with urllib.request.urlopen(f"http://{HOST}:{page_port}") as answer:
                    rows = answer.read().decode().splitlines()
                return {
                    name: float(number)
                    for name, number in (row.split() for row in rows if "etcher" in row)
                }

            async with open_hsms(HOST, port) as connection:
                assert await connection.request(S1F1()) == S1F2("ETCHER", "7.1")
                told = await trio.to_thread.run_sync(numbers)
                for name in ("server_selected", "messages_sent_total", "answer_seconds_count"):
                    assert told[f'hsms_{name}{{link="etcher"}}'] == 1
                process.send_signal(signal.SIGTERM)
                # Without an error: it was separated.
                assert [each async for each in connection] == []
            assert await process.wait() == 0
            assert await errors_of(process) == ""


async def lines_of_the_load_port(lines: trio.MemorySendChannel[str]) -> None:
    """A carrier is taken away before it settles, and another one settles."""
    for seconds, line in [(0, "carrier_arrived"), (2.5, "carrier_left"), (1, "carrier_arrived\n")]:
        await trio.sleep(seconds)
        await lines.send(line)
    await trio.sleep(4)
    for line in ("carrier_left", "unclamp_requested"):
        await lines.send(line)
    lines.close()


def test_the_load_port_lives_with_its_timer_and_its_effects(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    run = runpy.run_path(str(EXAMPLES / "load_port_live.py"))["run"]

    async def live() -> None:
        give, take = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lines_of_the_load_port, give)
            await run(take, {"settle": 3.0})

    run_virtually(live)
    assert capsys.readouterr().out.splitlines() == [
        "carrier_arrived: <empty> -> <settling>",
        "carrier_left: <settling> -> <empty>",
        "carrier_arrived: <empty> -> <settling>",
        "settle_expired: <settling> -> <clamped>",
        "Clamp(True)",
        "load_port does not take 'carrier_left' in clamped; it takes unclamp_requested",
        "unclamp_requested: <clamped> -> <finished>",
        "Clamp(False)",
    ]


def test_that_program_ends_with_its_input() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "load_port_live.py"],
        input="carrier_arrived\ncarrier_left\n",
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    lines = "carrier_arrived: <empty> -> <settling>\ncarrier_left: <settling> -> <empty>\n"
    assert (done.stdout, done.stderr) == (lines, "")


async def test_the_lamp_is_green_while_a_host_is_selected(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with started(EXAMPLES / "lamp.py", 0, folder=tmp_path) as process:
            lines = Reader(process)
            port = int((await lines.next()).removeprefix(f"listening on {HOST}:"))
            assert await lines.next() == "red"
            for _ in range(2):
                async with open_hsms(HOST, port) as connection:
                    assert (await lines.next()).startswith(f"green: {HOST}:")
                    assert await connection.request(S1F1()) == S1F2("LAMP", "1.0")
                    assert await connection.request(S1F13()) == S1F14(0, "LAMP", "1.0")
                assert await lines.next() == "red"


def test_the_tests_with_the_fake_equipment_pass(tmp_path: Path) -> None:
    file = tmp_path / "test_with_fake_equipment.py"
    shutil.copy(EXAMPLES / file.name, file)
    assert "4 passed" in run_tests(file, ENVIRONMENT)


def test_the_file_of_links_is_what_its_comments_say() -> None:
    links = Settings.links_from_toml(EXAMPLES / "links.toml")
    assert [*links] == ["etcher-1", "stepper-2", "simulator"]
    assert (links["etcher-1"].t6, links["etcher-1"].t3) == (3, 45)
    far = links["stepper-2"]
    assert (far.t3, far.breaker_open_time, far.connect_timeout, far.t6) == (60, 120, 20, 3)
    assert links["simulator"].linktest_interval is None


def test_an_error_in_the_file_of_links_is_as_its_page_says(tmp_path: Path) -> None:
    text = (EXAMPLES / "links.toml").read_text(encoding="utf-8")
    (tmp_path / "links.toml").write_text(text.replace("host =", "hots =", 1), encoding="utf-8")
    command, error = re.findall(r"^\$ (hsms-engine .*)\n(.*)$", page("toml.md"), re.MULTILINE)[0]
    done = subprocess.run(
        [sys.executable, "-m", "hsms_engine", *shlex.split(command)[1:]],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, error + "\n")


async def test_all_links_of_a_file_are_asked(tmp_path: Path) -> None:
    file = tmp_path / "links.toml"
    async with equipment_here() as one, equipment_here() as other:
        file.write_text(
            f"link.one.port = {one.port}\nlink.other.port = {other.port}\nlink.none.port = 0",
            encoding="utf-8",
        )
        async with started(EXAMPLES / "links.py", file, folder=tmp_path) as process:
            lines = Reader(process)
            told = dict([(await lines.next()).split(": ", 1) for _ in range(3)])
            assert await process.wait() == 0
    assert told["one"] == told["other"] == "L(A('hsms-engine'), A('1.0'))"
    assert "not connected, during TCP connect" in told["none"]


def test_the_values_are_those_of_the_page() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "values.py"],
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert f"It prints:\n\n```\n{done.stdout}```\n" in page("values.md")


# What runs them


async def is_a_fake_equipment(*words: str, folder: Path) -> None:
    """The program listens with these words, answers, and ends with 0 on SIGTERM."""
    with trio.fail_after(PATIENCE):
        # The last port wins: that of the file may be in use.
        words = ("-m", "hsms_engine", *words, "--port", "0")
        async with started(*words, folder=folder) as process:
            first = json.loads(await Reader(process).next())
            assert first["event"] == "listening"
            async with open_hsms(HOST, first["port"]) as connection:
                await connection.request(S1F1())
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0


async def test_the_command_of_the_service_is_one_of_ours(tmp_path: Path) -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", SERVICE.read_text(encoding="utf-8"), re.MULTILINE)
    program, *words = shlex.split(command)
    assert Path(program).name == "hsms-engine"
    links = str(EXAMPLES / "links.toml")
    words = [each.replace("/etc/hsms-engine/links.toml", links) for each in words]
    assert links in words
    await is_a_fake_equipment(*words, folder=tmp_path)


def test_systemd_takes_the_service(tmp_path: Path) -> None:
    needs("systemd-analyze")
    unit = tmp_path / SERVICE.name
    # It looks whether the program is there.
    text = SERVICE.read_text(encoding="utf-8").replace("/opt/hsms-engine/bin/", "/bin/true ")
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def instructions(file: Path = DOCKERFILE) -> list[tuple[str, str]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    found = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return [(name, rest) for name, rest in found]


async def test_the_command_of_the_container_is_one_of_ours(tmp_path: Path) -> None:
    told = dict(instructions())
    assert json.loads(told["ENTRYPOINT"]) == ["hsms-engine"]
    await is_a_fake_equipment(*json.loads(told["CMD"]), folder=tmp_path)


def test_what_the_container_copies_is_enough_to_be_installed(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name, rest in instructions():
        if name == "COPY":
            *files, target = rest.split()
            inside = tmp_path / target.removeprefix("/")
            for each in files:
                if (ROOT / each).is_dir():
                    shutil.copytree(
                        ROOT / each, inside, ignore=shutil.ignore_patterns("__pycache__")
                    )
                else:
                    shutil.copy(ROOT / each, inside)
    (run,) = [rest for name, rest in instructions() if name == "RUN"]
    assert run == "pip install --no-cache-dir '/src[cli]'"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            # What is there is not asked for in the network.
            *("--no-deps", "--no-build-isolation", "--target", tmp_path / "installed", source),
        ],
        # pip opens files by the encoding of the system.
        env={
            name: value for name, value in os.environ.items() if not name.startswith("PYTHONWARN")
        },
        check=True,
    )
    done = subprocess.run(
        [sys.executable, "-m", "hsms_engine", "fake", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert "drop-replies" in done.stdout
