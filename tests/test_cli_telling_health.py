"""``--health`` of ``fake`` and ``listen``: the real ``hsms-engine health`` asks them."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from hsms_engine import cli, open_hsms
from hsms_engine.fake import serve_fake

if sys.platform == "win32":
    pytest.skip("signals and Unix sockets of POSIX", allow_module_level=True)

from tests.test_cli import HOST, errors_of, one_line, started
from tests.test_cli_health import ask_as_process

SERVERS = {"fake": ("fake", "--port", 0), "listen": ("listen", HOST, 0)}


def plain(line: str) -> str:
    return re.sub(r"^(// )?\d\d:\d\d:\d\d\.\d{3} ", "", line)


@pytest.mark.parametrize("command", SERVERS)
async def test_the_program_health_asks_a_program_that_listens(command: str, tmp_path: Path) -> None:
    where = tmp_path / "health"
    async with started(*SERVERS[command], "--health", where) as lines:
        assert plain(await lines.next()) == f"telling health on {where}"
        address = plain(await lines.next()).removeprefix("listening on ")
        async with open_hsms(HOST, int(address.rpartition(":")[2])):
            code, out, errors = await ask_as_process(where)
        assert (code, errors) == (0, "")
        found = re.fullmatch(rf"ready for \d+ s: {address}: listening; (.*)\n", out)
        assert found is not None, out
        assert found[1] == "1 of 1 sessions selected"
        lines.process.send_signal(signal.SIGTERM)
        assert await lines.process.wait() == 0
        assert await errors_of(lines) == ""
    assert not where.exists()


@pytest.mark.parametrize("command", SERVERS)
async def test_where_the_health_is_told_is_an_object_too(command: str) -> None:
    async with started(*SERVERS[command], "--health", 0, "--json") as lines:
        told = json.loads(await lines.next())
        assert told["event"] == "telling health"
        await lines.until("listening")
        code, out, _ = await ask_as_process(told["where"], "--json")
        assert (code, json.loads(out)["is_ready"]) == (0, True)
        lines.process.send_signal(signal.SIGTERM)
        assert await lines.process.wait() == 0


def refused(command: str, where: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.main([*map(str, SERVERS[command]), "--health", where])
    return code, one_line(capsys.readouterr().err)


@pytest.mark.parametrize("command", SERVERS)
def test_a_place_that_cannot_be_had_is_told_in_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    with socket.create_server((HOST, 0)) as taken:
        places = {
            f"{HOST}:{taken.getsockname()[1]}": "Address already in use",
            f"{tmp_path}/missing/health": "No such file or directory",
            str(file): "something is there that is no socket",
            f"{tmp_path}/{'x' * 120}": "that of a Unix socket at most",
        }
        for where, why in places.items():
            code, line = refused(command, where, capsys)
            assert code == 1
            assert line.startswith(f"hsms-engine {command}: cannot tell health on {where}: ")
            assert why in line


@pytest.mark.parametrize("command", SERVERS)
@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("", "is no place to tell health"),
        ("health", "is no place to tell health"),
        ("65536", "is no place to tell health"),
        ("10.1.2.3:9000", "is not on this machine"),
        ("./a\nb", "a character not to be seen"),
    ],
)
def test_a_place_that_is_none_is_wrong_usage(
    command: str, where: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = refused(command, where, capsys)
    assert code == 2
    assert why in line


@pytest.mark.parametrize("command", SERVERS)
def test_a_port_that_is_taken_is_told_as_without_health(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        words = [*map(str, SERVERS[command][:-1]), str(port)]
        assert cli.main([*words, "--health", "0"]) == 1
    line = one_line(capsys.readouterr().err)
    assert line.startswith(f"hsms-engine {command}: cannot listen on {HOST}:{port}: ")


async def test_a_fake_equipment_is_ready_while_it_listens(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        equipment = await nursery.start(serve_fake)

        def after(seconds: float) -> tuple[bool, float, str]:
            mock_clock.jump(seconds)
            found = equipment.health()
            assert found.peer == found.name == f"{HOST}:{equipment.port}"
            return found.is_ready, found.since_seconds, found.why

        none = "0 of 1 sessions selected"
        assert after(3) == (True, 3, f"listening; {none}")
        await equipment.behave("refuse-tcp")
        assert after(4) == (False, 4, f"closed; {none}")
        await equipment.kill()
        assert after(1) == (False, 5, f"closed; {none}")
        await equipment.behave()
        await equipment.restart()
        assert after(2) == (True, 2, f"listening; {none}")
        await equipment.kill()
        assert after(6) == (False, 6, f"closed; {none}")
        nursery.cancel_scope.cancel()
