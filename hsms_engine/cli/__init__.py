"""The program ``hsms-engine``: one file here for each of its commands.

It needs the extra ``cli``. The library does not, so nothing else imports this package. ``program``
has the list of commands and what they share; a new command is a new file and a line there.
"""

from __future__ import annotations

from collections.abc import Sequence

from hsms_engine.process import complain

_EXTRA = frozenset({"typer", "rich"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code. ``argv`` defaults to the command line.

    Raises ``SystemExit`` for shell completion, and for a help text that cannot be written.
    """
    try:
        from hsms_engine.cli.program import run
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        complain(f"hsms-engine: {error.name} is not installed: pip install 'hsms-engine[cli]'")
        return 2
    return run(argv)
