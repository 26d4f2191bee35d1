"""The program ``hsms-engine``: one file here for each of its commands.

It stands on the extra ``cli``, which the library does without, so nothing else imports this room.
``program`` has the list of commands and what all of them share; a new one is a file and a line
there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_EXTRA = frozenset({"typer", "rich"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code. ``argv`` defaults to the command line.

    A shell that asks for completions, and a help text that nobody reads, get ``SystemExit``.
    """
    try:
        from hsms_engine.cli.program import run
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(
            f"hsms-engine: {error.name} is not installed: pip install 'hsms-engine[cli]'",
            file=sys.stderr,
            flush=True,
        )
        return 2
    return run(argv)
