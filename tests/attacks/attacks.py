"""The attacks: each is a function of a ``Scene``, to which it tells what its peers saw."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial

from benchmarks.faults import raw as floods
from benchmarks.faults.processes import wait_until, worker
from benchmarks.faults.raw import Flood, big_segments
from hsms_engine import Settings
from tests.attacks import hostile
from tests.attacks.peer import Peer, seen
from tests.attacks.victim import Victim
from tests.support.raw_peer import (
    data,
    deselect_req,
    linktest_req,
    raw,
    reject_req,
    select_req,
    select_rsp,
    separate_req,
)

# Short timers, so that what they bound is seen. Room in the inboxes for a few long messages.
SETTINGS = Settings(
    port=0,
    max_sessions=300,
    is_equipment=True,
    t3=1,
    t5=1,
    t6=1,
    t7=1.5,
    t8=1,
    frame_deadline=2,
    write_timeout=1.5,
    linger=1,
    connect_timeout=2,
    breaker_open_time=0.5,
    linktest_interval=None,
    inbox_size=2_000,
    inbox_bytes=4_000_000,
    server_inbox_bytes=8_000_000,
    allow_short_timers=True,
)
MEGABYTE = 1_000_000
# What a peer that is not selected may cost.
PER_PEER = 64_000
ATTACKERS = 8
FLOOD_SECONDS = 1.0
S1F1 = data(1, 1, 7, wait=True)
ALMOST = data(6, 11, 7, body=bytes(16_777_216 - 10))[:-1]


@dataclass(slots=True)
class Scene:
    """One attack as it goes. ``saw``: what the peers saw; ``problems``: what did not hold."""

    victim: Victim
    saw: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    # How many handlers have raised.
    raised: int = 0

    @property
    def port(self) -> int:
        return self.victim.port

    def expect(self, holds: bool, text: str) -> None:
        if not holds:
            self.problems.append(text)

    def all_end(self, peers: list[Peer], within: float = 6.0) -> None:
        """All of these are closed by the server, together within so many seconds."""
        until = time.monotonic() + within
        for peer in peers:
            peer.read(max(0.01, until - time.monotonic()))
        still = sum(peer.end == "open" for peer in peers)
        self.expect(not still, f"{still} of {len(peers)} are open after {within:g} s")
        self.saw.append(seen(peers))
        for peer in peers:
            peer.close()


@dataclass(frozen=True, slots=True)
class Attack:
    """``growth``: the most bytes that the server may take more than before."""

    name: str
    what: str
    do: Callable[[Scene], None]
    growth: int = 24 * MEGABYTE
    settings: Settings = SETTINGS
    is_debug: bool = False
    is_short: bool = True


# Connections


def connections(scene: Scene, *, addresses: int, count: int) -> None:
    """All places and more are taken by peers that send nothing; an honest host comes in."""
    with ExitStack() as stack:
        peers = []
        for number in range(count):
            source = f"127.0.{1 + number % addresses // 200}.{1 + number % addresses % 200}"
            peer = Peer.connect(scene.port, source=source)
            stack.callback(peer.close)
            peers.append(peer)
        late = Peer.select(scene.port)
        scene.expect(late.send(S1F1), "a late honest host cannot send")
        late.read(frames=2)
        scene.expect(len(late.frames) == 2, f"a late honest host sees only {late}")
        late.close()
        scene.all_end(peers)


def connect_and_close(scene: Scene) -> None:
    for number in range(3_000):
        Peer.connect(scene.port).close(reset=number % 2 == 0)
    one_more(scene)
    scene.saw.append("3,000 connects, closed at once by FIN and RST in turn")


def one_more(scene: Scene) -> None:
    """Its turn comes after all that wait to be accepted."""
    Peer.select(scene.port).close()


def connect_and_close_later(scene: Scene) -> None:
    """Not faster than the server takes them, so that it sees most of them open."""
    peers: deque[Peer] = deque()
    for number in range(2_000):
        peers.append(Peer.connect(scene.port))
        if len(peers) > 20:
            peers.popleft().close(reset=number % 2 == 0)
        time.sleep(0.001)
    for peer in peers:
        peer.close()
    one_more(scene)
    scene.saw.append("2,000 connects, closed when 20 others had come")


def slowly(scene: Scene, frame: bytes, *, selects: bool, sent: int) -> None:
    """60 peers send ``sent`` bytes of a frame at once, and then a byte each 0.3 s."""
    make = Peer.select if selects else Peer.connect
    peers = [make(scene.port) for _ in range(60)]
    for peer in peers:
        peer.send(frame[:sent])
    for at in range(sent, min(len(frame) - 1, sent + 12)):
        if not sum([peer.send(frame[at : at + 1]) for peer in peers]):
            break
        time.sleep(0.3)
    scene.all_end(peers)


# Lengths, types, bytes


def lengths(scene: Scene) -> None:
    peers = []
    for length in hostile.BAD_LENGTHS:
        for make in (Peer.connect, Peer.select):
            peer = make(scene.port)
            peer.send(length.to_bytes(4))
            peers.append(peer)
    scene.all_end(peers)


def types(scene: Scene) -> None:
    """Each gets its Reject.req, with the reason, and the connection goes on."""
    frames = hostile.every_ptype_and_stype()
    for make in (Peer.connect, Peer.select):
        peer = make(scene.port)
        begun = len(peer.frames)
        peer.send(b"".join(frame for frame, _ in frames) + linktest_req(9))
        peer.read(2, frames=begun + len(frames) + 1)
        rejects = [got.byte3 for got in peer.frames[begun:-1]]
        scene.expect(rejects == [reason for _, reason in frames], f"other answers: {peer}")
        scene.expect(peer.frames[-1].stype == 6, f"no Linktest.rsp after them: {peer}")
        scene.saw.append(str(peer))
        peer.close()


def random_bytes(scene: Scene) -> None:
    peers = []
    for number, piece in enumerate(hostile.random_pieces(16, 300, 3_000)):
        peer = (Peer.connect, Peer.select)[number // 2 % 2](scene.port)
        peer.send(piece)
        peers.append(peer)
    scene.all_end(peers)


def cut(scene: Scene) -> None:
    frame = data(6, 11, 7, body=bytes(5_000))
    for number in range(1_000):
        peer = (Peer.connect, Peer.select)[number % 2](scene.port)
        peer.send(frame[: 1 + number * 5])
        peer.close(reset=number % 4 < 2)
    scene.saw.append("1,000 closed in mid-frame, half by FIN, half by RST")


# Bodies


def bodies(scene: Scene) -> None:
    """One connection sends them all, as three messages each; each is answered. Then twenty make
    their handlers raise, which ends these connections and no other."""
    peer = Peer.select(scene.port)
    sent = 0
    for body in hostile.bodies():
        for stream, function in ((1, 3), (2, 41), (6, 11)):
            sent += peer.send(data(stream, function, sent, wait=True, body=body))
        # Its answers and S9F7 are read, or the server would wait for that.
        peer.read(frames=len(peer.frames) + 3)
    peer.send(data(1, 1, 99, wait=True))
    peer.read(0.5)
    answers = [got for got in peer.frames if got.stype == 0 and got.byte2 != 9]
    scene.expect(len(answers) == sent + 1, f"{len(answers)} answers to {sent + 1}: {peer}")
    reports = sum(got.byte2 == 9 for got in peer.frames)
    scene.saw.append(f"{sent} bodies: as many answers, {reports} x S9F7, {peer.end}")
    peer.close()
    raising = [Peer.select(scene.port) for _ in range(20)]
    for each in raising:
        each.send(data(2, 45, 1, wait=True, body=b"\xff"))
    scene.raised = len(raising)
    scene.all_end(raising)


def slow_bodies(scene: Scene) -> None:
    """The server prints them in its log at DEBUG; its handler reads none of them."""
    peer = Peer.select(scene.port)
    for body in hostile.slow_bodies(1_000_000):
        # S1F1 is answered without a look at the body.
        peer.send(data(1, 1, 8, wait=True, body=body))
        peer.read(frames=len(peer.frames) + 1)
    scene.saw.append(str(peer))
    scene.expect(peer.end == "open", "it is closed")
    peer.close()


# Floods


def flooded(scene: Scene, kind: Flood, *, seconds: float = FLOOD_SECONDS) -> None:
    with worker(floods.flood) as process:
        process.tell((scene.port, kind, ATTACKERS, seconds))
        sent, closed = process.hear()
    scene.saw.append(f"{sent / MEGABYTE:.1f} MB sent, cut {closed} times")


def flood(
    name: str, frame: bytes, *, reads: bool = True, selects: bool = True, is_short: bool = True
) -> Attack:
    kind = Flood(name, big_segments(frame), reads, selects)
    what = f"{ATTACKERS} peers flood; each {'reads' if reads else 'reads nothing'}"
    return Attack(name, what, partial(flooded, kind=kind), is_short=is_short)


def separates(scene: Scene) -> None:
    for _ in range(1_000):
        peer = Peer.select(scene.port)
        peer.send(separate_req(3) * 20)
        peer.close()
    scene.saw.append("1,000 times selected and separated 20 times each")


# Transactions


def transactions(scene: Scene) -> None:
    peer = Peer.select(scene.port)
    peer.send(hostile.unasked_secondaries(5_000) + linktest_req(9))
    peer.read(frames=2)
    scene.expect(peer.frames[-1].stype == 6, f"secondaries nobody asked for: {peer}")
    # One system bytes for thousands of primaries: each has its answer.
    for _ in range(50):
        peer.send(data(2, 41, 7, wait=True) * 100)
        peer.read(frames=len(peer.frames) + 100)
    answers = sum(got[:3] == (0, 2, 42) for got in peer.frames)
    scene.expect(answers == 5_000, f"{answers} answers to 5,000 with the same system bytes")
    # The server asks 100 requests at once, which are answered with everything but their replies.
    peer.send(data(2, 43, 8))
    peer.read(frames=len(peer.frames) + 100)
    asked = [got.system for got in peer.frames if got[1:3] == (0x81, 3)]
    for system in asked:
        peer.send(data(1, 6, system) + data(2, 4, system))
        peer.send(data(1, 3, system) + raw(6, system))
    wait_until(lambda: scene.victim.report().statistics.counts["replies_timed_out"] >= 100, 4)
    count = scene.victim.report().statistics.counts["replies_timed_out"]
    scene.expect(count == len(asked) == 100, f"{count} of {len(asked)} requests timed out")
    peer.read(0.2)
    scene.expect(peer.end == "open", f"closed: {peer.end}")
    scene.saw.append(f"5,000 answers, {count} requests of the server timed out; {peer.end}")
    peer.close()


def inbox(scene: Scene, *, size: int) -> None:
    """Primaries without end to a handler that takes none."""
    peers = [Peer.select(scene.port) for _ in range(ATTACKERS)]
    for peer in peers:
        peer.send(data(7, 1, 1))
    piece = data(6, 11, 2, body=bytes(size)) * max(1, 50_000 // (size + 14))
    for _ in range(2 * SETTINGS.server_inbox_bytes // len(piece)):
        if not sum([peer.send(piece) for peer in peers]):
            break
    scene.all_end(peers)


def outliving(scene: Scene) -> None:
    """Handlers that outlive their connections with a full inbox: memory levels off."""
    memory: list[int] = []
    for _ in range(12):
        peer = Peer.select(scene.port)
        peer.send(data(7, 1, 1) + data(6, 11, 2, body=bytes(100_000)) * 35 + linktest_req(3))
        peer.read(2, frames=2)
        peer.close()
        scene.victim.wait_for(connections=1)
        memory.append(scene.victim.process.memory())
    late = (memory[-1] - memory[5]) / MEGABYTE
    report = scene.victim.report().statistics
    scene.saw.append(f"12 rounds of 3.5 MB; the last six took {late:.1f} MB more")
    scene.expect(late < 4, f"memory grows on: {late:.1f} MB in six rounds")
    waiting = report.waiting_bytes
    scene.expect(waiting <= SETTINGS.server_inbox_bytes, f"{waiting} bytes wait")


# Coming back, time, acknowledgements


def reconnects(scene: Scene, *, count: int = 10_000) -> None:
    early = 0
    for number in range(1, count + 1):
        peer = Peer.select(scene.port)
        peer.send(S1F1)
        peer.read(frames=2)
        if number % 2:
            peer.send(separate_req(3))
        peer.close(reset=number % 4 == 0)
        if number == 100:
            scene.victim.wait_for(connections=1)
            early = scene.victim.process.memory()
    scene.victim.wait_for(connections=1)
    grown = (scene.victim.process.memory() - early) / MEGABYTE
    scene.saw.append(f"memory after {count:,} is {grown:.1f} MB more than after 100")
    scene.expect(grown <= 2, f"memory grows: {grown:.1f} MB")


def wall_clock(scene: Scene) -> None:
    """Years back and forth: nothing is late or early by it."""
    peer = Peer.select(scene.port)
    for seconds in (3e7, -3e7, 3e8, -1e9, 0):
        scene.victim.step_clock(seconds)
        peer.send(linktest_req(9) + S1F1)
        peer.read(frames=len(peer.frames) + 2)
        time.sleep(0.2)
    scene.expect(len(peer.frames) == 11, f"not all is answered: {peer}")
    scene.expect(peer.read(0.1).end == "open", "it is closed")
    scene.saw.append(str(peer))
    peer.close()


def byte_by_byte(scene: Scene) -> None:
    """Its window is small, and it takes a byte at a time of answers of 100 kB."""
    peers = [Peer.select(scene.port, window=2_304) for _ in range(ATTACKERS)]
    for peer in peers:
        peer.send(data(7, 5, 1, wait=True) * 30)
    end = time.monotonic() + 8
    taken = 0
    while time.monotonic() < end:
        for peer in peers:
            with suppress(OSError):
                taken += len(peer.socket.recv(1))
        time.sleep(0.002)
        if scene.victim.report().statistics.connections == 1:
            break
    still = scene.victim.report().statistics.connections - 1
    scene.expect(still == 0, f"{still} are open after 8 s")
    scene.saw.append(f"cut after {taken} bytes were taken by {ATTACKERS} peers")
    for peer in peers:
        peer.close()


# The peer that is dialled


def listener(scene: Scene) -> None:
    """Our link dials a listener that is hostile in another way each time."""
    acts: list[Callable[[Peer, int], object]] = [
        lambda peer, _: peer.close(reset=True),
        lambda peer, _: peer.send(hostile.random_pieces(1, 1, 3_000)[0]),
        lambda peer, _: peer.send((2**32 - 1).to_bytes(4)),
        lambda peer, system: peer.send(select_rsp(system + 1) * 1_000),
        lambda peer, system: peer.send(select_rsp(system, status=2)),
        lambda peer, system: peer.send(select_rsp(system) + select_req(7) * 50_000),
        lambda peer, system: peer.send(select_rsp(system) + ALMOST),
        lambda peer, system: peer.send(select_rsp(system) + data(6, 11, 1, body=b"\xff") * 20_000),
        lambda peer, system: peer.send(select_rsp(system) + linktest_req(1) * 100_000),
        lambda peer, system: peer.send(select_rsp(system) + hostile.unasked_secondaries(5_000)),
        lambda peer, system: peer.send(
            select_rsp(system) + (deselect_req(5) + select_req(6)) * 5_000
        ),
        lambda peer, system: peer.send(
            select_rsp(system)
            + b"".join(frame for frame, _ in hostile.every_ptype_and_stype())
            + reject_req(1, 1, 4) * 5_000
        ),
    ]
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        listening.settimeout(15)
        scene.victim.dial(listening.getsockname()[1])
        for number, act in enumerate(acts):
            accepted, _ = listening.accept()
            accepted.settimeout(3)
            peer = Peer(accepted)
            peer.read(frames=1)
            system = peer.frames[0].system if peer.frames else 0
            act(peer, system)
            if peer.end == "open" and number:
                peer.read(0.3)
            peer.close()
        # It is dialled again after all that, and an honest listener is selected.
        accepted, _ = listening.accept()
        accepted.settimeout(3)
        peer = Peer(accepted)
        peer.read(frames=1)
        peer.send(select_rsp(peer.frames[0].system) + linktest_req(1))
        peer.read(2, frames=2)
        scene.expect(peer.frames[-1].stype == 6, f"not selected after all: {peer}")
        wait_until(lambda: scene.victim.report().link == "Selected", 2)
        link = scene.victim.report().link
        scene.expect(link == "Selected", f"the link is {link}")
        scene.saw.append(f"dialled {len(acts) + 1} times, then {link}")
        peer.close()


SELECTS = select_req(7)
ATTACKS = (
    Attack("connect-and-close", "3,000 connects that are closed at once", connect_and_close),
    Attack(
        "connect-and-close-later",
        "2,000 connects, 20 of them open at a time",
        connect_and_close_later,
        # On a busy machine the server is behind.
        growth=100 * PER_PEER,
    ),
    Attack(
        "half-open",
        "300 connects from one address, and nothing",
        partial(connections, addresses=1, count=300),
        growth=256 * PER_PEER,
    ),
    Attack(
        "half-open-from-many",
        "300 connects from 300 addresses, and nothing",
        partial(connections, addresses=300, count=300),
        growth=256 * PER_PEER,
    ),
    Attack(
        "slow-length",
        "60 peers send a length a byte at a time",
        partial(slowly, frame=ALMOST, selects=False, sent=1),
        growth=60 * PER_PEER,
    ),
    Attack(
        "slow-header",
        "the same with a header, selected",
        partial(slowly, frame=S1F1, selects=True, sent=3),
    ),
    Attack(
        "slow-body",
        "60 peers that are not selected send 200 kB of 16 MiB, then a byte at a time",
        partial(slowly, frame=ALMOST, selects=False, sent=200_000),
        growth=60 * PER_PEER,
    ),
    Attack(
        "slow-body-selected",
        "the same, selected, with 14 bytes at once",
        partial(slowly, frame=ALMOST, selects=True, sent=14),
    ),
    Attack("lengths", "lengths of 0 to 9 bytes, 2 GiB, 4 GiB", lengths, growth=8 * MEGABYTE),
    Attack("types", "every undefined PType and SType", types, growth=4 * MEGABYTE),
    Attack("random", "300 times 3,000 random bytes", random_bytes, is_short=False),
    Attack("cut", "1,000 closes in mid-frame", cut, growth=8 * MEGABYTE, is_short=False),
    Attack("bodies", "each format code, wrong lengths, deep nesting, counts beyond", bodies),
    Attack("slow-bodies", "1 MB of tiny items, logged at DEBUG", slow_bodies, is_debug=True),
    flood("linktests", linktest_req(7), is_short=False),
    flood("linktests-unread", linktest_req(7), reads=False),
    flood("linktests-unselected-unread", linktest_req(7), reads=False, selects=False),
    flood("primaries-unread", S1F1, reads=False),
    flood("rejects", reject_req(7, 1, 3), is_short=False),
    flood("selects", SELECTS, is_short=False),
    flood("deselects-and-selects", deselect_req(7) + SELECTS),
    flood("junk", raw(99, 7), is_short=False),
    flood("events", data(6, 11, 7, body=b"\x01\x01\xa5\x01\x07")),
    Attack("separates", "1,000 times selected, then 20 Separate.req", separates, is_short=False),
    Attack("transactions", "system bytes again, replies nobody asked for", transactions),
    Attack(
        "inbox",
        "primaries without end, and a handler that takes none",
        partial(inbox, size=0),
        growth=40 * MEGABYTE,
    ),
    Attack("inbox-bytes", "the same of 20 kB each", partial(inbox, size=20_000)),
    Attack("outliving", "handlers that outlive 12 connections with full inboxes", outliving),
    Attack("reconnects", "10,000 reconnects", reconnects, growth=8 * MEGABYTE, is_short=False),
    Attack(
        "wall-clock",
        "the wall clock is stepped by years",
        wall_clock,
        growth=4 * MEGABYTE,
        is_short=False,
    ),
    Attack("byte-by-byte", "answers of 100 kB, taken a byte at a time", byte_by_byte),
    Attack("listener", "a listener that is hostile to the link that dials it", listener),
)
