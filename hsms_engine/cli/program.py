"""The commands of the program, and its exit codes.

Exit codes: 0 done; 1 failed (the network, the peer, the output); 2 wrong usage; 128 and its number
for a signal, so 130 for Ctrl-C; ``fake`` ends with 0 then. Each failure is one line on standard
error. Help is plain text; on a terminal it is drawn with rich.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.markup import escape

from hsms_engine.cli import bounds, connect, fake
from hsms_engine.process import OutputError, complain, drop, require_output

_NAME = "hsms-engine"
COMMANDS = (
    fake.COMMAND,
    connect.COMMAND,
    bounds.COMMAND,
)


def run(argv: Sequence[str] | None) -> int:
    """Run one command line and return the exit code."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    app = typer.Typer(
        help="HSMS (SEMI E37) from the command line.",
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich" if on_terminal else None,
        # Any other exception is a bug of ours: its traceback is shown as Python writes it.
        pretty_exceptions_enable=False,
    )
    for each in COMMANDS:
        app.command(epilog=_as_it_is(each.notes, on_terminal))(each.call)
    try:
        require_output()
        # typer gives 130 for KeyboardInterrupt, and exits with 1 when a help text is not read.
        code: int = app(argv, prog_name=_NAME, standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else _NAME
        # The name of a file may contain a newline, and so may a message of typer.
        why = " ".join(error.format_message().splitlines())
        complain(f"{where}: {why}")
        return error.exit_code
    except OutputError as error:
        complain(f"{_NAME}: {error}")
        return 1
    except OSError as error:
        # A help text for a full device, or an error of the system that no command handles.
        complain(f"{_NAME}: {error}")
        drop(sys.stdout)
        return 1
    return code


def _as_it_is(text: str, on_terminal: bool) -> str:
    """A text whose line breaks must stay, in the markup of the help renderer."""
    if on_terminal:
        return escape(text)
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in text.split("\n\n"))
