"""Compares a log, in which a driver has recorded every step, with the charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..declare import Effect
from ..machine import Machine, NotAllowedError, Snapshot
from ..refusals import expect


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of one chart. ``before`` and ``after`` are written like ``Snapshot.leaves``."""

    chart: str
    event: str
    before: str
    after: str
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Deviation:
    """The entry that the chart would not make, and what the chart says instead."""

    number: int
    entry: Entry
    what: str

    def __str__(self) -> str:
        return f"entry {self.number}, {self.entry.chart} on {self.entry.event!r}: {self.what}"


def conforms(log: Iterable[Entry], machines: Mapping[str, Machine]) -> Deviation | None:
    """The first entry that the charts would not have made, or None.

    A log begins in the initial snapshots of the machines.
    """
    expect(machines, Mapping)
    here: dict[str, Snapshot] = {id: machine.initial for id, machine in machines.items()}
    for number, entry in enumerate(log, start=1):
        if entry.chart not in here:
            return Deviation(number, entry, "there is no such chart")
        now = here[entry.chart]
        if entry.before != now.leaves:
            return Deviation(number, entry, f"the chart was in {now.leaves}, not {entry.before}")
        try:
            after, effects, _ = machines[entry.chart].step(now, entry.event)
        except (NotAllowedError, KeyError) as error:
            return Deviation(number, entry, str(error))
        if entry.after != after.leaves:
            return Deviation(number, entry, f"leads to {after.leaves}, not to {entry.after}")
        if entry.effects != effects:
            return Deviation(number, entry, f"asks for {effects}, not for {entry.effects}")
        here[entry.chart] = after
    return None
