"""A plan: all that a run does, as data. It is made from a seed, is printed, and made smaller."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, is_dataclass, replace
from random import Random
from typing import Any, Literal

from hsms_engine import Settings
from hsms_engine.virtual import Kernel

Theme = Literal["storm", "late", "slow", "burst", "crowd", "contest", "quiet", "chatty"]
# How many of 100 seeds have which theme. The last two are for figures only.
_THEMES: dict[Theme, int] = {
    "storm": 70,
    "late": 8,
    "slow": 6,
    "burst": 5,
    "crowd": 1,
    "contest": 10,
}

Fault = Literal[
    "black-hole",
    "black-hole=to-equipment",
    "black-hole=to-host",
    "latency",
    "jitter",
    "rate",
    "loss",
    "slice",
    "lost-fin",
    "lost-reset",
    "reset",
    "lost-connection",
    "power-cut",
    "power-cut-silent",
    "forgetful-nat",
    "forgetful-firewall",
    "stopped",
    "small-buffers",
    "stall",
    "half-close",
]
"""Faults of the network and of machines, by the names that all machines of this project use."""

Call = Literal[
    "request",
    "send",
    "burst",
    "server-request",
    "server-send",
    "linktest",
    "deselect",
    "select",
    "disable",
    "enable",
    "isolate",
    "release",
    "reset-breaker",
    "configure",
    "configure-server",
    "reopen",
    "restart-server",
    "read-slowly",
    "once",
    "connect",
    "handler-raises",
    "handler-leaves",
    "handler-outlives",
    "watch-events",
    "toggle",
]
"""What users do."""

FAULTS: tuple[Fault, ...] = Fault.__args__  # type: ignore[attr-defined]  # the names in it
CALLS: tuple[Call, ...] = Call.__args__  # type: ignore[attr-defined]  # the names in it

Behaviour = Literal["echo", "late", "never", "abort", "wrong"]


@dataclass(frozen=True, slots=True)
class Action:
    """One fault or one call. ``value`` is seconds, or how many, or a part, as ``what`` needs it.

    ``who`` is the number of a dialling end; its listener is meant where that is what it is about.
    """

    at: float
    what: Fault | Call
    who: int = 0
    value: float = 0.0
    size: int = 0
    asks: Behaviour = "echo"
    patience: float = math.inf


@dataclass(frozen=True, slots=True)
class Plan:
    """All ends have the same settings, because the bounds are of such.

    ``links``: the listener of each dialling end. From ``ends_at`` on, nothing breaks any more and
    nobody acts. ``one_way`` and ``jitter`` are seconds.
    """

    seed: int
    theme: Theme
    changes: dict[str, Any]
    kernel: Kernel
    links: tuple[int, ...]
    ends_at: float
    one_way: float = 0.0
    jitter: float = 0.0
    rate: float = math.inf
    backlog: int = 4_096
    actions: tuple[Action, ...] = ()

    @property
    def settings(self) -> Settings:
        """The settings of all ends, when nobody has changed them."""
        return Settings(allow_short_timers=True, **self.changes)

    @property
    def servers(self) -> int:
        """How many listeners there are."""
        return max(self.links) + 1

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.theme}, links to listeners {list(self.links)}"]
        lines.append(f"  settings {self.changes}")
        lines.append(f"  one way {self.one_way:g} s, jitter {self.jitter:g} s, rate {self.rate:g}")
        lines.append(f"  {self.kernel}, backlog {self.backlog}, faults end at {self.ends_at:g} s")
        lines += [f"  {action_text(each)}" for each in self.actions]
        return "\n".join(lines)


def action_text(action: Action) -> str:
    """As in the log."""
    parts = [f"{action.at:.6f} s: {action.what} of host {action.who}"]
    if action.value:
        parts.append(f"value {action.value:g}")
    if action.size:
        parts.append(f"{action.size} bytes")
    if action.asks != "echo":
        parts.append(f"asks {action.asks}")
    if action.patience < math.inf:
        parts.append(f"given up after {action.patience:g} s")
    return ", ".join(parts)


def plan_text(plan: Plan) -> str:
    """A plan as JSON, without what has its default."""
    return json.dumps(_told(plan))


def _told(made: Any) -> Any:
    """A dataclass and what is in it, as JSON has it."""
    if not is_dataclass(made):
        return list(map(_told, made)) if isinstance(made, tuple) else made
    return {
        each.name: _told(value)
        for each in fields(made)
        if (value := getattr(made, each.name)) != each.default
    }


def parse_plan(text: str) -> Plan:
    """What ``plan_text`` was given."""
    told = json.loads(text)
    told["kernel"] = Kernel(**told["kernel"])
    told["links"] = tuple(told["links"])
    told["actions"] = tuple(Action(**each) for each in told.get("actions", ()))
    return Plan(**told)


def make_plan(seed: int, theme: Theme | None = None) -> Plan:
    """The plan of this seed."""
    dice = Random(seed)
    drawn = dice.choices(list(_THEMES), list(_THEMES.values()))[0]
    match theme or drawn:
        case "storm":
            return _storm(seed, dice)
        case "late":
            return _late(seed, dice)
        case "slow":
            return _slow(seed, dice)
        case "burst":
            return _burst(seed, dice)
        case "crowd":
            return _crowd(seed, dice)
        case "contest":
            return _contest(seed, dice)
        case "quiet":
            return Plan(seed, "quiet", {}, Kernel(), (0,), 36_000.0, 0.001)
        case "chatty":
            return Plan(seed, "chatty", {}, Kernel(), (0,), 3_600.0, 0.001)


# Timers of E37, and short ones, which bring about what E37's never would within the time of a run.
_CHANGES: dict[str, tuple[Any, ...]] = {
    "t3": (1, 3, 10, 45),
    "t5": (0.5, 1, 2, 10),
    "t6": (0.5, 1, 2, 5),
    "t7": (1, 2, 5, 10),
    "t8": (0.5, 1, 5),
    "connect_timeout": (1, 5, 10),
    "linger": (0.05, 0.5, 3),
    "linktest_interval": (1, 2, 5, 30),
    "linktest_threshold": (1, 1, 2, 3),
    "breaker_threshold": (1, 2, 3, 5),
    "breaker_open_time": (0.5, 3, 20, 60),
    "backoff_factor": (1.0, 1.0, 2.0),
    "backoff_jitter": (0.0, 0.2, 1.0),
    "write_timeout": (0.5, 1, 5, 30),
    "frame_deadline": (1, 5, 60),
    "second_host": ("probe", "probe", "refuse"),
    "inbox_size": (1, 5, 100, 10_000),
    "inbox_bytes": (1_000, 100_000, 67_108_864),
    "outbox_size": (100, 10_000, 1_048_576),
    "events_size": (1, 10, 1_000),
    "is_equipment": (False, True),
}
_DELAYS = (0.0, 0.0001, 0.001, 0.02, 0.1)


def _settings(dice: Random) -> dict[str, Any]:
    """A few settings that are not the defaults, and always short timers for a short run."""
    changes = {"t5": 1, "linktest_interval": 5, "breaker_open_time": 3, "t6": 2, "t3": 5}
    for name in dice.sample(sorted(_CHANGES), dice.randrange(12)):
        changes[name] = dice.choice(_CHANGES[name])
    return changes


def _kernel(dice: Random) -> Kernel:
    buffers = dice.choice(((math.inf, math.inf), (65_536, 65_536), (4_096, 2_048), (2_000, 700)))
    return Kernel(
        send_buffer=buffers[0],
        receive_buffer=buffers[1],
        segment=1_460,
        is_choppy=dice.random() < 0.3,
        first_pause=dice.choice((0.2, 1.0)),
        longest_pause=dice.choice((1.0, 4.0)),
        patience=dice.choice((3.0, 15.0, 900.0)),
    )


def _action(dice: Random, what: Fault | Call, ends_at: float, links: int) -> Action:
    return Action(
        at=round(dice.uniform(0, ends_at), 3),
        what=what,
        who=dice.randrange(links),
        value=round(dice.choice((0.01, 0.1, 1, 3)) * dice.uniform(0.5, 5), 4),
        size=dice.choice((0, 0, 10, 200, 1_000, 5_000)),
        asks=dice.choice(("echo", "echo", "echo", "late", "never", "abort", "wrong")),
        patience=dice.choice((math.inf, math.inf, 0.0, 0.5)),
    )


def _sorted(actions: list[Action]) -> tuple[Action, ...]:
    return tuple(sorted(actions, key=lambda each: each.at))


def _storm(seed: int, dice: Random) -> Plan:
    links = tuple(dice.choice(((0,), (0,), (0, 0), (0, 1), (0, 0, 0, 1))))
    ends_at = dice.choice((5.0, 15.0, 30.0))
    whats: list[Fault | Call] = []
    whats += dice.choices(FAULTS, k=dice.randrange(1, 6))
    whats += dice.choices(CALLS, k=dice.randrange(1, 12))
    changes = {"max_sessions": 1 if len(links) == 1 else 100, **_settings(dice)}
    plan = Plan(
        seed=seed,
        theme="storm",
        changes=changes,
        kernel=_kernel(dice),
        links=links,
        ends_at=ends_at,
        one_way=dice.choice(_DELAYS),
        jitter=dice.choice((0.0, 0.0, 0.01)),
        backlog=dice.choice((1, 4_096)),
        actions=_sorted([_action(dice, what, ends_at, len(links)) for what in whats]),
    )
    if plan.backlog < len(links) and plan.kernel.first_pause >= changes["t6"]:
        # Hosts that find the queue of the listener full together would always give up together.
        return replace(plan, kernel=replace(plan.kernel, first_pause=0.2))
    return plan


def _late(seed: int, dice: Random) -> Plan:
    """Nothing is wrong but that programs stop while an answer is on its way: no link may be lost.

    Both ends are late together here, so nothing else may be on its way then.
    """
    actions: list[Action] = []
    calls: tuple[Call, ...] = ("request", "linktest")
    for number in range(dice.randrange(1, 5)):
        what = dice.choice(calls)
        stops = Action(10.0 * number, "stopped", value=dice.choice((0.5, 3, 8, 40, 200)))
        actions += [stops, Action(10.0 * number, what, size=dice.choice((0, 100, 5_000)))]
    changes = {**_settings(dice), "inbox_size": 100, "inbox_bytes": 100_000, "t3": 5, "t6": 2}
    changes |= {"linktest_interval": 30, "outbox_size": 100_000, "max_sessions": 1}
    kernel = replace(_kernel(dice), patience=900.0, send_buffer=math.inf, receive_buffer=math.inf)
    one_way = dice.choice(_DELAYS[1:])
    return Plan(seed, "late", changes, kernel, (0,), 60.0, one_way, actions=tuple(actions))


def _slow(seed: int, dice: Random) -> Plan:
    """Nothing is wrong but that the way is slow: no link may be lost, with E37's timers."""
    rate = dice.choice((2_000.0, 8_000.0, 64_000.0))
    actions = [
        replace(
            _action(dice, what, 60.0, 1),
            # All together take less than the frame deadline.
            size=int(dice.choice((0.05, 2, 7)) * rate),
            asks=dice.choice(("echo", "wrong")),
            patience=math.inf,
        )
        for what in dice.choices(("send", "request", "server-send", "linktest"), k=5)
    ]
    kernel = Kernel(
        send_buffer=dice.choice((1, 4)) * rate,
        # No more is on its way than the way takes in two seconds, in either direction.
        receive_buffer=2 * rate,
        segment=1_460,
    )
    return Plan(
        seed,
        "slow",
        {"linktest_interval": dice.choice((5, 30))},
        kernel,
        (0,),
        120.0,
        dice.choice((0.05, 0.25)),
        rate=rate,
        actions=_sorted(actions),
    )


