"""The longest times as closed formulas, in ticks. docs/proof.md derives them.

``timed_searches`` finds the longest run of a case, and it must be what the formula says, neither
more nor less. Where a condition does not hold, it must find a run without an end.
"""

from __future__ import annotations

from dataclasses import dataclass

from .timed import Durations


@dataclass(frozen=True, slots=True)
class Case:
    """Settings, and what may happen before the network is whole and nobody acts any more.

    ``lost_resets``: resets of the listening end may be lost. ``crashes``: the ends that may crash;
    ``probes``: a second host that asks for the session has it probed. ``cuts``: the cable may be
    cut, and connections may fail.
    """

    durations: Durations
    threshold: int = 1
    linktest_threshold: int = 1
    disables: bool = False
    deselects: bool = False
    lost_resets: bool = False
    data: bool = False
    crashes: tuple[str, ...] = ()
    probes: bool = True
    cuts: bool = True


def conditions(case: Case) -> dict[str, bool]:
    """What must be so for two ends to find each other: each timer is longer than a round trip."""
    durations = case.durations
    round_trip = 2 * durations.delay
    return {
        "connect_timeout > 2 L": durations.connect_timeout > round_trip,
        "T6 > 2 L": durations.t6 > round_trip,
        "T7 > 2 L": durations.t7 > round_trip,
    }


def recovery(case: Case) -> int | None:
    """From any state, once the network is whole and nobody acts, to both ends SELECTED for good.

    None when there is no bound. The sum of two parts:

    * the last dial: its slot, there and back (2 L), Select.req and Select.rsp (2 L);
    * before it, the longest of the ways of ``until_last_dial``.
    """
    ways = until_last_dial(case)
    if not all(conditions(case).values()) or None in ways.values():
        return None
    return max(way for way in ways.values() if way is not None) + last_dial(case.durations)


def last_dial(durations: Durations) -> int:
    """From the permit of the breaker to both ends SELECTED."""
    return durations.slot + 4 * durations.delay


def until_last_dial(case: Case) -> dict[str, int | None]:
    """Each way to the last dial, and the longest that it takes from when the network is whole.

    * "pause": an attempt has just begun and fails; its pause, grown by all failures in a row.
    * "breaker": an attempt is still to fail, and then the breaker opens. It fails within a round
      trip, or else it would succeed; but when a reset was lost, it waits for T6 or T7.
    * "deselect": somebody has deselected: the peer learns it (L), its T7, and its reset (L).
    * "linktest": the listening end is gone and its reset was lost. A last frame may still come (L),
      and an interval later a probe gets a reset (2 L). Or a probe is unanswered and is missed (T6):
      the last one, or else the next one gets a reset.
    """
    durations, delay = case.durations, case.durations.delay
    pause = durations.jittered(durations.pause(case.threshold))
    fails = min(durations.t6, durations.t7) if case.lost_resets else 2 * delay
    ways: dict[str, int | None] = {
        "pause": pause,
        "breaker": fails + durations.jittered(durations.open_time),
    }
    if case.deselects:
        ways["deselect"] = durations.t7 + 2 * delay
    if case.lost_resets:
        ways["linktest"] = None
        if durations.interval is not None:
            probed = durations.interval + 2 * delay
            missed = durations.t6 if case.linktest_threshold == 1 else durations.t6 + probed
            ways["linktest"] = max(delay + probed, missed)
    return ways


def detection(durations: Durations, linktest_threshold: int) -> int | None:
    """From the last byte that came to the end of SELECTED, when none comes any more."""
    if durations.interval is None:
        return None
    return linktest_threshold * (durations.interval + durations.t6)


def restart_probed(case: Case) -> int | None:
    """From the restart of a host that crashed to both ends SELECTED, when the old session is asked.

    Each attempt is refused and has the old session probed, and the probe is missed before the next
    attempt comes: its Select.req comes 3 L after its dial began at the latest, and at once at the
    earliest. So the host is back after as many pauses as misses close a session, and a last dial.

    None where this does not hold: then the breaker opens meanwhile, a probe is still running when
    the next attempt comes, or linktests come sooner than attempts.
    """
    durations, misses = case.durations, case.linktest_threshold
    if misses >= case.threshold or durations.t5 <= durations.t6 + 3 * durations.delay:
        return None
    longest, interval = durations.jittered(durations.pause(misses)), durations.interval
    if misses > 1 and interval is not None and interval + durations.t6 < longest:
        return None
    pauses = (durations.jittered(durations.pause(each + 1)) for each in range(misses))
    return sum(pauses) + last_dial(durations)


def restart_refused(case: Case) -> int | None:
    """The same when the old session is not asked, and frames take no time (nor any jitter).

    The first attempt after the old session was noticed to be dead. One at the same moment may still
    be refused.
    """
    gone = detection(case.durations, case.linktest_threshold)
    if gone is None:
        return None
    attempt, failures = 0, 1
    while attempt <= gone:
        pause = case.durations.pause(failures)
        is_open = failures == case.threshold
        attempt += max(pause, case.durations.open_time) if is_open else pause
        failures = min(failures + 1, case.threshold)
    return attempt
