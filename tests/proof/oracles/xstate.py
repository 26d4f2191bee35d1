"""Compares xstate's answers with ours, over every reachable (snapshot, event) of a machine.

A script walks each exported machine with the real package, from its start, along all events, so it
finds the reachable snapshots by itself. The next state, the values of the variables, the effects in
their order, and the refused events are compared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from statecharts.declare import Chart
from statecharts.export.xstate import (
    Timers,
    action_object,
    delayed,
    guards,
    inner_guards,
    machine_config,
    milliseconds,
)
from statecharts.machine import Machine, Snapshot

from .programs import Agreement, run


def install(oracle: Path) -> None:
    """Install what ``package.json`` pins, unless it is there. Raises ``OracleError``."""
    wanted = json.loads((oracle / "package.json").read_text(encoding="utf-8"))["dependencies"]
    for name, version in wanted.items():
        there = oracle / "node_modules" / name / "package.json"
        if (
            not there.is_file()
            or json.loads(there.read_text(encoding="utf-8"))["version"] != version
        ):
            quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
            run("npm", "install", *quiet, directory=oracle)
            return


def _events(chart: Chart, timers: Timers) -> dict[str, list[dict[str, str]]]:
    named: dict[str, list[dict[str, str]]] = {event: [{"type": event}] for event in chart.events}
    for timer in delayed(chart, timers):
        named[timer.expired] = [
            {"type": f"xstate.after.{milliseconds(timer)}.{state.id}", "state": state.id}
            for state in chart.walk()
            if state.timer == timer
        ]
    return named


def _request(machine: Machine, timers: Timers) -> dict[str, Any]:
    chart = machine.chart
    return {
        "config": machine_config(chart, timers, machine.parameters),
        "guards": guards(chart),
        "inner": inner_guards(chart) if timers == "after" else {},
        "events": _events(chart, timers),
    }


def _answer(machine: Machine, found: Mapping[str, Any]) -> Snapshot:
    return machine.snapshot(found["states"], (found["context"][name] for name in machine.highest))


def _run_on(actions: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The actions, where ``Keep`` has made the ``Stop`` before and the ``Start`` after it void."""
    found: list[Mapping[str, Any]] = []
    starts: list[Mapping[str, Any]] = []
    for action in actions:
        if action["type"] == "Keep":
            found.remove({"type": "Stop", "params": action["params"]})
            starts.append({"type": "Start", "params": action["params"]})
        elif action in starts:
            starts.remove(action)
        else:
            found.append(action)
    return found


def _parted(actions: Iterable[Mapping[str, Any]], chart: Chart) -> tuple[list[Any], Counter[str]]:
    """The effects in order, and separately the timers that are started and stopped.

    xstate starts a delayed transition after the other entry actions and cancels it after the other
    exit actions; the chart does both before them.
    """
    effects: list[Any] = []
    clocks: Counter[str] = Counter()
    owners = {state.id: state.timer for state in chart.walk() if state.timer}
    timers = {timer.id: timer for timer in chart.timers}
    for action in actions:
        match action:
            case {"type": "start", "params": str(told)}:
                delay, _, name = told.partition(" ")
                clocks[f"start {owners[name.rpartition('.')[2]].id} of {delay} ms"] += 1
            case {"type": "stop", "params": str(name)}:
                clocks[f"stop {owners[name.rpartition('.')[2]].id}"] += 1
            case {"type": "Start", "params": {"timer": str(id)}}:
                clocks[f"start {id} of {milliseconds(timers[id])} ms"] += 1
            case {"type": "Stop", "params": {"timer": str(id)}}:
                clocks[f"stop {id}"] += 1
            case _:
                effects.append(action)
    return effects, clocks


def _compare(machine: Machine, timers: Timers, rows: list[dict[str, Any]]) -> Agreement:
    chart = machine.chart
    differences: list[str] = []
    expected: set[tuple[Snapshot, str]] = {
        (snapshot, event) for snapshot in machine.reachable() for event in machine.events
    }
    agreed = 0
    for row in rows:
        if row["event"] is None:
            snapshot, event, effects = machine.initial, "the start", machine.initial_effects
            after: Snapshot | None = machine.initial
        else:
            snapshot, event = _answer(machine, row["from"]), row["event"]
            expected.discard((snapshot, event))
            step = machine.ask_library(snapshot, event)
            after, effects = (step.snapshot, step.effects) if step else (None, ())
        theirs = _answer(machine, row["to"]) if row["to"] else None
        ours: Any = [action_object(chart, effect) for effect in effects]
        actions: Any = _run_on(row["actions"])
        if timers == "after":
            ours, actions = _parted(ours, chart), _parted(actions, chart)
        if (after, ours) == (theirs, actions):
            agreed += 1
        else:
            differences.append(
                f"{chart.id} ({timers}), {event} in {snapshot}: "
                f"we go to {after} and ask {ours}, xstate goes to {theirs} and asks {actions}"
            )
    differences += [
        f"{chart.id} ({timers}): xstate never came to {snapshot}, {event}"
        for snapshot, event in sorted(expected, key=repr)
    ]
    return Agreement(agreed, tuple(differences))


def compare(machines: Iterable[Machine], oracle: Path) -> Agreement:
    """Each machine in both forms, every reachable (snapshot, event): next state, ordered effects.

    ``oracle`` is the folder of the script and of the installed packages.
    """
    forms: list[tuple[Machine, Timers]] = []
    for each in machines:
        forms += [(each, "events"), (each, "after")]
    given = json.dumps([_request(each, form) for each, form in forms])
    answers = json.loads(run("node", "explore.mjs", directory=oracle, given=given))
    found = [_compare(each, form, rows) for (each, form), rows in zip(forms, answers, strict=True)]
    return Agreement(
        sum(each.agreed for each in found),
        tuple(difference for each in found for difference in each.differences),
    )