def _burst(seed: int, dice: Random) -> Plan:
    """More than the inbox holds comes at once, and the program reads: no link may be lost."""
    size = dice.choice((5, 20))
    actions = [
        Action(round(dice.uniform(1, 8), 3), "burst", value=dice.choice((1.5, 4)) * size, size=10)
        for _ in range(2)
    ]
    changes = {"inbox_size": size, "linktest_interval": 5}
    return Plan(
        seed,
        "burst",
        changes,
        replace(_kernel(dice), patience=900.0),
        (0,),
        10.0,
        dice.choice(_DELAYS),
        actions=_sorted(actions),
    )


def _crowd(seed: int, dice: Random) -> Plan:
    """Many dial one listener together, whose queue is short."""
    links = (0,) * dice.choice((10, 40))
    changes = {"max_sessions": 100, "t5": 1, "breaker_open_time": 3}
    return Plan(
        seed,
        "crowd",
        changes,
        Kernel(longest_pause=4.0),
        links,
        2.0,
        0.001,
        backlog=dice.choice((5, 20)),
        actions=(Action(1.0, "restart-server"),) if dice.random() < 0.5 else (),
    )


def _contest(seed: int, dice: Random) -> Plan:
    """Several hosts want one session."""
    plan = _storm(seed, dice)
    links = (0,) * dice.choice((2, 3))
    changes = {**plan.changes, "max_sessions": dice.choice((1, 1, 2))}
    actions = tuple(replace(each, who=dice.randrange(len(links))) for each in plan.actions)
    return replace(plan, theme="contest", links=links, changes=changes, actions=actions)
