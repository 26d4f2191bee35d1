"""The page of the simulated tool: its files, programs and tests run, and its tables are whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from hsms_engine import ConnectionLostError, HsmsConnection, cli, open_hsms
from hsms_engine.fake import serve_fake
from hsms_engine.fake.model.replies import KNOWN
from hsms_engine.messages import S2F41, S2F42
from hsms_engine.secs2 import U4
from tests.support.page_tests import run_tests
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
FILES: dict[str, str] = dict(
    re.findall(r"`(\w+\.toml)`:\n\n```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
)
CONSOLES = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page, in which the test runs."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(command: str) -> list[list[str]]:
    """What the page shows below each command that begins so."""
    found = []
    for console in CONSOLES:
        for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
            first, *lines = part.splitlines()
            if first.startswith(command):
                found.append(lines)
    return found


def test_each_block_is_run_by_a_test_of_this_file() -> None:
    assert len(FILES) == PAGE.count("```toml\n")
    assert len(PROGRAMS) == 2
    commands = re.findall(r"^\$ (.*)$", "".join(CONSOLES), re.MULTILINE)
    assert commands == [
        'python -m pip install ".[cli]"',
        "hsms-engine fake tool.toml --check",
        "hsms-engine fake tool.toml --port 5000",
        "hsms-engine run host.toml 127.0.0.1 5000",
        "hsms-engine fake wrong.toml --check",
    ]


def checked(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = cli.main(["fake", name, "--check"])
    out, err = capsys.readouterr()
    return code, [*out.splitlines(), *err.splitlines()]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "name", [each for each in FILES if each not in ("host.toml", "wrong.toml")]
)
def test_a_tool_of_the_page_is_good(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = checked(name, capsys)
    assert code == 0, lines
    for told in shown(f"hsms-engine fake {name} --check"):
        assert lines == told


@pytest.mark.usefixtures("folder")
def test_what_is_wrong_with_a_tool_is_told_as_the_page_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (told,) = shown("hsms-engine fake wrong.toml --check")
    assert checked("wrong.toml", capsys) == (2, told)


@asynccontextmanager
async def tool_of(name: str, folder: Path) -> AsyncIterator[tuple[trio.Process, int]]:
    """The program with this tool, and its port."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "hsms_engine", "fake", name, "--port", "0"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
    )
    try:
        with trio.fail_after(PATIENCE):
            assert process.stdout is not None
            first = b""
            while not first.endswith(b"\n"):
                first += await process.stdout.receive_some(1)
            yield process, int(first.rpartition(b":")[2])
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        assert process.stdout is not None
        await process.stdout.aclose()


