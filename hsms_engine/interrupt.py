"""Ctrl-C while a program of this package starts: it ends at once, quietly, with exit code 130.

Nothing is open yet, and Python's own answer would be a traceback out of some import. The package
imports this module first, because Python imports the package before any program in it; until then
Python itself starts, and shows its traceback. Where another program uses the package, nothing is
changed. ``process`` takes over while a program runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from signal import SIGINT, default_int_handler, getsignal, signal

# The names of the console script: on POSIX, and the two that Windows may give it.
_SCRIPTS = frozenset({"hsms-engine", "hsms-engine.exe", "hsms-engine-script.py"})


def starts_program(arguments: Sequence[str], original: Sequence[str]) -> bool:
    """Whether ``sys.argv`` and ``sys.orig_argv`` start a program of this package."""
    match arguments:
        case ["-m", *_]:
            # Python has not found the module yet. Its name is the word before its arguments.
            module = original[-len(arguments)].removeprefix("-m")
            return module.partition(".")[0] == "hsms_engine"
        case [path, *_]:
            return path.replace("\\", "/").rpartition("/")[2] in _SCRIPTS
        case _:
            return False


def _end(_number: int, _frame: object) -> None:
    os._exit(128 + SIGINT)


# Who started it may have it ignore Ctrl-C, as a shell does for a job in the background.
if starts_program(sys.argv, sys.orig_argv) and getsignal(SIGINT) is default_int_handler:
    signal(SIGINT, _end)
