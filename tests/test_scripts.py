"""The scripts of the cookbook, each as a process of its own: they talk to one another."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from hsms_engine import Message, blocking
from hsms_engine.messages import S1F2, S1F14, S2F42, S6F11
from hsms_engine.secs2 import U4
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent
TOOL = ("ETCHER", "7.1")
FINISHED = S6F11(U4(1), U4(4010), {U4(7): ["W-12", "done"]})


def started(*words: object) -> subprocess.Popen[str]:
    """Python with these words, in the folder of the examples."""
    return subprocess.Popen(
        [sys.executable, "-u", "-W", "error", *map(str, words)],
        cwd=ROOT / "examples",
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run(script: str, *words: object) -> tuple[int, str, str]:
    """Its exit code, and what it has printed."""
    with started(script, *words) as process:
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err


def stream_of(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


@pytest.fixture
def simulator() -> Iterator[subprocess.Popen[str]]:
    with started("-m", "hsms_engine", "fake", "tool.toml", "--port", 0) as process:
        yield process
        process.kill()


@pytest.fixture
def port(simulator: subprocess.Popen[str]) -> int:
    told, _, port = stream_of(simulator).readline().rpartition(":")
    assert told == "listening on 127.0.0.1"
    return int(port)


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with blocking.serve_hsms(list, port=0) as server:
        return server.port


def sml(*messages: Message) -> str:
    return "".join(f"{each.sml()}\n" for each in messages)


def test_a_script_asks_a_tool_who_it_is(port: int) -> None:
    assert run("ask.py", "127.0.0.1", port) == (0, sml(S1F14(0, *TOOL), S1F2(*TOOL)), "")


def test_a_script_says_in_a_line_why_it_could_not_ask(free_port: int) -> None:
    code, out, err = run("ask.py", "127.0.0.1", free_port)

    assert (code, out) == (1, "")
    assert err.startswith(f"127.0.0.1:{free_port}: not connected")
    assert err.count("\n") == 1


def test_a_script_starts_a_tool_and_waits_for_its_end(port: int) -> None:
    expected = sml(S1F14(0, *TOOL), S2F42(), FINISHED)
    assert run("start_and_wait.py", "127.0.0.1", port, 60) == (0, expected, "")


def talk(conn: blocking.HsmsConnection) -> None:
    """A tool that starts, reports what nobody waits for, and is never finished."""
    for primary in conn:
        conn.reply(primary, Message(primary.stream, primary.function + 1))
        if primary.name == "S2F41":
            conn.request(S6F11(1, 4009, {}))
            conn.send(Message(6, 11, item=["no", "report"]))


def test_a_wait_for_a_report_is_over_after_its_time() -> None:
    with blocking.serve_hsms(talk, port=0) as server:
        code, out, err = run("start_and_wait.py", "127.0.0.1", server.port, 0.001)

    assert (code, out) == (1, sml(Message(1, 14), Message(2, 42)))
    assert "the next primary: not done within timeout=" in err


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C goes to all of its console there")
def test_ctrl_c_ends_a_wait_and_separates() -> None:
    with (
        blocking.serve_hsms(talk, port=0) as server,
        started("start_and_wait.py", "127.0.0.1", server.port, PATIENCE) as process,
    ):
        events = server.events()
        assert [stream_of(process).readline() for _ in range(2)] == ["S1F14 .\n", "S2F42 .\n"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (1, "", "not waited for its end\n")
        ended = next(each for each in events if type(each).__name__ == "PeerEnded")
    assert "separated" in str(ended)


def test_many_tools_are_asked_at_once(port: int, free_port: int, tmp_path: Path) -> None:
    links = tmp_path / "links.toml"
    links.write_text(
        f"[link.here]\nport = {port}\n[link.away]\nport = {free_port}\n[link.too]\nport = {port}\n",
        encoding="utf-8",
    )
    code, out, err = run("many_tools.py", links)

    here, away, too = out.splitlines()
    assert (code, err) == (0, "")
    assert here == "here: L(A('ETCHER'), A('7.1'))"
    assert away.startswith(f"away: 127.0.0.1:{free_port}: not connected")
    assert too == "too: L(A('ETCHER'), A('7.1'))"
