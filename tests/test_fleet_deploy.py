"""The files of ``deploy`` for a fleet: each command is run as it stands there, on real tools."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from hsms_engine import Settings
from hsms_engine.fake import serve_fake
from hsms_engine.fleet.shares import shares
from hsms_engine.health import ask_health

if sys.platform == "win32":
    pytest.skip("Python has no Unix sockets there", allow_module_level=True)

from tests.support import certificates
from tests.support.patience import PATIENCE
from tests.support.store_server import Relay, relay, store_server
from tests.support.tools import needs
from tests.test_cookbook import DEPLOY, ENVIRONMENT, instructions

UNIT = DEPLOY / "hsms-fleet@.service"
COMPOSE = DEPLOY / "hsms-fleet.yaml"
DOCKERFILE = DEPLOY / "Dockerfile.fleet"
VARIABLES = dict(
    line.split("=", 1)
    for line in (DEPLOY / "fleet.env").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)
PASSWORD = VARIABLES["HSMS_STORE_PASSWORD"]
HOST = "127.0.0.1"


def of_docker(name: str) -> str:
    (found,) = [rest for each, rest in instructions(DOCKERFILE) if each == name]
    return found


def listed(text: str) -> list[str]:
    words: list[str] = json.loads(text)
    return words


def compose_commands() -> list[list[str]]:
    """That of the store, and those of the hosts."""
    text = COMPOSE.read_text(encoding="utf-8")
    return [listed(each) for each in re.findall(r"^ +command: (\[.*\])$", text, re.MULTILINE)]


def of_systemd() -> Iterator[list[str]]:
    """What systemd starts of the unit, on one machine."""
    (command,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    for number in "123":
        words = command.replace("${HSMS_STORE}", VARIABLES["HSMS_STORE"])
        yield shlex.split(words.replace("%l", "machine").replace("%i", number))


def of_compose() -> Iterator[list[str]]:
    """What docker compose starts of the image."""
    _, *hosts = compose_commands()
    for words in hosts:
        yield [*listed(of_docker("ENTRYPOINT")), *words]


WAYS = {"compose": of_compose, "systemd": of_systemd}


def here(words: list[str], number: int, folder: Path, store: Relay) -> list[str]:
    """The command, with what is in ``folder`` for what is on another machine."""
    program, *rest = words
    assert Path(program).name == "hsms-engine"
    moved = {
        "/etc/hsms-engine/tools.toml": str(folder / "tools.toml"),
        "/etc/hsms/tools.toml": str(folder / "tools.toml"),
        "/etc/hsms/authority.pem": str(folder / "authority.pem"),
        "/tmp/health": str(folder / f"health-{number}"),
        f"/run/hsms-fleet-{number}/health": str(folder / f"health-{number}"),
        "0.0.0.0:9100": "0",
        f"910{number}": "0",
    }
    rest = [moved.get(each, each) for each in rest]
    assert not [each for each in rest if each.startswith("/") and not Path(each).parent.exists()]
    at = rest.index("--store") + 1
    # The server of the tests has one user.
    assert re.fullmatch(r"rediss://(hsms@)?store(\.example)?", rest[at])
    rest[at] = store.url("rediss")
    if "--store-authorities" not in rest:
        # There the system knows the authority.
        rest += ["--store-authorities", str(folder / "authority.pem")]
    # A new store gives no lease before one could be over.
    return ["-m", "hsms_engine", *rest, "--lease", "1"]


@asynccontextmanager
async def tools(folder: Path, names: list[str]) -> AsyncIterator[None]:
    """Equipments, and the file that names them: each process has one of them at least."""
    count = 1
    while {*shares([f"TOOL-{each}" for each in range(count)], dict.fromkeys(names)).values()} != {
        *names
    }:
        count += 1
    async with trio.open_nursery() as nursery:
        found = [await nursery.start(serve_fake, Settings(port=0)) for _ in range(count)]
        text = "".join(
            f'[link.TOOL-{number}]\nhost = "{HOST}"\nport = {tool.port}\n'
            for number, tool in enumerate(found)
        )
        (folder / "tools.toml").write_text(text, encoding="utf-8")
        yield
        for tool in found:
            await tool.aclose()


async def until_ready(place: Path) -> None:
    while True:
        with suppress(OSError):
            if (await ask_health(place)).is_ready:
                return


@pytest.mark.parametrize("way", WAYS)
async def test_three_processes_that_run_so_share_the_tools(way: str, tmp_path: Path) -> None:
    commands = [*WAYS[way]()]
    names = [words[words.index("--name") + 1] for words in commands]
    assert len({*names}) == 3
    certificates.authority().cert_pem.write_to_path(tmp_path / "authority.pem")
    context = certificates.listening(clients_of=None)
    environment = {**ENVIRONMENT, "HSMS_STORE_PASSWORD": PASSWORD}
    with trio.fail_after(PATIENCE), store_server("--requirepass", PASSWORD) as server:
        async with (
            relay(server.port, context) as store,
            tools(tmp_path, names),
            AsyncExitStack() as stack,
        ):
            processes = []
            for number, words in enumerate(commands, 1):
                processes.append(
                    await trio.lowlevel.open_process(
                        [sys.executable, *here(words, number, tmp_path, store)],
                        stdout=subprocess.DEVNULL,
                        env=environment,
                    )
                )
                stack.callback(processes[-1].kill)
            for number in range(1, 4):
                await until_ready(tmp_path / f"health-{number}")
            for process in processes:
                process.terminate()
            assert [await process.wait() for process in processes] == [0, 0, 0]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    needs("systemd-analyze")
    # It looks whether the program is there, and takes an instance of a template.
    text = UNIT.read_text(encoding="utf-8").replace("/opt/hsms-engine/bin/", "/bin/true ")
    unit = tmp_path / "hsms-fleet@1.service"
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_container_of_a_process_is_made_as_that_of_the_equipment() -> None:
    """Whose parts are tested to be enough."""
    mine, other = instructions(DOCKERFILE), instructions(DEPLOY / "Dockerfile")
    shared = ("FROM", "COPY", "USER")
    assert [each for each in mine if each[0] in shared] == [
        each for each in other if each[0] in shared
    ]
    assert of_docker("RUN") == "pip install --no-cache-dir '/src[cli,fleet,metrics]'"
    assert listed(of_docker("HEALTHCHECK").partition(" CMD ")[2]) == [
        "hsms-engine", "health", "/tmp/health",
    ]  # fmt: skip


def test_the_store_of_compose_speaks_tls_only_and_forgets_nothing_by_itself() -> None:
    command, *hosts = compose_commands()
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert (options["--port"], options["--tls-port"]) == ("0", "6379")
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--appendonly"] == "yes"
    assert all(words[:2] == ["--store", "rediss://store"] for words in hosts)
    assert listed(of_docker("CMD")) == hosts[0][:-2]
