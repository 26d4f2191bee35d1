"""``hsms-engine messages``: the messages of SECS-II that are known here, and all about one of them.

It prints pages for people, or one JSON object for each message.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hsms_engine import messages as catalogue
from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.options import AsJson
from hsms_engine.messages import pages
from hsms_engine.process import Process

_NOTES = """\
examples:
  hsms-engine messages
  hsms-engine messages S2F41
  hsms-engine messages S6F11 --json
"""


def messages(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="the only message to print, as S2F41")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print what messages there are, or what is in one of them."""
    names = catalogue.NAMES if name is None else (name.upper(),)
    functions = [found for each in names if (found := catalogue.find(each))]
    if not functions:
        raise CommandError(f"{name!r} is not in the catalogue; without NAME it is listed", 2)

    async def run(this: Process) -> int:
        for function in functions:
            if as_json:
                this.json(pages.facts(function))
            else:
                this.line(pages.row(function) if name is None else pages.page(function))
        return 0

    return process.run(run)


COMMAND = Command(messages, _NOTES)
