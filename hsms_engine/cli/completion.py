"""``hsms-engine completion``: what a shell needs to complete the words of a command line."""

from __future__ import annotations

from typing import Annotated

import typer

# typer's door to it, ``--show-completion``, takes the shell that it runs in, and no other.
from typer._completion_shared import get_completion_script

from hsms_engine import process
from hsms_engine.cli.command import Command
from hsms_engine.cli.options import checked
from hsms_engine.process import Process

_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

_NOTES = """\
To have it now: source <(hsms-engine completion bash). To have it always, for

  bash        write it to ~/.local/share/bash-completion/completions/hsms-engine
  zsh         write it to a file _hsms-engine in a folder of $fpath, before compinit
  fish        write it to ~/.config/fish/completions/hsms-engine.fish
  PowerShell  add it to the file $PROFILE

examples:
  hsms-engine completion bash > hsms-engine.bash
  hsms-engine completion zsh > _hsms-engine
  hsms-engine completion fish > hsms-engine.fish
  hsms-engine completion powershell >> profile.ps1
"""


def _shell(text: str) -> str:
    """Raises ``ValueError``."""
    return _SHELLS[_SHELLS.index(text)]


def completion(
    *,
    shell: Annotated[
        str,
        typer.Argument(
            parser=checked(_shell, f"one of {', '.join(_SHELLS)}"),
            metavar="SHELL",
            help=", ".join(_SHELLS),
            autocompletion=lambda: [*_SHELLS],
        ),
    ],
) -> int:
    """Print the script with which a shell completes the words of this program."""
    name = "hsms-engine"
    script = get_completion_script(
        prog_name=name, complete_var="_HSMS_ENGINE_COMPLETE", shell=shell
    )

    async def run(this: Process) -> int:
        this.line(script)
        return 0

    return process.run(run)


COMMAND = Command(completion, _NOTES)
