"""Exhaustive search of charts, alone or joined by a network, and what can be claimed of them."""

from .alone import Alone, Here, May, MisfitError, Outside, TimersOnly, alone
from .checking import Checker, Outcome, Verdict
from .graph import BrokenModelError, Graph, Statistics, TooManyStatesError, Trace
from .moves import ImpossibleMoveError, Kind, Model, Move, Moves
from .pair import Both, Offer, Pair, Rules
from .properties import (
    WHATEVER,
    Always,
    Assumption,
    Between,
    CanAlwaysReach,
    EveryStep,
    LeadsTo,
    Possible,
    Property,
    Sometimes,
    Stays,
)

__all__ = [
    "WHATEVER",
    "Alone",
    "Always",
    "Assumption",
    "Between",
    "Both",
    "BrokenModelError",
    "CanAlwaysReach",
    "Checker",
    "EveryStep",
    "Graph",
    "Here",
    "ImpossibleMoveError",
    "Kind",
    "LeadsTo",
    "May",
    "MisfitError",
    "Model",
    "Move",
    "Moves",
    "Offer",
    "Outcome",
    "Outside",
    "Pair",
    "Possible",
    "Property",
    "Rules",
    "Sometimes",
    "Statistics",
    "Stays",
    "TimersOnly",
    "TooManyStatesError",
    "Trace",
    "Verdict",
    "alone",
]
