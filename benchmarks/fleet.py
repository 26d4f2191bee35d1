"""``python -m benchmarks.fleet``: 1,000 tools on three processes of ``hsms-engine fleet``.

How long a take-over lasts, what a process and the store cost while nothing happens, and how many
messages a second go through the streams. All of it is on one machine: the tools, which are one
process, take their share of its cores too. It needs Linux, because CPU and memory are read in
``/proc``.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import signal
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from hsms_engine.fleet.asking import FleetClient, open_fleet_client
from hsms_engine.lease.bounds import takeover_bound
from hsms_engine.lease.redis import RedisStore
from hsms_engine.messages import S1F1
from statecharts.nursery import open_bare_nursery
from tests.fleet_demo.ledger import Ledger
from tests.fleet_demo.programs import Owner, Tools
from tests.support.store_server import StoreServer

_NAMES = ("host-1", "host-2", "host-3")
_SECONDS = 10.0
_IN_FLIGHT = 64
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Run:
    """The store, the tools, and the processes."""

    def __init__(self, count: int, lease: float) -> None:
        self._count = count
        self._lease = lease
        self._ledger = Ledger(wall_ahead=time.time() - time.monotonic())
        self._tools = Tools(self._ledger)
        self._owners = {name: Owner(name, self._ledger) for name in _NAMES}

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-")))
            server = stack.enter_context(StoreServer(folder))
            await stack.enter_async_context(
                self._tools.running(count=self._count, probe=1.0, events=0.0)
            )
            file = folder / "tools.toml"
            file.write_text(self._tools.file(), encoding="utf-8")
            owners = await stack.enter_async_context(open_bare_nursery())
            begun = time.monotonic()
            for owner in self._owners.values():
                await owners.start(owner.run, file, server.url, self._lease, "")
            await self._until_all()
            shares = self._ledger.shares()
            print(
                f"{self._count:,} tools on {len(_NAMES)} processes "
                f"({', '.join(str(shares[name]) for name in _NAMES)}), leases of "
                f"{self._lease:g} s; all selected {time.monotonic() - begun:.1f} s after the "
                "start, with a new store, which gives none for the length of a lease\n"
            )
            pids = {name: owner.number for name, owner in self._owners.items()}
            pids["store"] = await pid_of(server)
            await self._idle(pids)
            await self._through_the_streams(pids)
            await self._requests(server, pids)
            await self._take_over()
            owners.cancel_scope.cancel()

    async def _until_all(self) -> None:
        await self._ledger.until(lambda: self._ledger.shares().total() == self._count)

    async def _idle(self, pids: Mapping[str, int]) -> None:
        before = cpu(pids)
        await trio.sleep(_SECONDS)
        print(f"while nothing happens, for {_SECONDS:g} s:\n")
        print("| | CPU of a core | memory, MB |\n|---|---|---|")
        used = cpu(pids)
        for name, pid in pids.items():
            share = (used[name] - before[name]) / _SECONDS
            print(f"| {name} | {share:.1%} | {memory(pid) / 1e6:.0f} |")
        print()

    async def _through_the_streams(self, pids: Mapping[str, int]) -> None:
        """Each tool sends its next event when the one before is published and acknowledged."""
        await self._tools.order("eager")
        await trio.sleep(1.0)
        began, before = await self._acknowledged(), cpu(pids)
        await trio.sleep(_SECONDS)
        rate = (await self._acknowledged() - began) / _SECONDS
        self._tell_rate("S6F11 published and acknowledged, one in flight for each tool", rate)
        self._tell_cost(pids, before, rate * _SECONDS)
        await self._tools.order("calm")

    async def _acknowledged(self) -> int:
        counts = await self._tools.count()
        return sum(len(each["acknowledged"]) for each in counts.values())

    async def _requests(self, server: StoreServer, pids: Mapping[str, int]) -> None:
        """S1F1 by the store, from a process that owns nothing."""
        took: list[float] = []
        before = cpu(pids)
        async with open_fleet_client(RedisStore(server.url, duration=self._lease)) as client:
            with trio.move_on_after(_SECONDS):
                async with open_bare_nursery() as nursery:
                    tools = [*self._tools.ports]
                    for first in range(_IN_FLIGHT):
                        nursery.start_soon(ask, client, tools[first::_IN_FLIGHT], took)
        self._tell_rate(f"S1F1 by the store, {_IN_FLIGHT} in flight", len(took) / _SECONDS)
        print(
            f"  round trip: median {statistics.median(took) * 1e3:.0f} ms, "
            f"p99 {statistics.quantiles(took, n=100)[98] * 1e3:.0f} ms"
        )
        self._tell_cost(pids, before, len(took))

    def _tell_rate(self, what: str, rate: float) -> None:
        print(f"{what}: {rate:,.0f} a second")

    def _tell_cost(
        self, pids: Mapping[str, int], before: Mapping[str, float], messages: float
    ) -> None:
        used = cpu(pids)
        costs = {name: (used[name] - before[name]) / messages * 1e6 for name in pids}
        hosts = sum(cost for name, cost in costs.items() if name != "store")
        print(f"  CPU of a message: processes {hosts:.0f} us, store {costs['store']:.0f} us\n")

    async def _take_over(self) -> None:
        first, second, _ = _NAMES
        shares = self._ledger.shares()
        for name, number, what in (
            (first, signal.SIGKILL, "kill -9"),
            (second, signal.SIGTERM, "SIGTERM"),
        ):
            self._ledger.clear_gaps()
            began = time.monotonic()
            self._owners[name].send(number)
            await self._owners[name].end()
            await self._ledger.until(lambda name=name: not self._ledger.shares()[name])  # type: ignore[misc]  # a default binds it
            await self._until_all()
            gaps = sorted(self._ledger.gaps)
            bound = takeover_bound(self._lease, self._lease / 4, 0.05)
            print(
                f"{what}: {shares[name]} tools had another owner after {gaps[0]:.2f} s (the "
                f"first), {statistics.median(gaps):.2f} s (median), {gaps[-1]:.2f} s (the last); "
                f"all {time.monotonic() - began:.1f} s after the signal; bound for one: "
                f"{bound:.1f} s"
            )
            shares = self._ledger.shares()


async def ask(client: FleetClient, tools: Iterable[str], took: list[float]) -> None:
    while True:
        for tool in tools:
            began = time.monotonic()
            await client.request(tool, S1F1())
            took.append(time.monotonic() - began)


async def pid_of(server: StoreServer) -> int:
    found = re.search(rb"process_id:(\d+)", await server.do("INFO", "server"))
    assert found is not None
    return int(found[1])


def cpu(pids: Mapping[str, int]) -> dict[str, float]:
    """The seconds of CPU that each has had."""
    found = {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def memory(pid: int) -> int:
    """Resident, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--tools", type=int, default=1_000, metavar="N")
    parser.add_argument("--lease", type=float, default=10.0, metavar="SECONDS")
    options = parser.parse_args()
    # The tools listen on a port each, and have a connection each.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    trio.run(Run(options.tools, options.lease).run)


if __name__ == "__main__":
    main()
