"""The program ``hsms-engine``: one file here for each of its commands.

It needs the extra ``cli``. The library does not, so nothing else imports this package. ``program``
has the list of commands and what they share; a new command is a new file and a line there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hsms_engine.process import fail

_EXTRA = frozenset({"typer", "rich"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code. ``argv`` defaults to the command line.

    Raises ``SystemExit`` for shell completion, and for a help text that cannot be written.
    """
    words = sys.argv[1:] if argv is None else argv
    # Looked for before the command line is read, because that may fail.
    as_json = not {"--json", "--json-items"}.isdisjoint(words)
    try:
        from hsms_engine.cli.program import run
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        why = f'{error.name} is not installed: in the folder of the source, pip install ".[cli]"'
        return fail("hsms-engine", why, 2, as_json=as_json)
    return run(words, as_json=as_json)
