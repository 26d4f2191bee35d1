"""What the page for newcomers shows is done here, in its order, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest
import trio

from hsms_engine import cli
from tests.support.page_tests import run_tests
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
HOST, EQUIPMENT, TESTS, WATCHED = re.findall(
    r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
(TOOL,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CONSOLES = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def shown() -> dict[str, str]:
    """What the page shows below each command."""
    found = {}
    for part in re.split(r"^\$ ", "".join(CONSOLES), flags=re.MULTILINE)[1:]:
        command, _, lines = part.partition("\n")
        found[command] = lines
    return found


def test_each_command_of_the_page_is_known_here() -> None:
    assert list(shown()) == [
        "python -m venv .venv",
        ". .venv/bin/activate",
        'python -m pip install ".[cli]"',
        "hsms-engine --help",
        "hsms-engine fake --port 5000",
        "python host.py",
        "python equipment.py",
        "hsms-engine connect 127.0.0.1 5000 --send \"S2F41 W <L [2] <A 'START'> <L [0]>> .\"",
        "hsms-engine fake tool.toml --check",
        "python -m pip install pytest",
        "python -m pytest -q test_host.py",
        'python -m pip install ".[metrics]"',
        "python watched.py",
        "prometheus --config.file=deploy/metrics/prometheus.yml --storage.tsdb.path=data",
    ]


@asynccontextmanager
async def listening(folder: Path, *words: str) -> AsyncIterator[tuple[str, int]]:
    """The first line of a program that listens, and its port."""
    process = await trio.lowlevel.open_process(
        [sys.executable, *words], cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        with trio.fail_after(PATIENCE):
            first = b""
            while not first.endswith(b"\n"):
                more = await process.stdout.receive_some(1)
                assert more, first
                first += more
            yield first.decode(), int(first.rpartition(b":")[2])
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stdout.aclose()


async def output(folder: Path, *words: str) -> str:
    done = await trio.run_process(
        [sys.executable, *words],
        cwd=folder,
        env=ENVIRONMENT,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode().replace("\r\n", "\n")


def at(port: int, text: str) -> str:
    assert "5000" in text
    return text.replace("5000", str(port))


async def test_the_host_asks_the_tool_that_comes_with_the_package(tmp_path: Path) -> None:
    async with listening(tmp_path, "-m", "hsms_engine", "fake", "--port", "0") as (first, port):
        assert first == at(port, shown()["hsms-engine fake --port 5000"])
        (tmp_path / "host.py").write_text(at(port, HOST), encoding="utf-8")
        assert await output(tmp_path, "host.py") == shown()["python host.py"]


async def test_the_equipment_is_asked_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "equipment.py").write_text(EQUIPMENT.replace("5000", "0"), encoding="utf-8")
    async with listening(tmp_path, "equipment.py") as (first, port):
        assert first == at(port, shown()["python equipment.py"])
        (command,) = (each for each in shown() if each.startswith("hsms-engine connect"))
        send = re.findall(r'--send "(.*)"$', command)
        words = ["-m", "hsms_engine", "connect", "127.0.0.1", str(port), "--send", *send]
        printed = await output(tmp_path, *words)
        assert without_times(printed) == without_times(at(port, shown()[command]))


def without_times(text: str) -> str:
    return re.sub(r"^// [\d:.]{12} ", "// ", text, flags=re.MULTILINE)


async def test_the_watched_host_shows_that_it_is_selected(tmp_path: Path) -> None:
    async with listening(tmp_path, "-m", "hsms_engine", "fake", "--port", "0") as (_, port):
        assert WATCHED.count("9100") == 1
        program = at(port, WATCHED).replace("9100", "0")
        (tmp_path / "watched.py").write_text(program, encoding="utf-8")
        async with listening(tmp_path, "watched.py") as (first, page_port):
            assert first == shown()["python watched.py"].replace("9100", str(page_port))
            address = f"http://127.0.0.1:{page_port}/metrics"
            answer = await trio.to_thread.run_sync(partial(urlopen, address, timeout=PATIENCE))
            with answer:
                page = answer.read().decode()
    assert 'hsms_link_state{link="etcher-1",state="selected"} 1.0' in page.splitlines()


def test_the_files_that_the_page_names_are_there_and_scrape_its_port() -> None:
    files = set(re.findall(r"deploy/[\w/.]+\w", PAGE))
    assert len(files) == 2
    assert [each for each in files if not (ROOT / each).is_file()] == []
    config = (ROOT / "deploy" / "metrics" / "prometheus.yml").read_text(encoding="utf-8")
    assert "127.0.0.1:9100" in config


def test_the_simulator_is_good_and_its_test_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tool.toml").write_text(TOOL, encoding="utf-8")
    (tmp_path / "test_host.py").write_text(TESTS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["fake", "tool.toml", "--check"]) == 0
    assert capsys.readouterr().out == shown()["hsms-engine fake tool.toml --check"]
    assert "1 passed" in run_tests(tmp_path / "test_host.py", ENVIRONMENT)
