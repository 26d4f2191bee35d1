"""The program ``hsms-engine health``: what it prints, its exit codes, and whom it does not ask."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hsms_engine import cli
from hsms_engine.driver.tcp import listen_tcp
from hsms_engine.fake import serve_fake
from hsms_engine.health import Answer, Told, ask_health
from hsms_engine.settings import Settings
from tests.support.patience import PATIENCE
from tests.test_health_served import HOST, NO_PLACE, NOBODY, Said, told

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


async def ask_as_process(*words: object) -> tuple[int, str, str]:
    """Run the program, as a process: exit code, output, errors."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [sys.executable, "-m", "hsms_engine", "health", *map(str, words)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=ENVIRONMENT,
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def ask(*words: object) -> tuple[int, str, str]:
    """The same in a thread of this process, which is cheaper."""

    def run() -> tuple[int, str, str]:
        written = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
        with redirect_stdout(written[0]), redirect_stderr(written[1]):
            code = cli.main(["health", *map(str, words)])
        for each in written:
            each.seek(0)
        out, err = (each.read() for each in written)
        return code, out, err

    with trio.fail_after(PATIENCE):
        return await trio.to_thread.run_sync(run)


# One program asks another


async def test_a_ready_link_gives_0_and_its_line() -> None:
    async with told([Said()]) as server:
        found = await ask(server.where)
    assert found == (0, "ready for 8 s: etcher-1 etcher-1:5000: why\n", "")


async def test_a_link_that_is_not_ready_gives_1_and_its_line() -> None:
    async with told([Said(), Said(is_ready=False, name="b\x1b[2J")]) as server:
        code, out, err = await ask(server.where)
        assert (code, err) == (1, "")
        assert out == "not ready for 8 s: b\\x1b[2J b\\x1b[2J:5000: why\n"
        assert await ask(server.where, "--link", "etcher-1") == (
            0, "ready for 8 s: etcher-1 etcher-1:5000: why\n", "",
        )  # fmt: skip
        assert (await ask(server.where, "--alive"))[:2] == (0, f"process {os.getpid()} answers\n")


async def test_as_json_it_has_all_that_the_program_tells() -> None:
    async with told([Said(is_ready=False)]) as server:
        code, out, _ = await ask(server.where, "--json")
        assert (await ask(server.where, "--json", "--alive"))[:2] == (0, out)
    assert code == 1
    answer = json.loads(out)
    assert (answer["event"], answer["is_ready"], answer["process"]) == (
        "health", False, os.getpid(),
    )  # fmt: skip
    (link,) = answer["links"]
    assert (link["name"], link["since_seconds"], link["selected"]) == ("etcher-1", 7.5, 0)


async def test_a_link_that_the_program_does_not_have_is_wrong_usage() -> None:
    async with told([Said()]) as server:
        code, out, err = await ask(server.where, "--link", "etcher")
    assert (code, out) == (2, "")
    why = "the program has no link 'etcher'; did you mean 'etcher-1'?"
    assert err == f"hsms-engine health: {why}\n"


async def test_a_program_that_is_gone_gives_1() -> None:
    listener = await listen_tcp(HOST, 0)
    where = f"{HOST}:{listener.port}"
    listener.close()
    assert await ask(where) == (1, "", f"hsms-engine health: {NOBODY.format(where)}\n")
    code, out, _ = await ask(where, "--json", "--alive")
    assert code == 1
    assert json.loads(out)["error"] == NOBODY.format(where)


async def test_a_tool_that_listens_there_keeps_its_session() -> None:
    """An address by mistake: only one of this machine is taken, and no byte is sent to it."""
    async with trio.open_nursery() as nursery:
        # It closes a connection without a session after T7, which is no answer either.
        tool = await nursery.start(serve_fake, Settings(port=0, t7=240))
        code, _, err = await ask(f"{HOST}:{tool.port}", "--timeout", "0.2")
        assert code == 1
        assert "no answer on 127.0.0.1:" in err
        assert (tool.counts["accepted"], tool.counts["selected"]) == (1, 0)
        await tool.aclose()


async def until(where: str, *, is_ready: bool) -> None:
    """Wait until a host is so. To ask is cheaper here than with the program."""
    while (await ask_health(where)).is_ready is not is_ready:
        pass


