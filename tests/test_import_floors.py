"""Imports point down only: every file imports what its floor may, and nothing that acts behind it.

The table is the picture in the design put as data. A file belongs to the first row that matches
it. For each module it imports, the longest name in the row that the module starts with decides;
a module no name matches is allowed exactly if it belongs to the standard library.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import hsms_engine
import statecharts

ROOT = Path(__file__).parent.parent
PACKAGES = ("statecharts", "hsms_engine")

# A wall clock, or chance nobody injected: with either, a run cannot be replayed.
UNREPEATABLE = frozenset({"time", "datetime", "calendar", "random", "secrets", "uuid"})
# Threads, and a second event loop.
CONCURRENT = frozenset({"asyncio", "threading", "_thread", "concurrent"})
SOCKETS = frozenset({"socket", "socketserver", "selectors", "select", "ssl"})
COMMAND_LINE = frozenset({"hsms_engine.cli", "hsms_engine.__main__"})
PROGRAMS = COMMAND_LINE | {
    f"hsms_engine.{name}"
    for name in (
        "demo",
        "fake",
        "fleet",
        "in_thread",
        "metrics",
        "monitor",
        "proxy",
        "recorder",
        "recording",
        "replay",
        "scenario",
        "virtual",
        "worst",
    )
}
DRIVER = frozenset({"hsms_engine.driver"})
# What stands on the API: a program for trio does without.
DOORS = frozenset({"hsms_engine.doors", "hsms_engine.blocking", "hsms_engine.aio"})
TRAFFIC = frozenset({"hsms_engine.traffic"})
# What a user holds.
ENDS = frozenset(f"hsms_engine.{name}" for name in ("connection", "link", "messaging", "server"))
# What a user holds can be recorded, and shown on a page.
RECORDER = frozenset({"hsms_engine.recorder"})
MONITOR = frozenset({"hsms_engine.monitor"})
# A generator is chance of the caller's own choosing.
INJECTED_CHANCE = frozenset({"random.Random"})


@dataclass(frozen=True, slots=True)
class Floor:
    """What the files that match `files` import: a module's name stands for all below it.

    `late` may be imported inside a function only, by the caller who needs it.
    """

    files: str
    may: frozenset[str]
    never: frozenset[str]
    late: frozenset[str] = frozenset()

    def refuses(self, module: str, *, inside_function: bool) -> bool:
        allowed = self.may | self.late if inside_function else self.may
        lengths = range(len(module.split(".")), 0, -1)
        for prefix in (".".join(module.split(".")[:length]) for length in lengths):
            if prefix in allowed:
                return False
            if prefix in self.never:
                return True
        return module.partition(".")[0] not in sys.stdlib_module_names


ACTING = UNREPEATABLE | CONCURRENT | SOCKETS
PURE = ACTING | {"logging", "trio"}
CHARTS = frozenset({"statecharts", "statemachine"})
# What every chart needs, whatever it is about.
KIT = PURE | {"statecharts.hsms"}
ENGINE = frozenset({"statecharts", "hsms_engine", "trio"}) | INJECTED_CHANCE

OUTSIDE = ACTING | PROGRAMS | DOORS

FLOORS = (
    Floor("statecharts/hsms/*", CHARTS, PURE),
    Floor("statecharts/draw/*", CHARTS, KIT, late=frozenset({"graphviz"})),
    Floor("statecharts/testgen/*", CHARTS, KIT, late=frozenset({"hypothesis"})),
    # What runs a chart. Who draws or checks one does without.
    Floor("statecharts/run.py", CHARTS | {"trio"}, KIT),
    Floor("statecharts/nursery.py", frozenset({"trio"}), KIT | CHARTS),
    Floor("statecharts/*", CHARTS, KIT),
    Floor("hsms_engine/wire.py", frozenset(), PURE),
    Floor(
        "hsms_engine/toml_*.py",
        frozenset({"hsms_engine.spelling", "hsms_engine.toml_text"}),
        PURE | {"hsms_engine", "statecharts"},
    ),
    Floor("hsms_engine/secs2/*", frozenset({"hsms_engine.secs2"}), PURE),
    Floor("hsms_engine/sml/*", frozenset({"hsms_engine.sml", "hsms_engine.secs2"}), PURE),
    Floor("hsms_engine/message*.py", frozenset({"hsms_engine"}), PURE | PROGRAMS | DRIVER),
    Floor(
        "hsms_engine/protocol/*",
        frozenset({"statecharts", "hsms_engine"}) | INJECTED_CHANCE,
        PURE | PROGRAMS | DRIVER | TRAFFIC | {"hsms_engine.logs"},
    ),
    # It knows threads, and whether asyncio runs, to say who calls from where.
    Floor(
        "hsms_engine/driver/loop.py",
        ENGINE | {"threading"},
        UNREPEATABLE | CONCURRENT | PROGRAMS,
        late=frozenset({"asyncio.get_running_loop"}),
    ),
    Floor(
        "hsms_engine/driver/*",
        ENGINE,
        UNREPEATABLE | CONCURRENT | PROGRAMS | TRAFFIC | ENDS,
    ),
    # It sees, and does nothing: no socket, no loop, no clock of its own.
    Floor("hsms_engine/traffic/*", ENGINE - {"trio"}, ACTING | {"trio"} | PROGRAMS | ENDS),
    # It sees too, and any thread may read what it has counted. What its extra brings is for it.
    Floor(
        "hsms_engine/metrics/*",
        ENGINE | {"threading", "hsms_engine.metrics", "prometheus_client"},
        (ACTING | PROGRAMS | DOORS | {"hsms_engine.link", "hsms_engine.messaging"}),
    ),
    # What others have recorded, and its lines: it runs nothing, and asks no clock.
    Floor(
        "hsms_engine/recording/*",
        (ENGINE - {"trio"}) | {"hsms_engine.recording"},
        PURE | PROGRAMS | DOORS | DRIVER | ENDS,
    ),
    # What a page shows are records, live or from files: that asks no clock.
    *(
        Floor(
            f"hsms_engine/monitor/{name}.py",
            (ENGINE - {"trio"}) | {"hsms_engine.monitor", "hsms_engine.recording"},
            PURE | PROGRAMS | DOORS | DRIVER | ENDS,
        )
        for name in ("errors", "history", "model", "shown", "timeline")
    ),
    # The page itself: what follows links for it is what follows them for a recorder. What its extra
    # brings is for it, browsers have secrets, and it says how late it is.
    Floor(
        "hsms_engine/monitor/*",
        ENGINE
        | {"h11", "secrets.token_urlsafe", "time.time"}
        | {"hsms_engine.monitor", "hsms_engine.recorder", "hsms_engine.recording"},
        ACTING | PROGRAMS | DOORS | {"hsms_engine.link", "hsms_engine.messaging"},
    ),
    # It sees as well, has a thread for the disk, and writes the wall clock down. A recording has an
    # id that no other has. What a black box writes is named by the time, and waits some seconds.
    Floor(
        "hsms_engine/recorder/*",
        ENGINE
        | {"threading", "time.time", "time.monotonic", "secrets.token_hex"}
        | {"time.gmtime", "time.strftime"}
        | {"hsms_engine.recorder", "hsms_engine.recording"},
        (ACTING | PROGRAMS | DOORS | {"hsms_engine.link", "hsms_engine.messaging"}),
    ),
    # It reads times that others have written, and asks no clock.
    Floor(
        "hsms_engine/log_reader/*",
        (ENGINE - {"trio"}) | {"datetime"},
        (PURE - {"logging"}) | PROGRAMS | DOORS | DRIVER | TRAFFIC | ENDS,
    ),
    # Leases. One store for all loops of a process has locks, and the clock that all of them have.
    Floor(
        "hsms_engine/lease/memory.py",
        ENGINE | {"threading", "time.monotonic"},
        OUTSIDE | ENDS,
    ),
    # What its extra brings is for these: a server elsewhere, over connections of its own. The wall
    # clock is compared with that of the server.
    *(
        Floor(
            f"hsms_engine/lease/{name}.py",
            ENGINE | {"anyio", "coredis"} | {"socket", "ssl", "time.time"},
            OUTSIDE | ENDS,
        )
        for name in ("failures", "line", "redis", "replies")
    ),
    Floor("hsms_engine/lease/address.py", ENGINE | {"ssl"}, OUTSIDE | ENDS),
    # Each owner has a name that no other has.
    Floor(
        "hsms_engine/lease/names.py",
        ENGINE | {"secrets.token_hex", "socket.gethostname"},
        OUTSIDE | ENDS,
    ),
    # The clocks of the system, which know how long it has slept.
    Floor("hsms_engine/lease/clock.py", ENGINE | {"time"}, OUTSIDE | ENDS),
    Floor("hsms_engine/lease/*", ENGINE, OUTSIDE | ENDS),
    # Packets as bytes, and back. It opens no socket, and its times are those of the packets.
    Floor(
        "hsms_engine/capture/*",
        frozenset(f"hsms_engine.{name}" for name in ("capture", "recording", "secs2", "wire")),
        PURE | {"hsms_engine", "statecharts"},
    ),
    Floor(
        "hsms_engine/logs.py",
        frozenset({"hsms_engine.errors"}),
        (PURE - {"logging"}) | {"hsms_engine"},
    ),
    # The programs. Only the command line may use what its extra brings.
    Floor("hsms_engine/__main__.py", frozenset({"hsms_engine.cli"}), frozenset({"hsms_engine"})),
    # What it prints has the time, and its tools have that of their place.
    Floor("hsms_engine/cli/fake.py", ENGINE | {"typer", "rich", "datetime.datetime"}, ACTING),
    Floor("hsms_engine/cli/times.py", frozenset({"datetime.datetime"}), ACTING),
    Floor("hsms_engine/cli/telling_metrics.py", ENGINE | {"typer", "prometheus_client"}, ACTING),
    Floor("hsms_engine/cli/*", ENGINE | {"typer", "rich"}, ACTING),
    # What runs beside the caller: in a thread, and beside any event loop.
    Floor(
        "hsms_engine/in_thread.py",
        ENGINE | {"asyncio"},
        ACTING | (PROGRAMS - {"hsms_engine.in_thread"}),
    ),
    # What a tool has and answers: a function gives it the time, which it only reckons with.
    Floor(
        "hsms_engine/fake/model/*",
        frozenset({"hsms_engine.fake.model", "datetime"})
        | {f"hsms_engine.{name}" for name in ("message", "messages", "secs2", "sml", "spelling")}
        | {"hsms_engine.toml_file"},
        PURE | {"hsms_engine", "statecharts"},
    ),
    Floor("hsms_engine/fake/*", ENGINE, ACTING | COMMAND_LINE | {"hsms_engine.proxy"}),
    # The other side: it stands on the API as a user does.
    Floor(
        "hsms_engine/scenario/*",
        ENGINE | {"hsms_engine.scenario"},
        ACTING | PROGRAMS | DOORS,
    ),
    # It stands on the API too, and on what a recording is.
    Floor(
        "hsms_engine/replay/*",
        ENGINE
        | RECORDER
        | {"hsms_engine.recording", "hsms_engine.replay"}
        | {"hsms_engine.in_thread", "hsms_engine.doors.thread"},
        ACTING | PROGRAMS | DOORS,
    ),
    # It stands on frames and streams, and runs neither charts nor a link.
    Floor(
        "hsms_engine/proxy/*",
        ENGINE | {"hsms_engine.proxy", "hsms_engine.in_thread", "hsms_engine.doors.thread"},
        ACTING | PROGRAMS | DOORS | ENDS | {"statecharts", "hsms_engine.protocol.engine"},
    ),
    # It stands on the API and on leases. What its extra brings is for one file of it, and each life
    # of a process has a name that no other has.
    Floor(
        "hsms_engine/fleet/redis.py",
        ENGINE | {"hsms_engine.fleet", "coredis"},
        ACTING | PROGRAMS | DOORS,
    ),
    Floor(
        "hsms_engine/fleet/*",
        ENGINE | RECORDER | {"hsms_engine.fleet", "secrets.token_hex"},
        ACTING | PROGRAMS | DOORS,
    ),
    Floor("hsms_engine/pytest_plugin.py", ENGINE | {"pytest"}, ACTING | COMMAND_LINE),
    Floor("hsms_engine/demo.py", ENGINE, ACTING | COMMAND_LINE),
    # Two ends in one process. Only a program needs it.
    Floor(
        "hsms_engine/worst/*",
        ENGINE | {"hsms_engine.virtual", "hsms_engine.worst"},
        ACTING | PROGRAMS,
    ),
    # A network, for whatever is to run on it: it knows nothing of HSMS.
    Floor(
        "hsms_engine/virtual/*",
        frozenset({"hsms_engine.virtual", "trio"}) | INJECTED_CHANCE,
        ACTING | {"hsms_engine", "statecharts"},
    ),
    # Whether the output takes more, asked in a signal handler, where trio cannot wait.
    Floor("hsms_engine/process.py", ENGINE | {"select"}, ACTING | PROGRAMS),
    # The first thing the package imports.
    Floor("hsms_engine/interrupt.py", frozenset(), PURE | PROGRAMS | DRIVER),
    # The wall clock, which the user may replace, ages what another program has saved.
    Floor("hsms_engine/link.py", ENGINE | RECORDER | {"time.time"}, OUTSIDE),
    # The generator of all who inject none.
    Floor("hsms_engine/connection.py", ENGINE | RECORDER | {"random.SystemRandom"}, OUTSIDE),
    Floor("hsms_engine/server.py", ENGINE | RECORDER, OUTSIDE),
    # The doors: threads around the API. The blocking one measures the patience of its callers.
    Floor(
        "hsms_engine/doors/*",
        ENGINE | RECORDER | MONITOR | {"threading", "hsms_engine.doors"},
        OUTSIDE,
        late=frozenset({"concurrent.futures.thread"}),
    ),
    Floor(
        "hsms_engine/blocking/*",
        ENGINE
        | RECORDER
        | MONITOR
        | {"threading", "time.time", "time.monotonic"}
        | {"hsms_engine.doors", "hsms_engine.blocking"},
        OUTSIDE,
    ),
    Floor(
        "hsms_engine/aio/*",
        ENGINE
        | RECORDER
        | MONITOR
        | {"asyncio", "threading", "time.time", "time.monotonic"}
        | {"hsms_engine.doors", "hsms_engine.aio"},
        OUTSIDE,
    ),
    # What a user holds: it opens no socket of its own.
    Floor("hsms_engine/*", ENGINE, OUTSIDE),
)

# The type checker knows it as part of the standard library; nothing imports it at run time.
FOR_TYPES_ONLY = "typing_extensions"


@dataclass(frozen=True, slots=True)
class Import:
    module: str
    line: int
    inside_function: bool
    for_types: bool


def imports(source: str, package: tuple[str, ...]) -> Iterator[Import]:
    """Every import of `source`; `from a import b` imports `a.b`, which may be a module."""

    def visit(node: ast.AST, inside_function: bool, for_types: bool) -> Iterator[Import]:
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield Import(name.name, node.lineno, inside_function, for_types)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = [*package[: len(package) - level + 1]] if level else []
                prefix = ".".join([*base, *([module] if module else [])])
                for name in names:
                    yield Import(f"{prefix}.{name.name}", node.lineno, inside_function, for_types)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=orelse):
                for statement in body:
                    yield from visit(statement, inside_function, True)
                for statement in orelse:
                    yield from visit(statement, inside_function, for_types)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                for child in ast.iter_child_nodes(node):
                    yield from visit(child, True, for_types)
            case _:
                for child in ast.iter_child_nodes(node):
                    yield from visit(child, inside_function, for_types)

    return visit(ast.parse(source), False, False)


def floor_of(path: str) -> Floor:
    return next(floor for floor in FLOORS if fnmatchcase(path, floor.files))


def offences(path: str, source: str) -> list[str]:
    floor = floor_of(path)
    return [
        f"{path}:{each.line} imports {each.module}, and {floor.files} may not"
        for each in imports(source, tuple(path.split("/")[:-1]))
        if not (each.for_types and each.module.startswith(f"{FOR_TYPES_ONLY}."))
        and floor.refuses(each.module, inside_function=each.inside_function)
    ]


FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)


@pytest.mark.parametrize("path", FILES)
def test_a_file_imports_only_what_its_floor_may(path: str) -> None:
    assert offences(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("statecharts/")])
def test_the_charts_and_their_kit_name_no_test(path: str) -> None:
    assert (
        re.findall(r"\btests[./]\w+|\btest_\w+\.py", (ROOT / path).read_text(encoding="utf-8"))
        == []
    )


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("statecharts/machine.py", "from .hsms import ACTIVE"),
        ("statecharts/explore/graph.py", "from ..hsms.world import World"),
        ("statecharts/testgen/tours.py", "import statecharts.hsms.systems"),
        ("statecharts/draw/dot.py", "def late():\n    from statecharts.hsms import CHARTS"),
        ("statecharts/hsms/active.py", "from tests.proof import model"),
        ("statecharts/connection.py", "import trio"),
        ("statecharts/connection.py", "import hsms_engine.wire"),
        ("statecharts/connection.py", "from hsms_engine import wire"),
        ("statecharts/connection.py", "from random import Random"),
        ("statecharts/connection.py", "import logging"),
        ("statecharts/connection.py", "def late():\n    import graphviz"),
        ("statecharts/connection.py", "if TYPE_CHECKING:\n    import trio"),
        ("statecharts/connection.py", "import typing_extensions"),
        ("statecharts/draw/render.py", "import graphviz"),
        ("hsms_engine/wire.py", "from hsms_engine.secs2 import decode"),
        ("hsms_engine/wire.py", "from . import secs2"),
        ("hsms_engine/secs2/items.py", "from hsms_engine import sml"),
        ("hsms_engine/secs2/items.py", "from .. import wire"),
        ("hsms_engine/secs2/items.py", "from ..wire import Frame"),
        ("hsms_engine/sml/parse.py", "from hsms_engine.wire import Frame"),
        ("hsms_engine/protocol/session.py", "import trio"),
        ("hsms_engine/protocol/session.py", "from socket import socket"),
        ("hsms_engine/protocol/session.py", "from hsms_engine.driver import Driver"),
        ("hsms_engine/protocol/session.py", "from hsms_engine import driver"),
        ("hsms_engine/protocol/session.py", "from ..driver.reader import read"),
        ("hsms_engine/driver/reader.py", "from hsms_engine.cli import main"),
        ("hsms_engine/driver/reader.py", "import time"),
        ("hsms_engine/message.py", "import trio"),
        ("hsms_engine/protocol/exchange.py", "from hsms_engine.traffic import write_logs"),
        ("hsms_engine/protocol/exchange.py", "from hsms_engine.logs import say"),
        ("hsms_engine/driver/driver.py", "from hsms_engine.traffic.logs import write_logs"),
        ("hsms_engine/driver/driver.py", "from hsms_engine.messaging import Messaging"),
        ("hsms_engine/traffic/logs.py", "import trio"),
        ("hsms_engine/traffic/logs.py", "from hsms_engine.server import HsmsServer"),
        ("hsms_engine/logs.py", "from hsms_engine.driver.driver import Driver"),
        ("hsms_engine/metrics/tap.py", "from hsms_engine.blocking import HsmsLink"),
        ("hsms_engine/metrics/collector.py", "import time"),
        ("hsms_engine/driver/driver.py", "from hsms_engine.metrics import Collector"),
        ("hsms_engine/link.py", "def late():\n    import prometheus_client"),
        ("hsms_engine/log_reader/reader.py", "from hsms_engine.traffic import write_logs"),
        ("hsms_engine/log_reader/stamps.py", "from time import time"),
        ("hsms_engine/capture/layers.py", "from time import time"),
        ("hsms_engine/capture/layers.py", "import socket"),
        ("hsms_engine/link.py", "import socket"),
        ("hsms_engine/link.py", "from datetime import datetime"),
        ("hsms_engine/link.py", "import random"),
        ("hsms_engine/link.py", "from random import random"),
        ("hsms_engine/link.py", "import concurrent.futures"),
        ("hsms_engine/link.py", "from hsms_engine.fake import serve_fake"),
        ("hsms_engine/link.py", "from hsms_engine.worst import worst_run"),
        ("hsms_engine/link.py", "from hsms_engine.doors.thread import trio_thread"),
        ("hsms_engine/link.py", "def late():\n    from hsms_engine import blocking"),
        ("hsms_engine/doors/hold.py", "from hsms_engine.blocking import open_hsms"),
        ("hsms_engine/doors/hold.py", "import asyncio"),
        ("hsms_engine/blocking/wait.py", "import asyncio"),
        ("hsms_engine/blocking/wait.py", "from hsms_engine.aio.wait import wait"),
        ("hsms_engine/aio/wait.py", "from hsms_engine.blocking.wait import wait"),
        ("hsms_engine/aio/wait.py", "import concurrent.futures"),
        ("hsms_engine/aio/wait.py", "from time import sleep"),
        ("hsms_engine/blocking/wait.py", "from time import sleep"),
        ("hsms_engine/worst/runs.py", "from hsms_engine.fake import serve_fake"),
        ("hsms_engine/worst/stage.py", "from random import random"),
        ("hsms_engine/driver/tcp.py", "from hsms_engine.virtual import Socket"),
        ("hsms_engine/virtual/tcp.py", "from hsms_engine.wire import Frame"),
        ("hsms_engine/fake/program.py", "import typer"),
        ("hsms_engine/fake/equipment.py", "from hsms_engine.proxy import open_proxy"),
        ("hsms_engine/proxy/pipe.py", "from hsms_engine.fake import serve_fake"),
        ("hsms_engine/proxy/pipe.py", "from hsms_engine.link import open_link"),
        ("hsms_engine/proxy/pipe.py", "from random import random"),
        ("hsms_engine/in_thread.py", "from hsms_engine.fake.threaded import run_in_thread"),
        ("hsms_engine/fake/program.py", "from hsms_engine.cli.output import Output"),
        ("hsms_engine/demo.py", "from hsms_engine import cli"),
        ("hsms_engine/__main__.py", "import typer"),
        ("hsms_engine/cli/connect.py", "import socket"),
        ("hsms_engine/link.py", "async def late():\n    import secsgem"),
    ],
)
def test_an_import_that_points_up_or_acts_is_refused(path: str, source: str) -> None:
    assert len(offences(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("statecharts/machine.py", "from statemachine import State"),
        ("statecharts/draw/render.py", "def draw():\n    import graphviz"),
        ("statecharts/machine.py", "from .connection import CONNECTION"),
        ("statecharts/hsms/active.py", "from statecharts.declare import Chart"),
        ("hsms_engine/secs2/items.py", "from .codec import decode"),
        ("hsms_engine/secs2/items.py", "if TYPE_CHECKING:\n    from typing_extensions import X"),
        ("hsms_engine/sml/parse.py", "from hsms_engine.secs2 import decode"),
        ("hsms_engine/protocol/session.py", "from hsms_engine import wire"),
        ("hsms_engine/protocol/session.py", "from random import Random"),
        ("hsms_engine/driver/reader.py", "import trio.socket, socket"),
        ("hsms_engine/link.py", "import logging, trio"),
        ("hsms_engine/cli/fake.py", "import typer\nfrom hsms_engine.fake import serve_fake"),
        ("hsms_engine/proxy/threaded.py", "from hsms_engine.in_thread import Threaded"),
    ],
)
def test_an_import_that_points_down_is_allowed(path: str, source: str) -> None:
    assert offences(path, source) == []


# What a program that connects imports, by the first two parts of its name. What proves, draws,
# exports and makes tests is missing, and so are the other end, links, SECS-II and SML.
CONNECTION = {
    *(
        f"hsms_engine.{name}"
        for name in (
            "admission connection driver errors events interrupt logs message messaging "
            "protocol settings spelling tolerances traffic wire"
        ).split()
    ),
    *(
        f"statecharts.{name}"
        for name in "declare hsms machine native nursery refusals router saving".split()
    ),
}
# What is no part of trio or python-statemachine, which bring asyncio and ssl, or of either's needs.
OF_PYTHON = {"_json", "json", "encodings", "stringprep"}

CONNECTS = """
import json, socket, sys, threading
import trio, statemachine
before = set(sys.modules)
import hsms_engine
imported = set(sys.modules) - before