async def test_start_is_answered_with_4_and_after_2_s_the_event_comes(folder: Path) -> None:
    async with tool_of("tool.toml", folder) as (process, port):
        done = await trio.run_process(
            [sys.executable, "-m", "hsms_engine", "run", "host.toml", "127.0.0.1", str(port)],
            cwd=folder,
            env=ENVIRONMENT,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()
        process.terminate()
        assert process.stdout is not None
        told = b"".join([each async for each in process.stdout]).decode()
    (lines,) = shown("hsms-engine run")
    assert plain(done.stdout.decode()) == plain("".join(f"{each}\n" for each in lines))
    (printed,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert plain(printed) in plain(told)


async def all_of(host: HsmsConnection) -> list[str]:
    """The names of what comes, and whether the connection was lost in the end."""
    names = []
    try:
        async for primary in host:
            names.append(primary.name)  # noqa: PERF401  # those before the error are kept
    except ConnectionLostError:
        names.append("lost")
    return names


async def test_the_link_breaks_behind_an_event_and_an_alarm(folder: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            tool = await nursery.start(partial(serve_fake, tool=folder / "breaks.toml"))
            async with open_hsms("127.0.0.1", tool.port) as host:
                assert await host.request(S2F41("START")) == S2F42(4)
                assert await all_of(host) == ["S6F11", "S5F1", "lost"]
            assert tool.value("WaferCount") == U4(7)
            await tool.aclose()


def plain(text: str) -> str:
    """A text without what differs from run to run: ports, times, and how long it took."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:5000", text)
    return re.sub(r"\b\d\d:\d\d:\d\d\.\d{3} |\b\d+\.\d+ s\b", "", text)


def test_the_tests_of_the_page_pass(folder: Path) -> None:
    (tests,) = (each for each in PROGRAMS if "def test_" in each)
    file = folder / "test_page.py"
    file.write_text(tests, encoding="utf-8")
    assert "3 passed" in run_tests(file, ENVIRONMENT)


def test_the_program_with_a_virtual_clock_prints_what_the_page_says(folder: Path) -> None:
    (program,) = (each for each in PROGRAMS if "MockClock" in each)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (printed,) = re.findall(r"^It prints:\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert done.stdout == printed


# The tables


def rows(title: str) -> set[str]:
    """The keys in the first cells of the tables of a section."""
    section = re.split(r"^##+ ", PAGE.partition(f"# {title}\n")[2], flags=re.MULTILINE)[0]
    assert section, title
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return set(re.findall(r"`\{?([\w-]+)[^`]*`", " ".join(cells)))


def known(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The keys that an error about the key ``qqq`` of this file names."""
    (folder / "q.toml").write_text(text, encoding="utf-8")
    code, lines = checked("q.toml", capsys)
    assert code == 2, lines
    (line,) = (each for each in lines if "'qqq'" in each)
    return set(line.partition("there are ")[2].split(", "))


TABLES = {
    "`[tool]`": ["[tool]"],
    "`[variable.ID]` and `[constant.ID]`": ["[variable.1]", "[constant.1]"],
    "`[report.ID]`, `[event.ID]`, `[alarm.ID]`": ["[report.1]", "[event.1]", "[alarm.1]"],
    '`[program."PPID"]` and `[command.RCMD]`': [
        "[program.P]",
        "[command.C]",
        "[command.C.parameters.P]",
    ],
    "Rules": ["[[rule]]"],
    "Several tools": ["[tools.T]"],
}
NEEDED = {
    "[variable.1]": "value = '<U4 0>'",
    "[constant.1]": "value = '<U4 0>'",
    "[report.1]": "variables = []",
    "[program.P]": "body = '<A \"\">'",
    "[[rule]]": "after = 1.0",
    "[tools.T]": "file = 'tool.toml'",
}


@pytest.mark.parametrize("title", TABLES)
def test_the_page_has_every_key_of_a_table(
    title: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {
        key
        for table in TABLES[title]
        for key in known(f"{table}\n{NEEDED.get(table, '')}\nqqq = 1\n", folder, capsys)
    }
    assert rows(title) == keys


RANGES = {
    "rule.times = 0": ("1..1000000000", "1 to 1,000,000,000"),
    "rule.then = [{wait = 0}]": ("0.001..86400", "numbers from 0.001 to 86,400"),
    "rule.then = [{repeat = 0, steps = [{wait = 1}]}]": ("1..1000000", "1 to 1,000,000 |"),
    f"rule.name = '{'x' * 61}'": ("it may have 60", "at most 60 characters"),
    "tool.seed = -1": ("whole number in 0..", "a whole number from 0"),
    f"tool.model = '{'x' * 21}'": ("it may have 20", "MDLN, at most 20 characters"),
    f"tool.software = '{'x' * 21}'": ("it may have 20", "SOFTREV, at most 20 characters"),
    f"alarm.1.text = '{'x' * 121}'": ("at most 120", "ALTX, at most 120 bytes"),
    "alarm.1.category = 128": ("1..127", "the low seven bits of ALCD, 1 to 127"),
    "command.C.answer = 256": ("0..255", "HCACK, 0 to 255"),
    "tools.T.session_id = 32768": ("0..32767", "0 to 32767; tools of one port"),
}


@pytest.mark.parametrize("text", RANGES)
def test_the_page_has_the_ranges(
    text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, on_page = RANGES[text]
    if text.startswith("rule."):
        text = f"[[rule]]\nevery = 1\n{text.removeprefix('rule.')}"
    (folder / "q.toml").write_text(f"{text}\n", encoding="utf-8")
    code, lines = checked("q.toml", capsys)
    assert code == 2
    assert told in "\n".join(lines)
    assert on_page in PAGE


def test_the_page_has_every_step(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = known("[[rule]]\nafter = 1.0\nthen = [{qqq = 1}]\n", folder, capsys)
    assert rows("Steps") | {"steps"} == steps | {"steps"}


def test_the_page_has_options_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fake", "--help"]) == 0
    helped = capsys.readouterr().out
    section = PAGE.partition("\n## The program\n")[2].partition("\n## ")[0]
    options = re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE)
    assert options
    assert [each for each in options if each not in helped] == []


def test_the_page_has_every_message_that_is_answered() -> None:
    section = PAGE.partition("\n## What each message answers\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (S.*?) \|", section, re.MULTILINE)
    answered = [f"S{stream}F{function}" for stream, function in KNOWN]
    assert sorted(re.findall(r"S\d+F\d+", " ".join(cells))) == sorted(answered)
