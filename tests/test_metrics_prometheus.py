"""The files in ``deploy/metrics``, in a real Prometheus that scrapes links and servers.

Time stands for the links, and is moved by hand: so each fault is made in a moment. Only what is
asked of Prometheus takes real time.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from trio.testing import (
    MockClock,
    lockstep_stream_pair,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

from hsms_engine import (
    HsmsConnection,
    HsmsLink,
    Message,
    ReplyTimeoutError,
    open_link,
    serve_hsms,
)
from hsms_engine.messages import S1F1
from hsms_engine.metrics import Collector
from hsms_engine.metrics.catalogue import BOTH, LINKS, SERVERS
from tests.support import metrics_page
from tests.support.faulty_lease import away
from tests.support.leaks import leak_check
from tests.support.leased import leased
from tests.support.pair import (
    Handler,
    MemoryListener,
    Pair,
    Switchboard,
    echo,
    link_end,
    nothing,
    server_end,
)
from tests.support.patience import PATIENCE
from tests.support.raw_peer import RawPeer, data, raw, separate_req
from tests.support.tools import needs
from tests.test_defects import provoke, spoil

__all__ = ["leak_check"]

FOLDER = metrics_page.ROOT / "deploy" / "metrics"
ALERTS = FOLDER / "alerts.yml"
CONFIGURATION = FOLDER / "prometheus.yml"
DASHBOARD = FOLDER / "dashboard.json"
HOST = "127.0.0.1"
# Seconds between two looks at Prometheus.
PERIOD = 0.2
QUIET: dict[str, Any] = {"linktest_interval": None}
NAMES = set(re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8")))
# Whose fault each alert tells.
FAULTS = {
    ("HsmsLinkDown", "down"),
    ("HsmsRecoveryLate", "down"),
    ("HsmsLinkUnsteady", "unsteady"),
    ("HsmsBreakerOpen", "down"),
    ("HsmsBreakerIsolated", "isolated"),
    ("HsmsToolUnowned", "owned"),
    ("HsmsStoreAway", "owned"),
    ("HsmsRequestsUnanswered", "asking"),
    ("HsmsRepliesSlow", "asking"),
    ("HsmsLinktestsUnanswered", "asking"),
    ("HsmsPeerTakesNothing", "stuck"),
    ("HsmsProgramBehind", "asking"),
    ("HsmsMessagesLost", "unsent"),
    ("HsmsPeerDeviates", "asking"),
    ("HsmsNoHost", "alone"),
    ("HsmsHostsTurnedAway", "full"),
    ("HsmsHandlerFailed", "failing"),
    ("HsmsDefect", "broken"),
}
GONE = ("HsmsProgramGone", "")


# The files


def queries() -> list[tuple[str, str]]:
    """The queries of the dashboard, each with its panel, without the variables of Grafana."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    names = {each["name"] for each in board["templating"]["list"]} - {"datasource"}
    values = {**dict.fromkeys(names, ".*"), "__rate_interval": "1m"}
    found = [
        (panel["title"], re.sub(r"\$(\w+)", lambda name: values[name[1]], target["expr"]))
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(found) > 50
    return found


def test_what_the_files_name_is_a_metric() -> None:
    every = {each.name for each in (*LINKS, *BOTH, *SERVERS)}
    text = ALERTS.read_text(encoding="utf-8") + "".join(query for _, query in queries())
    named = {re.sub(r"_bucket$", "", each) for each in re.findall(r"\bhsms_(?!engine)\w+", text)}
    assert named <= every


def test_the_page_of_metrics_has_those_of_the_code() -> None:
    written = metrics_page.PAGE.read_text(encoding="utf-8")
    assert written == metrics_page.page(), "run make diagrams"


def test_every_panel_of_the_dashboard_has_a_place_of_its_own() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


# Prometheus


class Prometheus:
    """One that runs, and what it answers."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._address = ""

    def until(self, found: Callable[[], object]) -> None:
        """Ask again and again until ``found()`` is true."""
        end = time.monotonic() + PATIENCE
        while not found():
            assert time.monotonic() < end, self._log.read_text(encoding="utf-8")
            # It is another program: there is no event to wait for, only its answers.
            time.sleep(PERIOD)

    def is_there(self) -> bool:
        said = self._log.read_text(encoding="utf-8")
        found = re.search(r'msg="Listening on" address=(\S+)', said)
        self._address = found[1] if found else ""
        return "Server is ready" in said and bool(found)

    def get(self, path: str, **parameters: str) -> Any:
        asked = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self._address}/api/v1/{path}?{asked}") as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def query(self, text: str) -> list[Any]:
        result: list[Any] = self.get("query", query=text)["result"]
        return result

    def firing(self) -> set[tuple[str, str]]:
        """The alerts, each with its link."""
        alerts = self.get("alerts")["alerts"]
        found = [each["labels"] for each in alerts if each["state"] == "firing"]
        return {(labels["alertname"], labels.get("link", "")) for labels in found}

    def scrapes(self) -> float:
        """How many there were."""
        found = self.query('count_over_time(up{job="hsms-engine"}[1h])')
        return float(found[0]["value"][1]) if found else 0

    def has_judged(self, before: float) -> bool:
        """Whether all rules were evaluated after two more scrapes than ``before``."""
        if self.scrapes() < before + 2:
            return False
        (group,) = self.get("rules")["groups"]
        assert all(rule["health"] != "err" for rule in group["rules"]), group
        return all(rule["health"] == "ok" for rule in group["rules"])


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[Prometheus]:
    """It scrapes ``port`` with the configuration of ``deploy``, more often and without delay."""
    rules = ALERTS.read_text(encoding="utf-8")
    (folder / "alerts.yml").write_text(re.sub(r" for: \w+", " for: 0s", rules), encoding="utf-8")
    text = CONFIGURATION.read_text(encoding="utf-8").replace("9100", str(port))
    text = re.sub(r"_interval: \w+", "_interval: 1s", text)
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    log = folder / "log"
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:0",
            ],
            stdout=said,
            stderr=said,
        )
        try:
            asked = Prometheus(log)
            asked.until(asked.is_there)
            yield asked
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def checked(*words: str, given: str = "") -> None:
    """``promtool`` finds nothing to say."""
    done = subprocess.run(
        ["promtool", "check", *words],
        input=given,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# The stage


async def _fail(connection: HsmsConnection) -> None:
    await connection.receive()
    raise ValueError("staged")


async def _up(link: HsmsLink, board: Switchboard) -> RawPeer:
    peer = await board.peer()
    await peer.select_by_answering()
    await link.wait_selected()
    return peer


class Stage:
    """Links and servers that are well, and a fault for each alert."""

    def __init__(self, collector: Collector, clock: MockClock, stack: AsyncExitStack) -> None:
        self._collector = collector
        self._clock = clock
        self._stack = stack

    async def set_up(self, nursery: trio.Nursery) -> None:
        """All is well."""
        server = await nursery.start(partial(serve_hsms, echo, HOST, 0))
        self._collector.add(server, "tool")
        self.host = await self._stack.enter_async_context(open_link(HOST, server.port))
        self._collector.add(self.host, "host")
        await self.host.wait_selected()
        self.asking, board = await self._link("asking", linktest_threshold=3)
        self.asked = await _up(self.asking, board)
        self.unsteady, self.unsteady_board = await self._link("unsteady")
        self.lost = await _up(self.unsteady, self.unsteady_board)
        self.broken, board = await self._link("broken")
        self.breaking = await _up(self.broken, board)
        self.owned = await self._stack.enter_async_context(leased())
        self._collector.add(self.owned.link, "owned")
        await self.owned.up()
        # A byte is taken when it is read.
        self.stuck, board = await self._link("stuck", lockstep_stream_pair)
        await _up(self.stuck, board)
        self.unsent, board = await self._link("unsent", lockstep_stream_pair)
        self.closing = await _up(self.unsent, board)
        # These dial, and nobody answers so far.
        self.isolated, board = await self._link("isolated")
        board.hang()
        _, self.down = await self._link("down", breaker_threshold=1, linktest_interval=60)
        self.down.hang()
        _, self.alone = await self._server("alone")
        self.full, _ = await self._server("full", max_connections=1)
        _, self.failing = await self._server("failing", _fail)

    async def _link(
        self, name: str, pair: Pair = memory_stream_pair, **changes: Any
    ) -> tuple[HsmsLink, Switchboard]:
        board = Switchboard(pair)
        link = await self._stack.enter_async_context(link_end(board, **{**QUIET, **changes}))
        self._collector.add(link, name)
        return link, board

    async def _server(
        self, name: str, handler: Handler = nothing, **changes: Any
    ) -> tuple[MemoryListener, RawPeer]:
        """A server, and a peer that has selected."""
        end = server_end(handler, **{**QUIET, **changes})
        server, listener = await self._stack.enter_async_context(end)
        self._collector.add(server, name)
        peer = await listener.raw()
        await peer.select()
        return listener, peer

    async def break_all(self) -> None:
        """A fault for each alert but that of the program."""
        self.owned.lease.failure = away()
        await self.host.request(S1F1())
        await self.host.linktest()
        await self._ask()
        for _ in range(5):
            await self.lost.close()
            await wait_all_tasks_blocked()
            self._clock.jump(self.unsteady.settings.t5)
            self.lost = await _up(self.unsteady, self.unsteady_board)
        spoil(self.broken._engine, "linktest_req_received")
        await provoke(self.breaking)
        await self.alone.send(separate_req(1))
        await (await self.full.raw()).end()
        await self.failing.send(data(1, 1, 1))
        self.down.refuse()
        self.down.answers.set()
        await wait_all_tasks_blocked()
        self._clock.jump(1_000)
        self.isolated.isolate()
        # At last, because it would time out.
        for link in (self.stuck, self.unsent):
            await link.send(Message(7, 3, body=bytes(1_000)))
        await self.closing.close()
        await wait_all_tasks_blocked()

    async def _ask(self) -> None:
        """Replies that are late, and that never come; and primaries that nobody takes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.asking.request, S1F1())
            system = (await self.asked.frame()).system
            self._clock.jump(30)
            await self.asked.send(data(1, 2, system))
        for call, timer in (
            (partial(self.asking.request, S1F1()), self.asking.settings.t3),
            (self.asking.linktest, self.asking.settings.t6),
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_times_out, call)
                await self.asked.frame()
                self._clock.jump(timer)
        # Of no SType that there is.
        await self.asked.send(raw(42, 1))
        await self.asked.frame()
        await self.asked.send(*(data(5, 1, number) for number in range(150)))


