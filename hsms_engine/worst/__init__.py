"""The worst runs: how long two real ends take, on a virtual clock, when everything goes wrong.

``worst_run`` makes the run that takes as long as one of ``hsms_engine.bounds`` says, and draws it.
"""

from hsms_engine.worst.runs import Run, worst_run
from hsms_engine.worst.stage import Chance

__all__ = ["Chance", "Run", "worst_run"]
