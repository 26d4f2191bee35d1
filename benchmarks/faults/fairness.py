"""What a flood of one peer costs another session, and how long the server's turns are."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.faults import raw
from benchmarks.faults.processes import Child, child, worker
from benchmarks.faults.raw import Flood, big_segments, small_segments
from benchmarks.faults.server import Server, running_server
from hsms_engine.secs2 import U4, A, L
from hsms_engine.secs2 import encode as encode_item
from hsms_engine.wire import SType, control_frame, data_frame, encode

ROUNDS = 2
TURN_SECONDS = 0.3
# How long a flood runs before anything is measured.
LEAD = 0.1

_LINKTEST = encode(control_frame(SType.LINKTEST_REQ, 7))
_JUNK = encode(control_frame(99, 7))
_EVENT = encode(
    data_frame(
        0,
        6,
        11,
        False,
        7,
        encode_item(L(U4(1), U4(4711), L(L(U4(1000), L(A("LOT-0815"), U4(70_000)))))),
    )
)
FLOODS = (
    Flood("linktests", big_segments(_LINKTEST), reads=True),
    Flood("linktests, unread", big_segments(_LINKTEST), reads=False),
    Flood("events", big_segments(_EVENT), reads=True),
    Flood("primaries", big_segments(raw.s1f1(7)), reads=True),
    Flood("primaries, unread", big_segments(raw.s1f1(7)), reads=False),
    Flood("junk", big_segments(_JUNK), reads=True),
    Flood("junk, small", small_segments(_JUNK), reads=True),
)


@dataclass(slots=True)
class Beside:
    """What was measured beside so many attackers: one figure a round, times in seconds."""

    attackers: int
    medians: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    longest_turn: float = 0.0
    longest_pass: float = 0.0
    sent: int = 0
    cut: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.medians)

    @property
    def p99(self) -> float:
        return statistics.median(self.p99s)


def main(attackers: int, seconds: float, only: str) -> None:
    print("4. Fairness: S1F1 round trips of one honest host, beside peers that flood.")
    print(f"   Aim: median < 2.5 x with one attacker, < 5 x with {attackers}; turn < 5 ms of CPU.")
    print("   A pass is all turns between two looks at the sockets; MB: what the attackers sent.")
    print(
        f"   {'':18}{'alone, us':>14}"
        + "".join(f" | {f'{n}: median   p99  turn  pass ms  MB  cut':>40}" for n in (1, attackers))
    )
    with worker(raw.flood) as peers:
        for kind in FLOODS:
            if only in kind.name:
                alone, *beside = measured(peers, kind, (0, 1, attackers), seconds)
                print(
                    f"   {kind.name:18}{alone.median * 1e6:7.0f}{alone.p99 * 1e6:7.0f}"
                    + "".join(f" | {shown(case, alone)}" for case in beside),
                    flush=True,
                )


def shown(case: Beside, alone: Beside) -> str:
    return (
        f"{case.median / alone.median:6.1f} x{case.p99 / alone.p99:6.1f} x"
        f"{case.longest_turn * 1e3:6.1f}{case.longest_pass * 1e3:6.1f}"
        f"{case.sent / 1e6:7.0f}{case.cut:5}"
    )


def measured(peers: Child, kind: Flood, numbers: Sequence[int], seconds: float) -> list[Beside]:
    cases = [Beside(number) for number in numbers]
    with (
        running_server() as server,
        running_server(watch_turns=True) as watched,
        child(honest, server.port) as host,
        child(honest, watched.port) as watched_host,
    ):
        host.hear()
        watched_host.hear()
        # The cases take turns, so that a busy machine is unfair to none.
        for _ in range(ROUNDS):
            for case in cases:
                trips = one_round(server, host, peers, kind, case, seconds / ROUNDS)
                case.medians.append(statistics.median(trips))
                case.p99s.append(sorted(trips)[int(len(trips) * 0.99)])
        # Watching takes time, so turns are measured in a run of their own.
        for case in cases[1:]:
            watched.report(forget_turns=True)
            one_round(watched, watched_host, peers, kind, case, TURN_SECONDS)
            report = watched.report()
            case.longest_turn, case.longest_pass = report.longest_turn, report.longest_pass
    return cases


def one_round(
    server: Server, host: Child, peers: Child, kind: Flood, case: Beside, seconds: float
) -> Sequence[float]:
    if case.attackers:
        peers.tell((server.port, kind, case.attackers, seconds + 2 * LEAD))
        time.sleep(LEAD)
    trips: list[float] = host.ask(seconds)
    if case.attackers:
        sent, cut = peers.hear()
        case.sent += sent
        case.cut += cut
    server.wait_for(connections=1)
    return trips


def honest(pipe: Connection, port: int) -> None:
    """A host that is told for how many seconds to ask, one request after the other.

    It tells the times of S1F1 and its reply; the last is infinite when the connection was lost.
    It is selected before a flood begins, so that it measures all of the time it is told.
    """
    peer = raw.selected(port)
    pipe.send(None)
    while True:
        seconds: float = pipe.recv()
        end = time.perf_counter() + seconds
        times: list[float] = []
        try:
            while (begun := time.perf_counter()) < end:
                peer.sendall(raw.s1f1(len(times)))
                raw.read_exactly(peer, raw.HEADER_ONLY)
                times.append(time.perf_counter() - begun)
            pipe.send(times)
        except OSError:
            pipe.send([*times, math.inf])
            peer.close()
            peer = raw.selected(port)
