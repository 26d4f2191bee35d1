"""Does one attack beside an honest session, and says what it cost and what did not hold."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.faults.processes import Child, child
from hsms_engine.driver.turns import SHORT
from tests.attacks.attacks import MEGABYTE, Attack, Scene
from tests.attacks.peer import Peer
from tests.attacks.victim import Trips, Victim, honest, running
from tests.support.raw_peer import data

ALONE = 0.3
# In so many passes of the event loop a request is read and answered, and in each of them one other
# connection may have a short slice: ``tests/test_turns.py``.
PASSES = 8
# And in each of them one connection may be accepted; more when the request is the first for a while
# (``tests/test_turns.py``).
CONNECTIONS = 64
# Bytes that the allocator takes more than what is kept, for all together.
ONCE = 2_000_000
# Lines of the logs for each connection, at INFO; and for all together.
LINES_EACH, LINES = 6, 200
# And of the traceback of a handler that raises.
TRACEBACK = 40


@dataclass(frozen=True, slots=True)
class Result:
    """Times in seconds, memory in bytes.

    ``frames`` were decoded, ``connections`` accepted, during half of the honest requests.
    """

    name: str
    saw: str
    before: int
    highest: int
    after: int
    alone: float
    median: float
    longest: float
    trips: int
    frames: float
    connections: float
    counts: str
    problems: list[str]


def run(attack: Attack) -> Result:
    level = logging.DEBUG if attack.is_debug else logging.WARNING
    with running(attack.settings, level) as victim, child(honest, victim.port) as host:
        host.hear()
        warm_up(victim)
        alone = trips_for(host, ALONE)
        before, memory = victim.report(), victim.process.memory()
        victim.forget_highest()
        scene = Scene(victim)
        host.tell(None)
        try:
            attack.do(scene)
        except (OSError, AssertionError) as error:
            scene.problems.append(f"the attack itself failed: {error!r}")
        trips = stopped(host)
        scene.expect(victim.wait_for(connections=1), "connections are left")
        time.sleep(0.1)
        after, highest = victim.report(), victim.highest()
        scene.expect(not trips.error, f"the honest session: {trips.error}")
        scene.expect(len(trips.seconds) > 0, "the honest session was not answered once")
        frames = statistics.median(trips.frames or [0])
        most = PASSES * SHORT.frames
        scene.expect(frames <= most, f"unfair: {frames:g} frames before half of the answers")
        crowd = crowded(trips.frames)
        scene.expect(crowd <= most, f"unfair: {crowd:g} frames at once before an answer")
        connections = statistics.median(trips.connections or [0])
        crowd = crowded(trips.connections)
        scene.expect(
            crowd <= CONNECTIONS, f"unfair: {crowd:g} connections accepted before an answer"
        )
        growth = highest - memory
        scene.expect(growth <= attack.growth + ONCE, f"{growth / MEGABYTE:.1f} MB more than before")
        counted = after.statistics
        scene.expect(not counted.failed_connections, f"{counted.failed_connections} failed")
        raised = counted.failed_handlers
        scene.expect(raised == scene.raised, f"{raised} handlers failed, not {scene.raised}")
        scene.expect(counted.selected == 1, f"{counted.selected} are selected at the end")
        accepted = counted.accepted + counted.turned_away - before.statistics.accepted
        lines = after.lines - before.lines
        if not attack.is_debug:
            most = LINES + LINES_EACH * accepted + TRACEBACK * scene.raised
            scene.expect(lines <= most, f"{lines} lines of the logs, {most} are enough")
        if after.link == before.link and counted.handlers == 1:
            tasks, files = after.tasks - before.tasks, after.files - before.files
            scene.expect(tasks <= 0, f"{tasks} tasks are left")
            scene.expect(files <= 0, f"{files} files are left open")
        was = before.statistics.counts
        counts = {
            "accepted": accepted,
            "gave way": counted.gave_way,
            "turned away": counted.turned_away,
            "frames": counted.counts["frames_received"] - was["frames_received"],
            "rejects": counted.counts["rejects_sent"] - was["rejects_sent"],
            "dropped primaries": counted.dropped_primaries,
            "log lines": lines,
        }
        return Result(
            attack.name,
            "; ".join(scene.saw),
            memory,
            highest,
            victim.process.memory(),
            statistics.median(alone.seconds),
            statistics.median(trips.seconds or [0]),
            max(trips.seconds, default=0),
            len(trips.seconds),
            frames,
            connections,
            ", ".join(f"{count:,} {name}" for name, count in counts.items() if count),
            scene.problems,
        )


def crowded(counts: Sequence[float]) -> float:
    """So many, or more, were counted in those waits for an answer that had half of all."""
    total = sum(counts)
    rest = 0.0
    for each in sorted(counts, reverse=True):
        rest += each
        if rest >= total / 2:
            return each
    return 0.0


def warm_up(victim: Victim) -> None:
    """What a program takes once: modules, steps of the charts that are remembered, first lists."""
    peers = [(Peer.connect, Peer.select)[number % 2](victim.port) for number in range(20)]
    for peer in peers:
        peer.send(data(6, 11, 1, body=bytes(30_000)) + data(1, 1, 2) + bytes(4))
        peer.read(2)
        peer.close()
    victim.wait_for(connections=1)


def trips_for(host: Child, seconds: float) -> Trips:
    host.tell(None)
    time.sleep(seconds)
    return stopped(host)


def stopped(host: Child) -> Trips:
    host.tell(None)
    trips = host.hear()
    assert isinstance(trips, Trips)
    return trips
