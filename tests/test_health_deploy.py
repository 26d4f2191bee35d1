"""What looks after a host: each command of ``deploy`` is run as it stands there, on a real host."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import trio

from hsms_engine import HsmsLink, Settings, open_link, serve_health
from hsms_engine.events import Unreachable
from hsms_engine.fake import FakeEquipment, serve_fake
from hsms_engine.health import ask_health
from tests.support.pair import Switchboard
from tests.support.patience import PATIENCE
from tests.support.tools import needs
from tests.support.virtual import run_virtually
from tests.test_cookbook import DEPLOY, ENVIRONMENT, EXAMPLES, ROOT, instructions, started

if sys.platform == "win32":
    pytest.skip("Python has no Unix sockets there", allow_module_level=True)

UNITS = [DEPLOY / f"hsms-host{name}" for name in (".service", "-health.service", "-health.timer")]
DOCKERFILE = DEPLOY / "Dockerfile.host"
MANIFEST = DEPLOY / "hsms-host.yaml"


def command_of(unit: Path) -> list[str]:
    text = unit.read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    return shlex.split(command)


def listed(text: str) -> list[str]:
    words: list[str] = json.loads(text)
    return words


def of_docker(name: str) -> str:
    (found,) = [rest for each, rest in instructions(DOCKERFILE) if each == name]
    return found


def probes() -> list[list[str]]:
    text = MANIFEST.read_text(encoding="utf-8")
    return [listed(each) for each in re.findall(r"^ +command: (\[.*\])$", text, re.MULTILINE)]


HOSTS = {
    "systemd": command_of(UNITS[0]),
    "Docker": [*listed(of_docker("ENTRYPOINT")), *listed(of_docker("CMD"))],
}
QUESTIONS = {
    "systemd": [command_of(UNITS[1])],
    # The manifest runs the image.
    "Docker": [listed(of_docker("HEALTHCHECK").partition(" CMD ")[2]), *probes()],
}


def here(words: list[str], folder: Path) -> list[str]:
    """The command, with what is in ``folder`` for what is on another machine."""
    program, *rest = words
    moved = {
        "/run/hsms-host/health": str(folder / "health"),
        "/tmp/health": str(folder / "health"),
        "/etc/hsms-engine/links.toml": str(folder / "links.toml"),
        "/etc/hsms/links.toml": str(folder / "links.toml"),
        "/opt/hsms-engine/watched_host.py": str(EXAMPLES / "watched_host.py"),
        "/host/watched_host.py": str(EXAMPLES / "watched_host.py"),
    }
    rest = [moved.get(each, each) for each in rest]
    assert not [each for each in rest if each.startswith("/") and not Path(each).parent.exists()]
    match Path(program).name:
        case "python":
            return rest
        case name:
            assert name == "hsms-engine"
            return ["-m", "hsms_engine", *rest]


async def ask(words: list[str], folder: Path) -> tuple[int, str]:
    done = await trio.run_process(
        [sys.executable, *here(words, folder)],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=ENVIRONMENT,
    )
    return done.returncode, done.stdout.decode() + done.stderr.decode()


async def until(place: Path, *, is_ready: bool) -> None:
    """Wait until a host tells its health there, and is so. To ask is cheaper here."""
    while True:
        with suppress(OSError):
            if (await ask_health(place)).is_ready is is_ready:
                return


@asynccontextmanager
async def two_tools(folder: Path) -> AsyncIterator[list[FakeEquipment]]:
    """What the file of links names, on this machine."""
    async with trio.open_nursery() as nursery:
        tools = [await nursery.start(serve_fake, Settings(port=0)) for _ in range(2)]
        text = "".join(
            f'[link.{name}]\nhost = "127.0.0.1"\nport = {tool.port}\n'
            for name, tool in zip(("etcher-1", "stepper-2"), tools, strict=True)
        )
        (folder / "links.toml").write_text(text, encoding="utf-8")
        yield tools
        for tool in tools:
            await tool.aclose()


@pytest.mark.parametrize("kind", HOSTS)
async def test_a_host_that_runs_so_answers_the_questions(kind: str, tmp_path: Path) -> None:
    questions = QUESTIONS[kind]
    alive = [words for words in questions if "--alive" in words]
    ready = [words for words in questions if "--alive" not in words]
    with trio.fail_after(PATIENCE):
        async with two_tools(tmp_path) as tools:
            # Before it runs, it is neither.
            assert (await ask(ready[0], tmp_path))[0] == 1
            async with started(*here(HOSTS[kind], tmp_path), folder=tmp_path) as process:
                await until(tmp_path / "health", is_ready=True)
                for words in questions:
                    code, said = await ask(words, tmp_path)
                    assert code == 0, said
                # A tool that is switched off makes it not ready, and no less alive.
                await tools[1].kill()
                await until(tmp_path / "health", is_ready=False)
                for words in ready:
                    code, said = await ask(words, tmp_path)
                    assert (code, said.count("\n")) == (1, 1)
                    assert said.startswith("not ready for ")
                    assert "stepper-2" in said
                for words in alive:
                    assert (await ask(words, tmp_path))[0] == 0
                process.terminate()
                assert await process.wait() == 0
            assert not (tmp_path / "health").exists()


def test_kubernetes_asks_what_is_right_for_each_probe() -> None:
    """A probe that restarts must not ask whether the tool is there."""
    text = MANIFEST.read_text(encoding="utf-8")
    found = re.findall(r"(\w+)Probe:\n +exec:\n +command: (\[.*\])", text)
    assert {name: "--alive" in words for name, words in found} == {
        "readiness": False, "liveness": True,
    }  # fmt: skip
    assert "type: Recreate" in text


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    needs("systemd-analyze")
    for unit in UNITS:
        # It looks whether the program is there.
        text = unit.read_text(encoding="utf-8").replace("/opt/hsms-engine/bin/", "/bin/true ")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_container_of_the_host_is_made_as_that_of_the_equipment() -> None:
    """Whose parts are tested to be enough."""
    mine, other = instructions(DOCKERFILE), instructions(DEPLOY / "Dockerfile")
    shared = ("FROM", "COPY", "RUN", "USER")
    more = [each for each in mine if each[0] in shared and each not in other]
    assert more == [("COPY", "examples/watched_host.py /host/watched_host.py")]
    assert [each for each in other if each[0] in shared and each not in mine] == []


# The page


def programs() -> list[str]:
    text = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
    found: list[str] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return found


def main_of(program: str, **names: object) -> Callable[[], Awaitable[None]]:
    """A program of the page as a coroutine function, whose links are refused."""
    board = Switchboard()
    board.refuse()

    def open_here(*_: object, **changes: Any) -> AbstractAsyncContextManager[HsmsLink]:
        return open_link(dial=board.dial, **changes)

    scope: dict[str, Any] = {"open_link": open_here, "trio": trio, **names}
    exec(f"async def main():\n{indent(program, '    ')}", scope)
    main: Callable[[], Awaitable[None]] = scope["main"]
    return main


async def test_the_program_of_the_page_tells_its_health(tmp_path: Path) -> None:
    program = programs()[0].replace("/run/host/health", str(tmp_path / "health"))
    program += "    answer = await ask_health(told.where)\n"
    program += "    nursery.cancel_scope.cancel()\n"
    program += "assert not answer.is_ready\n"
    names = {"serve_health": serve_health, "ask_health": ask_health, "settings": Settings()}
    await main_of(program, **names)()


def test_the_program_of_the_page_calls_once() -> None:
    called: list[tuple[float, str]] = []

    async def call(text: str) -> None:
        called.append((trio.current_time(), text))

    main = main_of(programs()[1], Unreachable=Unreachable, call=call)

    async def for_an_hour() -> None:
        with trio.move_on_after(3_600):
            await main()

    run_virtually(for_an_hour)
    ((at, text),) = called
    assert at == 300
    assert "127.0.0.1:5000 is away for 300 s: 127.0.0.1:5000: not connected" in text
