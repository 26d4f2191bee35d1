"""Standard output as the commands write it: line by line, until it takes no more."""

from __future__ import annotations

import json

import typer

from hsms_engine.cli.command import CommandError


class Output:
    """Lines, each written at once.

    When a line cannot be written the command is over, and the one who wrote it is told so. It is
    told once: what is said while the command ends is lost, and does not join the first failure in
    an exception group.
    """

    def __init__(self) -> None:
        self._over = False

    def line(self, text: str) -> None:
        """Write one line.

        Raises ``typer.Exit`` when nobody reads it any more, ``CommandError`` when it cannot be
        written for another reason: a device that is full.
        """
        if self._over:
            return
        try:
            print(text, flush=True)
        except BrokenPipeError:
            self._over = True
            # Nothing is left to be said.
            raise typer.Exit(1) from None
        except OSError as error:
            self._over = True
            raise CommandError(f"cannot write the output: {error.strerror}") from error

    def json(self, told: dict[str, object]) -> None:
        """Write one JSON object on a line. Raises like ``line``."""
        self.line(json.dumps(told))