listener = socket.create_server(("127.0.0.1", 0))

def answer():
    with listener.accept()[0] as peer:
        request = peer.recv(14, socket.MSG_WAITALL)
        # Select.rsp 0, and then Separate.req comes.
        peer.sendall(request[:9] + b"\\2" + request[10:])
        peer.recv(14, socket.MSG_WAITALL)

async def connect():
    port = listener.getsockname()[1]
    async with hsms_engine.open_hsms("127.0.0.1", port) as connection:
        assert connection.is_selected

thread = threading.Thread(target=answer)
thread.start()
trio.run(connect)
thread.join()
print(json.dumps([sorted(imported), sorted(set(sys.modules) - before - {"json"})]))
"""


def loaded(program: str) -> list[list[str]]:
    """The lists that a program prints, which a new interpreter runs."""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, cwd=ROOT, encoding="utf-8"
    )
    found: list[list[str]] = json.loads(run.stdout)
    return found


def test_a_program_that_connects_imports_only_what_a_connection_needs() -> None:
    for found in loaded(CONNECTS):
        ours = {name for name in found if name.partition(".")[0] in PACKAGES}
        below = {".".join(name.split(".")[:2]) for name in ours} - set(PACKAGES)
        assert below == CONNECTION
        assert {name for name in ours if name.startswith("hsms_engine.traffic.")} == {
            "hsms_engine.traffic.logs"
        }
        assert {name.partition(".")[0] for name in set(found) - ours} <= OF_PYTHON


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("serve_hsms", ["accepted", "server", "server_statistics"]),
        ("open_link", ["link", "session_task"]),
        ("CircuitBreaker", ["breaker"]),
        ("bounds", ["bounds"]),
        ("breaker", ["breaker"]),
        ("server_statistics", ["accepted", "server_statistics"]),
        ("link", ["link", "session_task"]),
    ],
)
def test_what_a_connection_does_without_is_imported_when_it_is_named(
    name: str, more: list[str]
) -> None:
    program = (
        "import json, sys, hsms_engine; before = set(sys.modules); "
        f"hsms_engine.{name}; print(json.dumps([sorted(set(sys.modules) - before)]))"
    )
    assert loaded(program) == [[f"hsms_engine.{each}" for each in more]]


def test_every_name_of_the_package_is_there_and_no_other() -> None:
    assert set(hsms_engine.__all__) <= set(dir(hsms_engine))
    assert set(statecharts.__all__) <= set(dir(statecharts))
    for name in hsms_engine.__all__:
        assert getattr(hsms_engine, name) is not None
    for name in ("bounds", "link", "secs2", "server", "sml"):
        assert getattr(hsms_engine, name).__name__ == f"hsms_engine.{name}"
    with pytest.raises(AttributeError, match=r"^module 'hsms_engine' has no attribute 'open_hsm'$"):
        hsms_engine.open_hsm  # type: ignore[attr-defined]  # noqa: B018  # that is the point
