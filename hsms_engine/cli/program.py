"""The commands of the program, and its exit codes.

Exit codes: 0 done; 1 failed (the network, the peer, the output); 2 wrong usage; 128 and its number
for a signal, so 130 for Ctrl-C; ``fake``, ``fleet``, ``listen`` and ``proxy`` end with 0 then. Each
failure is one line on standard error, or with ``--json`` one object on standard output. Help is
plain text; on a wide terminal it is drawn with rich.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from shutil import get_terminal_size
from typing import Annotated, assert_never

import typer
from rich.markup import escape

from hsms_engine import __version__
from hsms_engine.cli.command import Command, Group
from hsms_engine.process import OutputError, drop, fail, require_output

_NAME = "hsms-engine"
COMMANDS: tuple[str, ...] = (
    "bounds",
    "completion",
    "connect",
    "fake",
    "fleet",
    "health",
    "listen",
    "messages",
    "monitor",
    "proxy",
    "record",
    "replay",
    "run",
    "settings",
    "sml",
)
"""The commands: each is ``COMMAND`` in the module here that has its name."""
# In fewer columns rich cuts the names of options.
_DRAWN_FROM = 100
# The command line that a shell wants completed, as its script hands it on.
_COMPLETED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")


def app_of(names: Sequence[str]) -> typer.Typer:
    """The program with these commands, and no others."""
    on_terminal = (
        sys.stdout is not None
        and sys.stdout.isatty()
        and get_terminal_size().columns >= _DRAWN_FROM
    )
    app = typer.Typer(
        help="HSMS (SEMI E37) from the command line.",
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich" if on_terminal else None,
        # Any other exception is a bug of ours: its traceback is shown as Python writes it.
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name in names:
        each: Command | Group = import_module(f"hsms_engine.cli.{name}").COMMAND
        match each:
            case Command():
                _add(app, each, on_terminal)
            case Group():
                group = typer.Typer(help=each.about)
                for command in each.commands:
                    _add(group, command, on_terminal)
                app.add_typer(group, name=each.name)
            case _:
                assert_never(each)
    return app


def run(argv: Sequence[str], *, as_json: bool) -> int:
    """Run one command line and return the exit code. ``as_json``: errors too are objects."""
    app = app_of(_needed(argv))
    try:
        require_output()
        # typer gives 130 for KeyboardInterrupt, and exits with 1 when a help text is not read.
        code: int = app(argv, prog_name=_NAME, standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else _NAME
        # What is said about the output cannot be said there.
        is_output = isinstance(error.__cause__, OutputError)
        why = error.format_message()
        return fail(where, why, error.exit_code, as_json=as_json, on_stderr=is_output)
    except OutputError as error:
        return fail(_NAME, error, 1, as_json=as_json, on_stderr=True)
    except OSError as error:
        # A help text for a full device, or an error of the system that no command handles.
        fail(_NAME, error, 1, as_json=as_json, on_stderr=True)
        drop(sys.stdout)
        return 1
    return code


def _needed(argv: Sequence[str]) -> tuple[str, ...]:
    """The commands that must be imported: each takes its time, and health is asked often."""
    if argv[:1] == ["--version"]:
        return ()
    # A shell asks without arguments.
    completed = next((os.environ[each] for each in _COMPLETED if each in os.environ), "")
    words = [*argv] or completed.split()[1:]
    named = next((each for each in words if not each.startswith("-")), None)
    # All are listed by help, and looked through for a name that is like the one that was given.
    return (named,) if named in COMMANDS else COMMANDS


def _add(app: typer.Typer, command: Command, on_terminal: bool) -> None:
    app.command(command.name, epilog=_as_it_is(command.notes, on_terminal))(command.call)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{_NAME} {__version__}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def _as_it_is(text: str, on_terminal: bool) -> str:
    """A text whose line breaks must stay, in the markup of the help renderer."""
    if on_terminal:
        return escape(text)
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in text.split("\n\n"))