@asynccontextmanager
async def host_program(folder: Path, port: int) -> AsyncIterator[tuple[trio.Process, str]]:
    """``examples/watched_host.py``, when it tells its health."""
    (folder / "links.toml").write_text(
        f'[link.etcher-1]\nport = {port}\n[link.stepper-2]\nhost = "127.0.0.1"\nport = {port}\n',
        encoding="utf-8",
    )
    process = await trio.lowlevel.open_process(
        [sys.executable, str(ROOT / "examples/watched_host.py"), "0", "links.toml", "etcher-1"],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        said = b""
        while b"is told on " not in said or not said.endswith(b"\n"):
            more = await process.stderr.receive_some()
            assert more, said
            said += more
        yield process, said.decode().partition("is told on ")[2].split()[0]
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stderr.aclose()


async def test_a_host_that_runs_that_is_stopped_and_that_has_ended(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("no signals of POSIX there")
    async with trio.open_nursery() as nursery:
        tool = await nursery.start(serve_fake, Settings(port=0))
        async with host_program(tmp_path, tool.port) as (process, where):
            await until(where, is_ready=True)
            code, out, err = await ask_as_process(where)
            assert (code, err) == (0, "")
            assert out.startswith("ready for ")
            assert f"etcher-1 127.0.0.1:{tool.port}: selected" in out
            # It asks no tool: there is still one session, and one connection.
            assert len(tool.connections) == 1
            assert (await ask(where, "--link", "stepper-2"))[0] == 2
            process.send_signal(signal.SIGSTOP)
            code, out, err = await ask_as_process(where, "--alive", "--timeout", "0.2")
            assert (code, out) == (1, "")
            assert err == f"hsms-engine health: no answer on {where} {STOPPED}\n"
            process.send_signal(signal.SIGCONT)
            assert (await ask(where, "--alive"))[0] == 0
            # The tool is off: the program lives, and is not ready.
            await tool.kill()
            await until(where, is_ready=False)
            assert (await ask(where))[0] == 1
            assert (await ask(where, "--alive"))[0] == 0
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            assert (await ask(where, "--alive"))[0] == 1
        await tool.aclose()


STOPPED = (
    "within --timeout 0.2 s: the program is stopped, or its event loop is blocked, or something "
    "else listens there"
)


# In this process


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(["health", *words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "Missing argument 'WHERE'"),
        (("health",), NO_PLACE),
        (("10.1.2.3:5000",), "is not on this machine"),
        (("9000", "--alive", "--link", "a"), "--alive asks for the program, and --link for a link"),
        (("9000", "--lonk", "a"), "No such option"),
        (("9000", "9001"), "unexpected extra argument"),
        *(
            (("9000", "--timeout", each), f"{each!r} is not a number of seconds in 0.01..3600")
            for each in ("0", "-1", "x", "nan", "inf", "3601", "")
        ),
    ],
)
def test_wrong_usage_gives_2_and_one_line(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("hsms-engine health: ")
    assert why in err
    assert err.count("\n") == 1


def said(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answered(_: str) -> Answer:
        return answer

    monkeypatch.setattr("hsms_engine.cli.health.ask_health", answered)


def link(
    name: str, *, is_ready: bool, peer: str = "tool:5000", ownership: str | None = None
) -> Told:
    facts: dict[str, Any] = {"name": name, **({"ownership": ownership} if ownership else {})}
    return Told(name, peer, is_ready, 65.4, "selected" if is_ready else "waiting", facts)


@pytest.mark.parametrize(
    ("links", "code", "lines"),
    [
        ([], 1, "not ready: the program has no link\n"),
        ([link("a", is_ready=True)], 0, "ready for 65 s: a tool:5000: selected\n"),
        ([link("a", is_ready=True), link("b", is_ready=True)], 0, "ready: all 2 links\n"),
        (
            [link("a", is_ready=True), link("b", is_ready=False), link("c", is_ready=False)],
            1,
            "not ready for 65 s: b tool:5000: waiting\nnot ready for 65 s: c tool:5000: waiting\n",
        ),
        ([link("tool:5000", is_ready=False)], 1, "not ready for 65 s: tool:5000: waiting\n"),
        (
            [
                link("a", is_ready=True, ownership="owner"),
                link("b", is_ready=True, ownership="standby"),
                link("c", is_ready=True, ownership="acquiring"),
            ],
            0,
            "ready: all 3 links, 2 of them standing by\n",
        ),
        (
            [
                link("a", is_ready=True, ownership="doubtful"),
                link("b", is_ready=True, ownership="standby"),
            ],
            0,
            "ready for 65 s: a tool:5000: selected\n",
        ),
    ],
)
def test_the_lines(
    links: list[Told],
    code: int,
    lines: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said(Answer(4711, tuple(links)), monkeypatch)
    assert run(capsys, "9000") == (code, lines, "")


def test_json_has_the_facts_of_the_links(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(Answer(4711, (link("a", is_ready=True),)), monkeypatch)
    code, out, _ = run(capsys, "9000", "--json", "--link", "a")
    assert (code, json.loads(out)) == (
        0,
        {"event": "health", "is_ready": True, "process": 4711, "links": [{"name": "a"}]},
    )


def test_alive_is_no_question_of_being_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(Answer(4711, ()), monkeypatch)
    assert run(capsys, "9000", "--alive") == (0, "process 4711 answers\n", "")


def test_a_link_that_is_unknown_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(Answer(4711, ()), monkeypatch)
    code, _, err = run(capsys, "9000", "--link", "a")
    assert (code, err) == (2, "hsms-engine health: the program has no link 'a'; there is none\n")


def test_who_gives_no_answer_is_left_after_the_timeout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def silent(_: str) -> Answer:
        raise await trio.sleep_forever()

    monkeypatch.setattr("hsms_engine.cli.health.ask_health", silent)
    started = trio.run

    def at_once(main: Any, *args: Any) -> Any:
        return started(main, *args, clock=MockClock(autojump_threshold=0))

    monkeypatch.setattr(trio, "run", at_once)
    code, out, err = run(capsys, "./health", "--timeout", "3600")
    assert (code, out) == (1, "")
    assert err.startswith("hsms-engine health: no answer on ./health within --timeout 3600 s: ")
