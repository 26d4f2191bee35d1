"""The program ``hsms-engine fleet``: what it prints, its exit codes, what it does at a signal."""

from __future__ import annotations

import json
import math
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from hsms_engine import Settings, cli
from hsms_engine.cli import fleet as command
from hsms_engine.errors import LeaseError, LeaseSetupError, LinkDownError
from hsms_engine.events import (
    Blocked,
    BreakerOpened,
    LinkEvent,
    Missed,
    Standby,
    UnexpectedSecondary,
    Waiting,
)
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.fleet import Fleet, ShareChanged, ToolHappened
from hsms_engine.message import Message
from hsms_engine.process import Process

if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)

from tests.support.fake_store import fake_store, leases_by
from tests.support.store_server import StoreServer, store_server
from tests.test_cli import ENVIRONMENT, HOST, Lines, errors_of, one_line, started
from tests.test_cli_health import ask_as_process

NAMES = ("ETCHER-1", "STEPPER-2")
# Where nothing listens.
NOWHERE = f"redis://{HOST}:1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """A store, and the file with its password."""
    (tmp_path / "password").write_text("secret\n", encoding="utf-8")
    with store_server("--requirepass", "secret") as server:
        yield server


@asynccontextmanager
async def two_tools(folder: Path) -> AsyncIterator[tuple[list[FakeEquipment], Path]]:
    """Two equipments, and the file that has them."""
    async with trio.open_nursery() as nursery:
        tools = [await nursery.start(serve_fake, Settings(port=0)) for _ in NAMES]
        yield tools, tools_file(folder, [tool.port for tool in tools])
        for tool in tools:
            await tool.aclose()


def tools_file(folder: Path, ports: Iterable[int]) -> Path:
    file = folder / "tools.toml"
    text = "".join(
        f'[link.{name}]\nhost = "{HOST}"\nport = {port}\n'
        for name, port in zip(NAMES, ports, strict=False)
    )
    file.write_text(text, encoding="utf-8")
    return file


def words(file: Path, server: StoreServer, *more: object) -> tuple[object, ...]:
    """The command line. A new store gives no lease before one could be over, so it is short."""
    store = ("--store", server.url, "--password-file", file.parent / "password")
    return "fleet", "--tools", file, *store, "--lease", 1, *more


async def until_selected(lines: Lines, tools: Iterable[str]) -> list[dict[str, Any]]:
    """What is told until these are selected."""
    told: list[dict[str, Any]] = []
    missing = {*tools}
    while missing:
        told.append(json.loads(await lines.next()))
        if told[-1]["event"] == "selected":
            missing.discard(told[-1]["tool"])
    return told


async def ended(lines: Lines, number: int = signal.SIGTERM) -> list[dict[str, Any]]:
    """It is stopped by this signal: what it tells then."""
    lines.process.send_signal(number)
    told = [json.loads(line) for line in (await lines.rest()).splitlines()]
    assert (await lines.process.wait(), await errors_of(lines)) == (0, "")
    return told


# What it does


async def test_a_process_owns_all_tools_and_gives_them_back_at_a_signal(
    server: StoreServer, tmp_path: Path
) -> None:
    async with two_tools(tmp_path) as (tools, file):
        more = ("--name", "host-1", "--json", "--health", 0, "--metrics", 0)
        async with started(*words(file, server, *more)) as lines:
            shown, health, joined = [json.loads(await lines.next()) for _ in range(3)]
            assert [each["event"] for each in (shown, health, joined)] == [
                "showing metrics",
                "telling health",
                "joined",
            ]
            assert joined["name"] == "host-1"
            told = await until_selected(lines, NAMES)
            (share,) = [each for each in told if each["event"] == "share"]
            assert (share["tools"], share["members"], share["unplaced"]) == (
                [*NAMES],
                ["host-1"],
                0,
            )
            owning = [each for each in told if each["event"] == "owning"]
            assert {each["tool"] for each in owning} == {*NAMES}
            assert all(each["lease_epoch"] > 0 for each in owning)
            code, out, _ = await ask_as_process(health["where"])
            assert (code, out) == (0, "ready: all 2 links\n")
            metrics = await read(shown["where"])
            for name in NAMES:
                assert f'hsms_lease_state{{link="{name}",state="owner"}} 1.0' in metrics
            over = await ended(lines)
        events = [(each["event"], each.get("tool")) for each in over]
        for name in NAMES:
            assert ("separating", name) in events
            assert ("closed", name) in events
        assert events[-1] == ("stopped", None)
        assert [tool.counts["selected"] for tool in tools] == [1, 1]


async def read(where: str) -> str:
    """The page of metrics."""
    host, _, port = where.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join([each async for each in stream]).decode()


async def test_two_processes_share_the_tools_and_one_takes_over(
    server: StoreServer, tmp_path: Path
) -> None:
    async with (
        two_tools(tmp_path) as (_, file),
        started(*words(file, server, "--name", "host-2", "--json")) as second,
    ):
        await until_selected(second, NAMES)
        # It does not matter where a process is.
        there = {**ENVIRONMENT, "TZ": "Asia/Tokyo"}
        names = ("--name", "host-1", "--json")
        async with started(*words(file, server, *names), env=there) as first:
            joined = json.loads(await first.next())
            assert (joined["event"], joined["at"][-6:]) == ("joined", "+09:00")
            share = json.loads(await first.next())
            assert share["event"] == "share"
            assert share["members"] == ["host-1", "host-2"]
            assert len(share["tools"]) == 1
            await until_selected(first, share["tools"])
            first.process.kill()
            await first.process.wait()
        await until_selected(second, share["tools"])
        await ended(second, signal.SIGINT)


async def test_for_people_it_tells_the_same_in_lines(server: StoreServer, tmp_path: Path) -> None:
    async with two_tools(tmp_path) as (_, file):
        async with started(*words(file, server, "--name", "host-1")) as lines:
            told: list[str] = []
            while not {f"{name}: selected" for name in NAMES} <= {*told}:
                line = await lines.next()
                assert re.match(r"// \d\d:\d\d:\d\d\.\d{3} ", line)
                told.append(line[16:])
            lines.process.terminate()
            rest = await lines.rest()
        assert told[:2] == [
            "host-1 joins the fleet",
            "the share of this process: 2 tools; without a place: 0; in the fleet: host-1",
        ]
        assert any(re.fullmatch(r"ETCHER-1: owning, lease epoch \d+", each) for each in told)
        assert rest.endswith(" stopped\n")


async def test_a_store_that_is_away_at_the_start_is_waited_for(tmp_path: Path) -> None:
    file = tools_file(tmp_path, [1])
    async with started("fleet", "--tools", file, "--store", NOWHERE, "--json") as lines:
        warning = json.loads(await lines.next())
        assert warning["event"] == "warning"
        assert warning["warning"].startswith(f"the store {HOST}:1 is not reached: ")
        assert warning["warning"].endswith("; it is asked again")
        await lines.until("joined")
        assert (await ended(lines))[-1]["event"] == "stopped"


async def test_a_signal_ends_it_while_it_waits_for_a_silent_store(tmp_path: Path) -> None:
    file = tools_file(tmp_path, [1])
    with socket.create_server((HOST, 0)) as listener:
        store = f"redis://{HOST}:{listener.getsockname()[1]}"
        async with started(
            "fleet", "--tools", file, "--store", store, "--lease", 600, "--json"
        ) as lines:
            connection, _ = await trio.to_thread.run_sync(listener.accept)
            with connection:
                assert await ended(lines) == []


async def test_a_clock_that_is_wrong_is_told(tmp_path: Path) -> None:
    answer = b"*3\r\n$6\r\nvacant\r\n:0\r\n:1000\r\n"
    async with (
        fake_store(leases_by(answer)) as url,
        started("fleet", "--tools", tools_file(tmp_path, [1]), "--store", url, "--json") as lines,
    ):
        warning = (await lines.until("warning"))["warning"]
        assert re.match(rf"the clock of the store {HOST}:\d+ is \d+ s behind that of this", warning)
        lines.process.terminate()
        await lines.rest()


async def test_who_is_stopped_hands_its_tools_over(server: StoreServer, tmp_path: Path) -> None:
    async with (
        two_tools(tmp_path) as (_, file),
        started(*words(file, server, "--name", "host-2", "--json")) as second,
    ):
        await until_selected(second, NAMES)
        # However long it takes, the others get them before it ends.
        more = ("--name", "host-1", "--json", "--hand-over", 300)
        async with started(*words(file, server, *more)) as first:
            share = await first.until("share")
            await until_selected(first, share["tools"])
            over = await ended(first)
        assert "draining" in [each["event"] for each in over]
        await until_selected(second, share["tools"])
        await ended(second)


# What it tells


async def test_all_that_an_event_has_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    output = command._Output(Process(), as_json=True)
    at = trio.current_time()
    events: list[LinkEvent] = [
        UnexpectedSecondary(at, 1, Message(1, 2)),
        Waiting(at, 1, math.inf, LinkDownError("a reason", 1.0)),
        BreakerOpened(at, 1, 3, 5, 1.23456),
    ]
    for event in events:
        output.happened("A", event)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [{key: each[key] for key in each if key not in ("at", "tool")} for each in told] == [
        {"event": "unexpected secondary", "message": "S1F2"},
        {"event": "waiting", "retry_after": None, "why": "a reason"},
        {"event": "breaker opened", "failures": 3, "threshold": 5, "retry_after": 1.235},
    ]


async def test_events_that_were_missed_are_told_in_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = cast(Fleet, SimpleNamespace(events=lambda: None, links={}))
    follower = command._Follower(fleet, command._Output(Process(), as_json=False), None)
    follower._take(Missed(trio.current_time(), 0, 7))
    assert one_line(capsys.readouterr().out).endswith(
        "warning: 7 events came too fast and are not told"
    )


async def test_of_a_tool_of_which_nothing_is_known_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = cast(Fleet, SimpleNamespace(events=lambda: None, links={}))
    follower = command._Follower(fleet, command._Output(Process(), as_json=False), None)
    at = trio.current_time()
    follower._take(ShareChanged(at, 0, ("host-1",), ("A", "B"), 0))
    follower._take(ToolHappened(at, 0, "B", Standby(at, 0, "host-2", 7, None)))
    capsys.readouterr()
    assert follower.report() == 1
    assert [line[16:] for line in capsys.readouterr().out.splitlines()] == [
        "A: not selected: it is not known yet",
        "B: not selected: host-2 owns it",
        "0 of 2 tools are selected",
    ]


@pytest.mark.parametrize(
    ("event", "why", "is_over"),
    [
        (lambda at: Standby(at, 0, "", 0, LeaseError("it is away")), "it is away", False),
        (lambda at: Standby(at, 0, "", 0, LeaseSetupError("no access")), "no access", True),
        (lambda at: Standby(at, 0, "host-2", 7, None), "host-2 owns it", True),
        (lambda at: Standby(at, 0, "", 7, None), "it is not known yet", False),
        (lambda at: Waiting(at, 0, 9.0, None), "the next attempt has not begun yet", False),
        (lambda at: Waiting(at, 0, 9.0, LinkDownError("refused", 9.0)), "refused", True),
        (lambda at: Blocked(at, 0, 9.0), "its breaker is open", True),
    ],
)
async def test_what_may_soon_be_otherwise_is_waited_for(
    event: Callable[[float], LinkEvent],
    why: str,
    *,
    is_over: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = trio.current_time()
    fleet = cast(Fleet, SimpleNamespace(events=lambda: None, links={}))
    follower = command._Follower(fleet, command._Output(Process(), as_json=False), None)
    follower._take(ShareChanged(at, 0, ("host-1",), ("A",), 0))
    follower._take(ToolHappened(at, 0, "A", event(at)))
    assert follower._is_settled("A") is is_over
    assert follower.report() == 1
    assert f"A: not selected: {why}" in capsys.readouterr().out


# --once


async def once(file: Path, server: StoreServer, *more: object) -> tuple[int, list[dict[str, Any]]]:
    """Its exit code, and what it tells in its end of the tools of its share."""
    async with started(*words(file, server, "--once", "--json", *more)) as lines:
        told = [json.loads(line) for line in (await lines.rest()).splitlines()]
        code = await lines.process.wait()
        assert await errors_of(lines) == ""
    return code, [each for each in told if each["event"] in ("tool", "owned", "error")]


async def test_once_owns_tells_and_gives_back(server: StoreServer, tmp_path: Path) -> None:
    async with two_tools(tmp_path) as (tools, file):
        for _ in range(2):
            code, told = await once(file, server)
            assert code == 0
            assert [(each.get("tool"), each.get("is_selected")) for each in told[:-1]] == [
                (name, True) for name in NAMES
            ]
            assert (told[-1]["selected"], told[-1]["share"]) == (2, 2)
        assert [tool.counts["selected"] for tool in tools] == [2, 2]
        # One of them is not there.
        await tools[1].kill()
        code, told = await once(file, server)
        assert code == 1
        assert [each["is_selected"] for each in told[:-1]] == [True, False]
        assert "Connection refused" in told[1]["why"]
        assert (told[-1]["selected"], told[-1]["share"]) == (1, 2)


def test_once_fails_when_the_store_is_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tools_file(tmp_path, [1])
    assert cli.main(["fleet", "--tools", str(file), "--store", NOWHERE, "--once"]) == 1
    said = one_line(capsys.readouterr().err)
    assert said.startswith(f"hsms-engine fleet: the store {HOST}:1 is not reached: ")


# The store


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("wrong", "refuses the user or the password"),
        (None, "wants a password, and none was given"),
    ],
)
def test_a_store_that_lets_nobody_in_is_told_in_one_line(
    password: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tools_file(tmp_path, [1])
    given = ["fleet", "--tools", str(file)]
    if password is not None:
        (tmp_path / "password").write_text(password, encoding="utf-8")
        given += ["--password-file", str(tmp_path / "password")]
    with store_server("--requirepass", "secret") as server:
        assert cli.main([*given, "--store", server.url]) == 2
        where = server.url.removeprefix("redis://")
    line = one_line(capsys.readouterr().err)
    assert line == f"hsms-engine fleet: the store {where} {said}"


def test_a_signal_that_comes_when_the_store_has_just_answered_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answered(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()

    monkeypatch.setattr(command, "_expect_store", answered)
    more = ("--store", NOWHERE, "--once", "--within", "0.001")
    assert cli.main(["fleet", "--tools", str(tools_file(tmp_path, [1])), *more]) == 0
    assert capsys.readouterr().out == ""


def test_leases_of_another_length_are_told_in_one_line(
    server: StoreServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tools_file(tmp_path, [1])
    given = ["fleet", "--tools", str(file), "--store", server.url]
    given += ["--password-file", str(tmp_path / "password"), "--once", "--within", "0.001"]
    # The first one to use the store says how long they are.
    assert cli.main([*given, "--lease", "1"]) == 1
    assert "which tools are to be owned here" in one_line(capsys.readouterr().err)
    assert cli.main([*given, "--lease", "2"]) == 2
    line = one_line(capsys.readouterr().err)
    assert "has leases of 1000 ms under the prefix 'hsms', and here they have 2000" in line
    # Under another prefix there are others.
    assert cli.main([*given, "--lease", "2", "--prefix", "other"]) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "Missing option '--store'"),
        (("--store", "http://store.example"), "--store: the URL of the store is to begin with"),
        (("--store", "redis://store.example"), "is on another machine, and the URL is without TLS"),
        (("--store", NOWHERE, "--store-authorities", "a.pem"), "there are files of TLS for it"),
        (("--store", "rediss://127.0.0.1:1", "--store-key", "a.pem"), "of no use without"),
        (("--store", NOWHERE, "--lease", "0.5"), "duration=0.5 of a lease is not from 1 to 600"),
        (("--store", NOWHERE, "--prefix", "a{b"), "Invalid value for '--prefix': the prefix 'a{b'"),
        (("--store", NOWHERE, "--name", "a b"), "'a b' is no name of a process of a fleet"),
        (("--store", NOWHERE, "--metrics", ":9"), "':9' is not a port (0..65535), or HOST:PORT"),
        (("--store", NOWHERE, "--within", "inf"), "'inf' is not a number of seconds above 0"),
        (("--store", NOWHERE, "--hand-over", "-1"), "'-1' is not a number of seconds"),
    ],
)
def test_what_cannot_be_is_wrong_usage(
    more: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tools_file(tmp_path, [1])
    assert cli.main(["fleet", "--tools", str(file), *more]) == 2
    assert said in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("module", ["hsms_engine.lease.redis", "hsms_engine.metrics"])
def test_an_extra_that_is_missing_is_named(
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    file = tools_file(tmp_path, [1])
    with store_server() as server:
        given = ["--store", server.url, "--metrics", "0", "--json"]
        assert cli.main(["fleet", "--tools", str(file), *given]) == 1
    assert module in json.loads(one_line(capsys.readouterr().out))["error"]


def test_metrics_that_cannot_be_shown_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tools_file(tmp_path, [1])
    with socket.create_server((HOST, 0)) as taken, store_server() as server:
        where = f"{HOST}:{taken.getsockname()[1]}"
        given = ["--store", server.url, "--metrics", where]
        assert cli.main(["fleet", "--tools", str(file), *given]) == 1
    line = one_line(capsys.readouterr().err)
    assert line == f"hsms-engine fleet: cannot show metrics on {where}: Address already in use"


# The file of tools

TWICE = f'[link.A]\nhost = "{HOST}"\n[link.A]\nhost = "{HOST}"\n'
AT_ONE = f'[link.A]\nhost = "{HOST}"\n[link.B]\nhost = "{HOST}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TWICE, "tools.toml:3:8: not valid TOML: Cannot declare [link.A] twice"),
        (AT_ONE, "'B' and 'A' are two tools at one address, 127.0.0.1:5000"),
        ("[link.A]\nhots = 'a'\n", "hots"),
        ("", "a fleet has a tool at least"),
    ],
)
def test_a_file_that_has_no_good_tools_is_told_in_one_line(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tools.toml"
    file.write_text(text, encoding="utf-8")
    for more in ([], ["--check"]):
        assert cli.main(["fleet", "--tools", str(file), "--store", NOWHERE, *more]) == 2
        captured = capsys.readouterr()
        assert said in one_line(captured.out + captured.err)


def test_a_file_that_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fleet", "--tools", str(tmp_path / "none"), "--store", NOWHERE]) == 2
    assert "No such file" in one_line(capsys.readouterr().err)


def test_a_good_file_is_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tools_file(tmp_path, [1, 2])
    assert cli.main(["fleet", "--tools", str(file), "--check"]) == 0
    assert one_line(capsys.readouterr().out).endswith(f" {file}: good: 2 tools")
    tools_file(tmp_path, [1])
    assert cli.main(["fleet", "--tools", str(file), "--check", "--json"]) == 0
    told = json.loads(one_line(capsys.readouterr().out))
    assert (told["event"], told["file"], told["tools"]) == ("good", str(file), 1)
