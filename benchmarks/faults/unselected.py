"""How much memory a peer can make the server hold without being selected."""

from __future__ import annotations

import contextlib
import time
from contextlib import ExitStack

from benchmarks.faults import raw
from benchmarks.faults.processes import worker
from benchmarks.faults.raw import Flood, big_segments
from benchmarks.faults.server import Server, running_server
from hsms_engine.wire import SType, control_frame, data_frame, encode

# After so long no more of the long frames are begun.
SENDING_SECONDS = 5.0
FLOOD_SECONDS = 3.0
_UNREAD = Flood(
    "linktests", big_segments(encode(control_frame(SType.LINKTEST_REQ, 7))), False, selects=False
)
# The longest frame that default settings accept, without its last byte.
_ALMOST = encode(data_frame(0, 1, 1, False, 1, bytes(16_777_216 - 10)))[:-1]


def main(peers: int) -> None:
    print(f"3. {peers} peers that never select. Memory of the server for each of them.")
    print("   Aim: at most 64 kB a peer. Held: when all have sent; most: at any time.")
    print(f"   {'each peer':44}{'peers':>8}{'held, kB':>10}{'most, kB':>10}")
    for name, attack in (
        ("sends nothing", idle),
        ("sends all of a frame of 16 MiB but one byte", almost),
        (f"floods with linktests for {FLOOD_SECONDS:g} s, reads nothing", flooded),
    ):
        with running_server() as server:
            before = server.process.memory()
            count, held, most = attack(server, peers)
            print(
                f"   {name:44}{count:8}{(held - before) / count / 1e3:10.0f}"
                f"{(most - before) / count / 1e3:10.0f}",
                flush=True,
            )


def idle(server: Server, peers: int) -> tuple[int, int, int]:
    """How many peers there were, and the server's memory at the end and at most."""
    with ExitStack() as stack:
        for _ in range(peers):
            stack.enter_context(raw.connected(server.port))
        server.wait_for(connections=peers)
        time.sleep(0.3)
        memory = server.process.memory()
        return peers, memory, memory


def almost(server: Server, peers: int) -> tuple[int, int, int]:
    most = count = 0
    with ExitStack() as stack:
        end = time.monotonic() + SENDING_SECONDS
        while count < peers and time.monotonic() < end:
            peer = stack.enter_context(raw.connected(server.port))
            # The server may cut it.
            with contextlib.suppress(OSError):
                peer.sendall(_ALMOST)
            most = max(most, server.process.memory())
            count += 1
        time.sleep(0.3)
        held = server.process.memory()
        return count, held, max(most, held)


def flooded(server: Server, peers: int) -> tuple[int, int, int]:
    most = held = 0
    with worker(raw.flood) as process:
        process.tell((server.port, _UNREAD, peers, FLOOD_SECONDS))
        end = time.monotonic() + FLOOD_SECONDS - 0.1
        while time.monotonic() < end:
            held = server.process.memory()
            most = max(most, held)
            time.sleep(0.01)
        process.hear()
    return peers, held, most
