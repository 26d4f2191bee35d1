"""What must be so at every step of every engine, whatever happens to it.

The claims are those of the proof, of one end in arbitrary surroundings; here they are looked at
while it runs. A step is a function of snapshot, world and event, so each is judged once, and then
only counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import assert_never

from hsms_engine.protocol.lifecycle import Lifecycle
from hsms_engine.protocol.outputs import Step
from statecharts import NotAllowedError, SystemSnapshot
from statecharts.explore.alone import Here
from statecharts.explore.moves import Kind, Move
from statecharts.explore.properties import (
    Always,
    Between,
    CanAlwaysReach,
    EveryStep,
    LeadsTo,
    Possible,
    Property,
    Sometimes,
    Stays,
)
from statecharts.hsms.systems import ACTIVE_LINK
from statecharts.hsms.world import ImpossibleEffectError, World
from statecharts.router import SystemStep
from tests.proof.properties import DIALLING_LINK, LISTENING_LINK, SINGLE_USE
from tests.support.replay import Replay

Claims = tuple[Property[Here[World]], ...]


@dataclass(slots=True)
class _Judged:
    """A step that was judged: what is wrong with it, and how often it came."""

    step: SystemStep
    fault: str
    # For each ``Between`` claim: whether it is a first, a second and a between move.
    roles: tuple[tuple[bool, bool, bool], ...]
    times: int = 0


@dataclass(slots=True)
class Waits:
    """Of one engine: the claims of which the first move has come, and nothing between yet."""

    before: SystemSnapshot
    pending: list[bool]


# Snapshots under other parameters are equal, so each stands with its router's index.
_Key = tuple[int, SystemSnapshot, int, str, World, SystemSnapshot, int]


class Monitors:
    """Judges steps. It may be kept for many runs: what was judged stays judged."""

    def __init__(self) -> None:
        self._judged: dict[_Key, _Judged] = {}

    def claims(self, life: Lifecycle) -> tuple[int, Claims]:
        """The claims for this engine, and their number."""
        if life.router.system != ACTIVE_LINK:
            return 0, LISTENING_LINK
        return (1, DIALLING_LINK) if life.reconnects else (2, SINGLE_USE)

    def judge(
        self,
        life: Lifecycle,
        waits: dict[Lifecycle, Waits],
        before: Here[World],
        event: str,
        step: SystemStep,
        after: Here[World],
    ) -> str:
        """What is wrong with this step; empty when nothing is."""
        number, claims = self.claims(life)
        was, now = before.snapshot, after.snapshot
        key = (number, was, id(was.charts), event, before.world, now, id(now.charts))
        if (judged := self._judged.get(key)) is None:
            judged = self._judged[key] = _judge(life, claims, before, event, step, after)
        judged.times += 1
        known = waits.get(life)
        if known is None:
            known = waits[life] = Waits(before.snapshot, [False] * len(judged.roles))
        if known.before is not before.snapshot:
            return f"it was in {known.before}, and {event} came in {before.snapshot}"
        known.before = after.snapshot
        for index, (first, second, comes) in enumerate(judged.roles):
            if second and known.pending[index] and not comes:
                return f"{event}: two moves follow each other with nothing between"
            known.pending[index] = first or (known.pending[index] and not comes)
        return judged.fault

    def taken(self) -> Counter[str]:
        """How often each transition was taken, and each effect was asked for."""
        found: Counter[str] = Counter()
        for each in self._judged.values():
            for hop in each.step.hops:
                machine = hop.after.machine
                for taken in hop.taken:
                    found[f"{hop.chart}: {machine.chart.transitions[taken]}"] += each.times
            for effect in each.step.effects:
                found[f"effect {effect}"] += each.times
        return found

    def forget_counts(self) -> None:
        """Count from 0 again."""
        for each in self._judged.values():
            each.times = 0


def _judge(
    life: Lifecycle,
    claims: Claims,
    before: Here[World],
    event: str,
    step: SystemStep,
    after: Here[World],
) -> _Judged:
    taken = tuple((hop.chart, each) for hop in step.hops for each in hop.taken)
    move = Move("", event, Kind.USER, step.effects, taken)
    faults = [
        *_against_charts(life, before, event, step, after),
    ] + [
        f"{event} in {before.snapshot}: not so: {claim.says} ({claim.name})"
        for claim in claims
        if not _holds(claim, before, move, after)
    ]
    roles = tuple(
        (claim.first(move), claim.second(move), claim.comes(move))
        for claim in claims
        if isinstance(claim, Between)
    )
    return _Judged(step, faults[0] if faults else "", roles)


def _against_charts(
    life: Lifecycle, before: Here[World], event: str, step: SystemStep, after: Here[World]
) -> list[str]:
    """Whether machines that no engine uses make the same step."""
    replay = Replay(life.router.system)
    replay.begin({id: before.snapshot[id] for id in before.snapshot.charts}, before.world)
    try:
        replay.take(Step(0.0, 0, event, step.hops, step.effects))
        assert replay.world == after.world, f"{replay.world} is not {after.world}"
    except (AssertionError, NotAllowedError, ImpossibleEffectError, ValueError) as fault:
        return [f"{event} in {before.snapshot}: not as the charts say: {fault!r}"]
    return []


def _holds(
    claim: Property[Here[World]], before: Here[World], move: Move, after: Here[World]
) -> bool:
    match claim:
        case Always():
            return not claim.given(after) or claim.holds(after)
        case EveryStep():
            return not claim.given(move) or claim.holds(before, move, after)
        case Stays():
            return not claim.holds(before) or claim.holds(after)
        case Between() | Possible() | Sometimes() | CanAlwaysReach() | LeadsTo():
            # About a run, or about all runs.
            return True
        case _:
            assert_never(claim)


def here(life: Lifecycle) -> Here[World]:
    """Where this engine is."""
    return Here(life.snapshot, life._world)
