"""What fairness costs honest hosts, and how equal they are: the other side of ``fairness``."""

from __future__ import annotations

import selectors
import statistics
import time

from benchmarks.faults import raw
from benchmarks.faults.processes import worker
from benchmarks.faults.server import running_server

ROUNDS = 6
_WARM_UP = 0.2


def main(hosts: int, in_flight: int, seconds: float) -> None:
    print(f"4. Rates: {hosts} honest hosts with {in_flight} S1F1 in flight each; compare two runs.")
    print("   Aim: the sum at most 10 % below that of the tree before.")
    rounds: list[list[float]] = []
    costs: list[float] = []
    with running_server() as server, worker(rates) as process:
        for _ in range(ROUNDS):
            cpu = server.report().cpu
            process.tell((server.port, hosts, in_flight, seconds / ROUNDS))
            count, of_each = process.hear()
            costs.append((server.report().cpu - cpu) / count)
            rounds.append(of_each)
            server.wait_for(connections=0)
    totals = sorted(sum(several) for several in rounds)
    fairest = [min(several) / max(several) for several in rounds]
    print(
        f"   together {statistics.median(totals):,.0f} a second ({totals[0]:,.0f} to "
        f"{totals[-1]:,.0f} in {ROUNDS} rounds); the slowest host has "
        f"{statistics.median(fairest):.0%} of the fastest"
    )
    print(f"   CPU of the server: {statistics.median(costs) * 1e6:.1f} us a round trip", flush=True)


def rates(port: int, hosts: int, in_flight: int, seconds: float) -> tuple[int, list[float]]:
    """How many round trips there were in all, and those a second of each host, after a warm-up."""
    # Twice all requests, so that those after any one of them are one piece.
    requests = b"".join(raw.s1f1(number) for number in range(in_flight)) * 2
    size = raw.HEADER_ONLY
    with selectors.DefaultSelector() as selector:
        read = [0] * hosts
        for host in range(hosts):
            peer = raw.selected(port)
            peer.sendall(requests[: in_flight * size])
            selector.register(peer, selectors.EVENT_READ, (peer, host))

        def run(until: float) -> None:
            while time.monotonic() < until:
                for key, _ in selector.select(0.1):
                    peer, host = key.data
                    data = peer.recv(65_536)
                    if not data:
                        raise ConnectionResetError("the server has closed")
                    before, read[host] = read[host], read[host] + len(data)
                    # As many new requests as whole replies have come.
                    first = before // size
                    count = read[host] // size - first
                    begin = first % in_flight * size
                    peer.sendall(requests[begin : begin + count * size])

        run(time.monotonic() + _WARM_UP)
        read_before, begun = list(read), time.monotonic()
        run(begun + seconds)
        took = time.monotonic() - begun
        for key in list(selector.get_map().values()):
            key.data[0].close()
    counted = zip(read, read_before, strict=True)
    return sum(read) // size, [(now - before) / size / took for now, before in counted]