async def _times_out(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(ReplyTimeoutError):
        await call()


async def _in_thread(prometheus: Prometheus, found: Callable[[], object]) -> None:
    await trio.to_thread.run_sync(prometheus.until, found)


def _without_data(prometheus: Prometheus) -> list[tuple[str, str]]:
    """The queries of the dashboard that give no number."""
    return [
        (panel, query)
        for panel, query in queries()
        if all(each["value"][1] == "NaN" for each in prometheus.query(query))
    ]


async def _run(folder: Path, clock: MockClock) -> None:
    registry, collector = CollectorRegistry(), Collector()
    registry.register(collector)
    page, thread = start_http_server(0, addr=HOST, registry=registry)
    with ExitStack() as pages, prometheus(folder, page.server_port) as asked:
        pages.callback(page.server_close)
        pages.callback(page.shutdown)
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            # Without waiting, because time stands.
            with _cancelling(nursery.cancel_scope):
                stage = Stage(collector, clock, stack)
                await stage.set_up(nursery)
                checked("metrics", given=generate_latest(registry).decode())
                await _in_thread(asked, partial(asked.has_judged, 0))
                # A scrape may come too late when the machine is busy.
                assert asked.firing() <= {GONE}
                await stage.break_all()
                await _in_thread(asked, lambda: asked.firing() >= FAULTS)
                await _in_thread(asked, lambda: not _without_data(asked))
                pages.close()
                thread.join(PATIENCE)
                await _in_thread(asked, lambda: GONE in asked.firing())


@contextmanager
def _cancelling(scope: trio.CancelScope) -> Iterator[None]:
    try:
        yield
    finally:
        scope.cancel()


def test_every_panel_shows_data_and_every_alert_fires_in_its_fault(tmp_path: Path) -> None:
    for program in ("prometheus", "promtool"):
        needs(program)
    checked("rules", str(ALERTS))
    checked("config", str(CONFIGURATION))
    assert {name for name, _ in (*FAULTS, GONE)} == NAMES
    clock = MockClock()
    trio.run(_run, tmp_path, clock, clock=clock)
