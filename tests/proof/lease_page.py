"""Makes ``docs/lease-limits.md``: how long a take-over takes, and what no lease can promise.

The runs are counterexamples of searches (``lease_searches``), each a shortest one.
``python -m tests.proof.lease_page`` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from textwrap import fill

from statecharts.declare import Tell
from statecharts.draw import Message, fenced, sequence
from statecharts.explore.graph import Trace
from statecharts.explore.moves import Move
from statecharts.explore.timed import TICK
from statecharts.hsms.lease import LEASE
from statecharts.hsms.vocabulary import AskStore, ReleaseLease, StoreCall

from .lease_searches import LIMITS, SHORT, TAKEOVERS, Limit
from .leases import SIDES, Surroundings

PAGE = Path(__file__).parents[2] / "docs" / "lease-limits.md"

_WIDTH = 116
_TOP = (
    "`make diagrams` writes this page. [How the lease is proved](lease-proof.md) says what is "
    "claimed, in which surroundings, and what the words mean; each run here is the shortest one "
    "that a search has found. A and B are two processes. In these runs a tick is a fourth of a "
    "lease, and each clock may be wrong by a tick for each lease."
)
_LONGEST = (
    "The longest runs of searches in which all timers have clocks. Here a lease is {length} ticks, "
    "{poll} are between two attempts to get it, and a call is on its way for {delay}, as is its "
    "answer. The formulas of `hsms_engine.lease.bounds` say the same."
)
_LABELS = {timer.expired: f"after {timer.label}" for timer in LEASE.timers}
_FROM_STORE = {
    "lease_granted": "granted",
    "lease_refused": "refused",
    "lease_freed": "nobody has it",
}
_CALLS = {StoreCall.ACQUIRE: "acquire", StoreCall.RENEW: "renew"}


def page() -> str:
    """The text of the page."""
    parts = ["# What no lease can promise\n", _paragraph(_TOP), *(_limit(each) for each in LIMITS)]
    told = _LONGEST.format(length=SHORT.length, poll=SHORT.poll, delay=SHORT.delay)
    parts += ["## The longest take-overs\n", _paragraph(told)]
    for each in TAKEOVERS:
        _, run = each.search(SHORT)
        parts.append(f"### From {each.begins_with} to an enabled link: {run.ticks} ticks\n")
        parts.append(_drawn(run.trace, each.around))
    return "\n".join(parts)


def _limit(limit: Limit) -> str:
    trace = limit.counterexample()
    assert trace is not None
    return f"## {limit.name}\n\n{_paragraph(limit.says)}\n{_drawn(trace, limit.around)}"


def _paragraph(text: str) -> str:
    return fill(text, _WIDTH, break_on_hyphens=False) + "\n"


def _drawn(trace: Trace, around: Surroundings) -> str:
    actors = (*SIDES[:1], "store", *SIDES[1:], *(("tool",) if around.tool else ()))
    return fenced(sequence(_messages(trace), actors=actors))


def _messages(trace: Trace) -> Iterator[Message]:
    """The steps of a run. Ticks that follow each other are one line."""
    numbered = enumerate(trace.moves)
    for is_tick, group in groupby(numbered, key=lambda each: each[1] == TICK):
        steps = list(group)
        if is_tick:
            count = len(steps)
            yield Message("", "", f"{count} tick{'s' if count > 1 else ''} later")
            continue
        for at, move in steps:
            yield from _step(move, trace.parts[at], trace.parts[at + 1])


def _step(move: Move, before: dict[str, str], after: dict[str, str]) -> Iterator[Message]:
    """One move: what comes to its actor, and what it asks for then."""
    actor = move.actor
    words = _LABELS.get(move.event, move.event.replace("_", " ").removesuffix(" requested"))
    if actor not in SIDES:
        said = move.carries if move.event == "does a call" else str(move).partition(": ")[2]
        yield Message(actor, actor, said, _note(_store_notes(before, after)))
        return
    match move.event:
        case "lease_granted" | "lease_refused" | "lease_freed":
            source, words = "store", _FROM_STORE[move.event]
        case "store_failed":
            source, words = "store", "no answer"
        case _:
            source = actor
    target = "tool" if move.event == "gets the session" else actor
    yield Message(source, target, words, _note(_notes(move, actor, before, after)))
    for effect in move.effects:
        match effect:
            case AskStore(call) if call in _CALLS:
                yield Message(actor, "store", _CALLS[call])
            case ReleaseLease():
                yield Message(actor, "store", "release")
            case _:
                pass


def _note(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _store_notes(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    if before["store owner"] != after["store owner"]:
        yield f"owner: {after['store owner']}"
    if before["store quarantine"] == "0" != after["store quarantine"]:
        yield "quarantine begins"


def _notes(move: Move, actor: str, before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    state = f"{actor} state"
    if before[state] != after[state]:
        yield f"{actor}: {after[state]}"
    if Tell("enable_requested") in move.effects:
        yield "link enabled"
    if before[f"{actor} link"] != after[f"{actor} link"] == "rests":
        yield "link at rest"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
