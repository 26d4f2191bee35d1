"""Tests made from a chart, for a program that must behave like it.

``tours`` gives walks that cover every edge, or every two edges in a row; ``drive`` leads a
``Subject`` along one; ``state_machine`` makes a hypothesis state machine; ``conforms`` compares a
recorded log with the charts.
"""

from .conforms import Deviation, Entry, conforms
from .stateful import state_machine
from .subject import Difference, MachineSubject, Subject, drive
from .tours import Stop, Tour, coverage, edges, tours

__all__ = [
    "Deviation",
    "Difference",
    "Entry",
    "MachineSubject",
    "Stop",
    "Subject",
    "Tour",
    "conforms",
    "coverage",
    "drive",
    "edges",
    "state_machine",
    "tours",
]
