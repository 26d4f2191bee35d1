"""What handlers that outlive their connection, with a full inbox, keep of the memory."""

from __future__ import annotations

import time

from benchmarks.faults import raw
from benchmarks.faults.server import Server, running_server, sleep_in_the_first
from hsms_engine import Settings
from hsms_engine.wire import SType, control_frame, data_frame, encode

_BODY = bytes(100_000)
_LINKTEST = encode(control_frame(SType.LINKTEST_REQ, 3))
# T6 is short because it bounds how long a reader may rest when the inbox fills.
_SETTINGS = Settings(port=0, max_sessions=100, t6=1)


def main(rounds: int) -> None:
    count = _SETTINGS.inbox_bytes // len(_BODY) - 10
    print(
        f"2. Handlers that outlive their connection: {rounds} rounds of select, {count} primaries"
    )
    print("   of 100 kB, disconnect; the handler sleeps in the first of them.")
    print("   Aim: memory and handlers are bounded, with 0 connections.")
    print(f"   {'round':>8}{'connections':>14}{'handlers':>11}{'growth, MB':>13}")
    with running_server(sleep_in_the_first, _SETTINGS) as server:
        before = server.process.memory()
        for number in range(1, rounds + 1):
            whole = fill(server, count)
            server.wait_for(connections=0)
            time.sleep(0.1)
            report = server.report()
            growth = (server.process.memory() - before) / 1e6
            print(
                f"   {number:8}{report.connections:14}{report.handlers:11}{growth:13.0f}"
                f"{'' if whole else '  cut before all was read'}",
                flush=True,
            )


def fill(server: Server, count: int) -> bool:
    """Send so many primaries and disconnect when they are read; whether all were."""
    try:
        with raw.selected(server.port) as peer:
            for number in range(count):
                peer.sendall(encode(data_frame(0, 6, 11, False, number, _BODY)))
            peer.sendall(_LINKTEST)
            raw.read_exactly(peer, raw.HEADER_ONLY)
    except OSError:
        return False
    return True
