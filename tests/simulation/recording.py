"""A run as a recording, in the format of ``hsms_engine.recording``: of one plan always the same.

* Nothing is drawn and nobody waits for it: a run that is recorded is the same run.
* Each line is written when it is told, so memory does not grow with the run.
* After a fault nothing follows but the step in which it was found.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TextIO

from hsms_engine.driver.driver import Driver
from hsms_engine.recorder.queue import Item
from hsms_engine.recorder.tap import Tap
from hsms_engine.recording import EndRecord, ErrorRecord, EventRecord, Record, head, line_of
from tests.simulation.clock import VirtualClock
from tests.simulation.plan import Plan, plan_text
from tests.support.told import NOTE, WALL

FAULT = "SimulationFault"
"""The error of what is not as it should be."""


class Recording:
    """Follows all ends of a run, and is the ``Sink`` of their taps."""

    def __init__(self, plan: Plan, clock: VirtualClock, file: TextIO) -> None:
        self.is_over = False
        self._clock = clock
        self._file = file
        self._error: OSError | None = None
        # In the order of their links, which count from 1.
        self._ends: dict[Driver, int] = {}
        # What was done to hosts that have no link yet.
        self._early: list[tuple[str, str]] = []
        # The same plan has the same, whatever its seed.
        self._write(head(*self._times(), sha256(plan_text(plan).encode()).hexdigest()[:16]))

    def follow(self, driver: Driver) -> None:
        """A driver was made, and has told nothing yet."""
        link = self._ends[driver] = len(self._ends) + 1
        name = driver.engine.settings.name
        server = name if driver._dial is None else None
        Tap(driver, link, self, server=server, wall=self._wall).attach()
        early, self._early = self._early, []
        for host, what in early:
            self.act(host, what)

    def act(self, host: str, what: str) -> None:
        """A user acts or something breaks, as the plan says. It is told of the latest link."""
        links = [each for each in self._ends if each.engine.settings.name == host]
        if links:
            self._write(EventRecord(*self._about(links[-1]), NOTE, {"what": what}))
        else:
            self._early.append((host, what))

    def heal(self, what: str) -> None:
        """From here on nothing breaks. It is told of all open ends."""
        for end in self._open():
            self._write(EventRecord(*self._about(end), NOTE, {"what": what}))

    def fail(self, why: str, driver: Driver | None) -> None:
        """The recording ends with a fault that was found at ``driver``; None: at all open ends."""
        for end in self._open() if driver is None else [driver]:
            self._write(ErrorRecord(*self._about(end), FAULT, why))
        self.end(f"{FAULT}: {why}")

    def end(self, why: str) -> None:
        """Nothing more is recorded."""
        self._write(EndRecord(*self._times(), why))
        self.is_over = True

    def check(self) -> None:
        """Raise the ``OSError`` that has ended it, if one has."""
        if self._error is not None:
            raise self._error

    # What a tap needs

    def put(self, item: Item, _size: int) -> None:
        """Write a line."""
        if self.is_over:
            return
        try:
            self._file.writelines((item,) if isinstance(item, str) else item())
        except OSError as error:
            # A driver removes what raises, and goes on.
            self._error, self.is_over = error, True

    def _write(self, record: Record) -> None:
        self.put(line_of(record), 0)

    def _open(self) -> list[Driver]:
        return [each for each in self._ends if not each.engine.is_closed]

    def _about(self, driver: Driver) -> tuple[float, float, int, int]:
        return *self._times(), self._ends[driver], driver.engine.epochs

    def _wall(self) -> float:
        return WALL + self._clock.now

    def _times(self) -> tuple[float, float]:
        return self._clock.now, self._wall()
