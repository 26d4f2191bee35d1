"""The packages where names of Linux are missing: see `tests/support/elsewhere/sitecustomize.py`.

What cannot be seen here: whether the other system does what its documents say.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from tests.support.patience import PATIENCE
from tests.support.typeshed import lacking

if sys.platform != "linux":
    pytest.skip("names of Linux are taken away", allow_module_level=True)

ROOT = Path(__file__).parent.parent
ELSEWHERE = ROOT / "tests" / "support" / "elsewhere"
# How a program is told to end there. What stands for Ctrl-Break is in `sitecustomize`.
ENDING = {"darwin": signal.SIGTERM, "win32": signal.SIGUSR2}


@pytest.fixture(params=["darwin", "win32"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def elsewhere(platform: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a process that is to be on `platform`."""
    told = tmp_path / "elsewhere.json"
    told.write_text(json.dumps({"platform": platform, **lacking(platform)._asdict()}), "utf-8")
    path = os.pathsep.join([str(ELSEWHERE), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "ELSEWHERE": str(told)}


def run(environment: Mapping[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        check=False,
        cwd=ROOT,
        encoding="utf-8",
        env=environment,
        timeout=PATIENCE,
    )


def told(environment: Mapping[str, str], *words: object) -> list[str]:
    """The lines of a program that ends well and complains of nothing."""
    done = run(environment, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


MISSING = {
    "darwin": [
        "import errno; errno.ENONET",
        "from errno import ENONET",
        "import socket; socket.SOCK_CLOEXEC",
        "import socket; socket.SocketKind.SOCK_CLOEXEC",
        "import select; select.epoll",
        "import signal; signal.Signals['SIGPWR']",
        "import trio; trio.socket.SOCK_CLOEXEC",
        "from trio.socket import SOCK_CLOEXEC",
        "import time; time.CLOCK_BOOTTIME",
    ],
    "win32": [
        "import errno; errno.ENONET",
        "from socket import AF_UNIX",
        "import fcntl",
        "from termios import TIOCOUTQ",
        "import resource",
        "import signal; signal.SIGKILL",
        "import signal; signal.Signals.SIGHUP",
        "import os; os.openpty",
        "import os; os.fork",
        "import select; select.poll",
        "import trio; trio.socket.SO_REUSEADDR",
        "import trio; trio.socket.AF_UNIX",
    ],
}


# Each argument works for others, and those that do not work for us are printed.
TRIED = """
import sys
for line in sys.argv[1:]:
    exec(line, {})
    try:
        exec(line, {"__package__": "hsms_engine.driver"})
    except (AttributeError, ImportError, KeyError):
        print(line)
"""


def test_what_a_platform_lacks_is_missing_for_our_modules_only(
    platform: str, elsewhere: dict[str, str]
) -> None:
    # Otherwise the tests below could not fail.
    assert told(elsewhere, "-c", TRIED, *MISSING[platform]) == MISSING[platform]


def test_every_module_can_be_imported(elsewhere: dict[str, str]) -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("hsms_engine", "statecharts")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__main__.py"
    ]
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    assert len(modules) > 100
    assert told(elsewhere, "-c", program, *modules) == []


def test_both_ends_talk(platform: str, elsewhere: dict[str, str]) -> None:
    no_unix = "this Python has no Unix sockets"
    unix = {
        "darwin": ["listen_unix: done", f"connect_unix: {os.strerror(errno.ENOENT)}"],
        "win32": [f"listen_unix: {no_unix}", f"connect_unix: {no_unix}"],
    }
    assert told(elsewhere, ELSEWHERE / "talk.py") == [
        f"a second listener: {os.strerror(errno.EADDRINUSE)}",
        "open_hsms: S2F26 b'A\\x01A'",
        "open_hsms: S2F26 b'A\\x01A'",
        "open_link: S1F2",
        "a listener after it: done",
        f"refused: {os.strerror(errno.ECONNREFUSED)}",
        *unix[platform],
    ]


def test_the_demo_ends_well(elsewhere: dict[str, str]) -> None:
    lines = told(elsewhere, "-m", "hsms_engine.demo")
    assert lines[-1] == "demo: ok"
    assert "the equipment is told to end, and ends with: 0" in lines[-2]


async def test_the_fake_equipment_runs_in_a_process_and_is_told_to_end(
    platform: str, elsewhere: dict[str, str]
) -> None:
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "hsms_engine", "fake", "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=elsewhere,
            # The shell that started the tests may ignore it.
            preexec_fn=lambda: signal.signal(ENDING[platform], signal.SIG_DFL),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        port = json.loads(await process.stdout.receive_some())["port"]
        connect = ["-m", "hsms_engine", "connect", "127.0.0.1", port, "--send", "S1F1"]
        lines: list[str] = await trio.to_thread.run_sync(told, elsewhere, *connect)
        assert "S1F2" in lines
        process.send_signal(ENDING[platform])
        assert await process.wait() == 0
        assert b"".join([each async for each in process.stderr]) == b""
        await process.stderr.aclose()
        await process.stdout.aclose()


# Writing to a pipe that is closed is an invalid argument on Windows.
WRITES = """
import errno, io, os, sys
import trio
from hsms_engine import process

class Closed(io.StringIO):
    encoding = "utf-8"
    def write(self, text):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

async def main(this):
    this.line("a line")
    await trio.sleep_forever()

sys.stdout = Closed()
try:
    sys.exit(process.run(main))
except process.OutputError as error:
    sys.exit(str(error))
"""


def test_a_closed_pipe_is_told_to_nobody(platform: str, elsewhere: dict[str, str]) -> None:
    said = {"darwin": f"cannot write the output: {os.strerror(errno.EINVAL)}\n", "win32": ""}
    done = run(elsewhere, "-c", WRITES)
    assert (done.returncode, done.stderr) == (1, said[platform])
