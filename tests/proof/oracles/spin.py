"""Asks Spin and our own search the same questions about the same models.

Both search everything, without reductions, and must give the same number of states, the same number
of transitions and the same verdict.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from statecharts.explore.graph import Graph
from statecharts.export.promela import Implication, offered
from statecharts.router import Router

from ..binding import Bind, machine
from ..model import Scenario, two_ends
from .programs import OracleError, run


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a complete search. After a violation the numbers have no meaning."""

    states: int
    transitions: int
    violated: bool


_STORED = re.compile(r"^\s*(\d+) states, stored", re.MULTILINE)
_TRANSITIONS = re.compile(r"^\s*(\d+) transitions", re.MULTILINE)
_ERRORS = re.compile(r"errors: (\d+)")


def spin(model: str) -> Verification:
    """Spin's verdict, from a complete search without reductions."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "model.pml").write_text(model, encoding="utf-8")
        run("spin", "-a", "model.pml", directory=directory)
        # The program is long and runs only for a short time: optimising it would cost more.
        options = ("-O0", "-w", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=2048")
        run("cc", *options, "-o", "pan", "pan.c", directory=directory)
        # -E: a state without a move out is not an error here; -m: as deep as needed.
        told = run("./pan", "-E", "-m1000000", directory=directory)
    found = [each.search(told) for each in (_STORED, _TRANSITIONS, _ERRORS)]
    numbers = [int(each[1]) for each in found if each]
    if len(numbers) != len(found) or "max search depth too small" in told:
        raise OracleError(f"spin did not search the whole:\n{told}")
    # Spin counts the start as a transition.
    return Verification(numbers[0], numbers[1] - 1, violated=numbers[2] > 0)


def search(router: Router, invariant: Implication | None = None) -> Verification:
    """Our own verdict on a system in surroundings that cause any event it takes, at any time."""
    events = offered(router.system)
    known, transitions = {router.initial: None}, 0
    queue = [router.initial]
    for snapshot in queue:
        for event in events:
            if router.takes(snapshot, event):
                transitions += 1
                after = router.step(snapshot, event).snapshot
                if after not in known:
                    known[after] = None
                    queue.append(after)
    violated = invariant is not None and not all(map(invariant.holds, queue))
    return Verification(len(queue), transitions, violated)


def search_two_ends(
    scenario: Scenario, bind: Bind = machine, invariant: Implication | None = None
) -> Verification:
    """Our own verdict on two ends and a cable."""
    model = two_ends(scenario, bind)
    graph = Graph(model)
    numbers = graph.statistics()
    violated = invariant is not None and not all(
        invariant.holds(model.view(state).left.snapshot) for state in graph.states
    )
    return Verification(numbers.states, numbers.transitions, violated)
