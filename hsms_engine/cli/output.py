"""Standard output of the commands, line by line, until it cannot be written any more."""

from __future__ import annotations

import json

import typer

from hsms_engine.cli.command import CommandError


class Output:
    """Lines, each written at once.

    When a line cannot be written, the caller gets an exception and the command stops. Only the
    first such line raises: later lines are dropped, so that no second exception makes a group.
    """

    def __init__(self) -> None:
        self._over = False

    def line(self, text: str) -> None:
        """Write one line.

        Raises ``typer.Exit`` when the reader has closed the pipe, ``CommandError`` when the line
        cannot be written for another reason, such as a full device.
        """
        if self._over:
            return
        try:
            print(text, flush=True)
        except BrokenPipeError:
            self._over = True
            # The reader has closed the pipe: there is nobody to tell.
            raise typer.Exit(1) from None
        except OSError as error:
            self._over = True
            raise CommandError(f"cannot write the output: {error.strerror}") from error

    def json(self, told: dict[str, object]) -> None:
        """Write one JSON object on a line. Raises like ``line``."""
        self.line(json.dumps(told))
