"""Every pair of the proxy's faults together, in a conversation, on the virtual network."""

from __future__ import annotations

import struct
from collections import Counter
from functools import partial
from itertools import combinations_with_replacement
from random import Random

import pytest
import trio

from hsms_engine.proxy import Acted, Ended, Proxy, open_proxy, parse_fault
from hsms_engine.proxy.faults import KNOWN
from hsms_engine.virtual import Kernel, Network, Post, Socket
from tests.support.raw_peer import data, linktest_req
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

FAULTS = [
    "latency=0.3",
    "jitter=0.5",
    "rate=200",
    "slice=3",
    "black-hole after=1 for=2",
    "to-host reset after=3",
    "to-equipment half-close after=2",
    "lost-fin",
    "to-host cut-after=700",
    "stall after=1 for=2",
    "forgetful-firewall=2",
    "forgetful-nat=2",
    "refuse at=3 for=4",
    "accept-and-say-nothing connection=2",
    "drop=20%",
    "drop-frame=primary every=3",
    "duplicate-frame=data every=2 by=0.2",
    "delay-frame=any every=3 by=0.7",
    "corrupt-frame=data every=2 field=body",
    "swap-frames=any every=2",
    "insert-frame=Linktest.req before=data every=3",
    "replay-frame=reply every=3",
]
# What may change the order of frames, make more of them, and change them.
ORDER = {"delay-frame", "swap-frames", "duplicate-frame", "replay-frame"}
MORE = {"duplicate-frame", "replay-frame", "insert-frame"}
FRAMES = 14


def test_each_fault_is_in_a_pair() -> None:
    assert sorted(parse_fault(each).name for each in FAULTS) == sorted(KNOWN)


class End:
    """What one end has sent and what has come, as frames; it answers what asks for an answer."""

    def __init__(self, stream: Socket) -> None:
        self.stream = stream
        self.sent: list[bytes] = []
        self.came: list[bytes] = []
        self.bytes = bytearray()
        self.ended = ""

    async def send(self, frame: bytes) -> None:
        self.sent.append(frame)
        await self.stream.send_all(frame)

    async def run(self, *, answers: bool) -> None:
        rest = bytearray()
        try:
            while more := await self.stream.receive_some(4_096):
                self.bytes += more
                rest += more
                while len(rest) >= 4 and len(rest) >= 4 + struct.unpack(">I", rest[:4])[0]:
                    size = 4 + struct.unpack(">I", rest[:4])[0]
                    frame = bytes(rest[:size])
                    del rest[:size]
                    self.came.append(frame)
                    if answers and frame[9] == 0 and frame[6] & 0x80:
                        system = int.from_bytes(frame[10:14])
                        await self.send(data(6, 12, system, body=frame[14:]))
            self.ended = "end" if not rest else f"end in a frame: {rest.hex(' ')}"
        except trio.BrokenResourceError:
            self.ended = "reset"
        except trio.ClosedResourceError:
            self.ended = "closed"


async def converse(faults: list[str], seed: int) -> tuple[Proxy, list[tuple[End, End | None]]]:
    """Two conversations through a proxy with these faults, and one without any after them."""
    ends: list[tuple[End, End | None]] = []
    tools: dict[str, End] = {}
    random = Random(seed)
    network = Network(Random(seed), Kernel(receive_buffer=2_000, send_buffer=2_000, is_choppy=True))
    host, between, tool = map(network.machine, ("host", "proxy", "tool"))
    post = tool.listen()

    async def listen(_: int) -> Post:
        await trio.lowlevel.checkpoint()
        return between.listen()

    async def equip(nursery: trio.Nursery) -> None:
        while True:
            stream, peer = await post.accept()
            tools[peer] = end = End(stream)
            dialled.append(end)
            nursery.start_soon(partial(end.run, answers=True))

    async def talk(end: End) -> None:
        try:
            for number in range(FRAMES):
                wait = number % 3 != 0
                body = bytes(random.randrange(20))
                frame = data(6, 11, number + 1, wait=wait, body=body)
                await end.send(frame if number % 5 else linktest_req(number + 1))
                await trio.sleep(3 if number == 9 else 0.1)
            await trio.sleep(4)
            await end.stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    dialled: list[End] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run)
        nursery.start_soon(equip, nursery)
        opening = open_proxy(
            "tool", 5_000, dial=lambda: between.dial(tool), listen=listen, faults=faults, seed=seed
        )
        async with opening as proxy:
            for number in range(3):
                if number == 2:
                    proxy.set()
                    await trio.sleep(0.01)
                before = len(dialled)
                try:
                    end = End(await host.dial(between))
                except OSError:
                    await trio.sleep(1)
                    continue
                nursery.start_soon(partial(end.run, answers=False))
                await talk(end)
                await trio.sleep(5)
                ends.append((end, dialled[before] if len(dialled) > before else None))
                end.stream.reset()
                for each in dialled:
                    each.stream.reset()
                await trio.sleep(5)
                assert proxy.connections == [], proxy.happened()[-5:]
        nursery.cancel_scope.cancel()
    return proxy, ends


@pytest.mark.search
@pytest.mark.parametrize("faults", list(combinations_with_replacement(FAULTS, 2)), ids=" + ".join)
async def test_a_pair(faults: tuple[str, str]) -> None:
    names = {parse_fault(each).name for each in faults}
    proxy, ends = await converse(list(faults), 1)
    acted = Counter(str(e.fault) for e in proxy.happened() if isinstance(e, Acted))
    for text in map(str, map(parse_fault, faults)):
        assert proxy.counts[text] == acted[text]
    ended = {each.connection: each for each in proxy.happened() if isinstance(each, Ended)}
    assert sorted(ended) == list(range(1, proxy.counts["accepted"] + 1))
    for number, (host, tool) in enumerate(ends, 1):
        if tool is None:
            continue
        last = number == len(ends)
        changes = set() if last else names
        for source, sink, count in (
            (host, tool, ended[number].to_equipment),
            (tool, host, ended[number].to_host),
        ):
            assert count >= len(sink.bytes), "counted"
            if not changes & {"corrupt-frame", "insert-frame"}:
                assert set(sink.came) <= {f for h, t in ends if t for f in h.sent + t.sent}
            if not changes & MORE and "corrupt-frame" not in changes:
                assert all(n <= Counter(source.sent)[f] for f, n in Counter(sink.came).items())
            if not changes & (ORDER | MORE | {"corrupt-frame"}):
                rest = iter(source.sent)
                assert all(frame in rest for frame in sink.came), "reordered"
            if last:
                # What was kept for replay is gone with its fault.
                assert sink.came == source.sent
                assert len(host.sent) == FRAMES
