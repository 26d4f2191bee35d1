"""The one door to ``logging``: what a log does wrong ends no connection.

A handler may raise: its disk is full, the directory of its file is gone, an encoder fails. That is
reported as ``logging`` itself reports it, on stderr when ``logging.raiseExceptions`` is set, and
the caller goes on.

What a peer has sent may be in a text, so control characters and line breaks are escaped. Errors are
logged as text, because a log record that is kept must not keep the connection.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from inspect import unwrap
from typing import Literal

from hsms_engine.errors import HsmsError

# The life of the links, and what a person should look at.
LINK = logging.getLogger("hsms_engine.link")


def quieten(logger: logging.Logger) -> None:
    """Log nothing below INFO, unless somebody has chosen a level for this logger.

    For a library that does not log by ``say``: a handler that raises there would end a link.
    """
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


# At DEBUG it says several lines for each new decision, in the midst of a step.
quieten(logging.getLogger("statemachine"))
_reporter = logging.Handler()
_NO_FACTS: Mapping[str, object] = {}


def say(
    logger: logging.Logger,
    level: int,
    text: str,
    *values: str | float,
    error: BaseException | None = None,
    facts: Mapping[str, object] = _NO_FACTS,
) -> None:
    """Log ``text % values``, and the traceback of ``error`` below it, if the level is on.

    ``facts`` become attributes of the record.
    """
    if not logger.isEnabledFor(level):
        return
    shown = tuple(escaped(each) if isinstance(each, str) else each for each in values)
    if error is not None:
        text += "\n%s"
        shown = (*shown, _indented("".join(traceback.format_exception(error))))
    hand_over(logger, level, text, shown, facts)


def hand_over(
    logger: logging.Logger,
    level: int,
    text: str,
    values: tuple[str | float, ...],
    facts: Mapping[str, object],
) -> None:
    """``say`` for a level that is on, and values that are escaped.

    The record has no line of a source: to find that costs more than all the rest.
    """
    try:
        record = logger.makeRecord(logger.name, level, __file__, 0, text, values, None)
        vars(record).update(facts)
        logger.handle(record)
    except Exception:  # noqa: BLE001  # whatever a handler, a filter or a factory of records raises
        failed = logging.LogRecord(logger.name, level, __file__, 0, text, values, None)
        with suppress(Exception):
            _reporter.handleError(failed)


@dataclass(frozen=True, slots=True)
class Teller:
    """Writes lines of ``hsms_engine.link``. ``link`` stands before each; both are its facts.

    ``epoch`` is the number of the connection, 0 when the line is about none.
    """

    link: str
    epoch: int

    def say(
        self, level: int, text: str, *values: str | float, error: BaseException | None = None
    ) -> None:
        """Log ``text % values``, and the traceback of ``error`` below it."""
        facts = {"link": self.link, "epoch": self.epoch}
        say(LINK, level, f"%s: {text}", self.link, *values, error=error, facts=facts)

    def say_raised(
        self,
        what: str,
        errors: ExceptionGroup[Exception],
        then: str = "",
        level: int = logging.INFO,
    ) -> None:
        """Log what nobody awaits: that ``what`` ended by an ``HsmsError``, at ``level``, or failed.

        ``then``: what follows from it, in words.
        """
        expected, defects = errors.split(HsmsError)
        if expected is not None and LINK.isEnabledFor(level):
            why = "; ".join(str(error) for error in expected.exceptions)
            self.say(level, "%s ended: %s%s", what, why, then)
        if defects is not None:
            self.say_defect(f"{what} failed{then}", defects)

    def say_defect(self, failed: str, errors: ExceptionGroup[Exception]) -> None:
        """Log errors that nobody awaits, as ``failed`` at ERROR."""
        self.say(logging.ERROR, "%s:", failed, error=alone(errors))


def link_name(name: str, peer: str, end: Literal["active", "passive"]) -> str:
    """How logs name a link, or a connection of a server: ``etcher-1 10.1.2.3:5000 active``."""
    return f"{name} {peer} {end}" if name else f"{peer} {end}"


def name_of(function: Callable[..., object]) -> str:
    """How people call a function of the program."""
    # The doors wrap what they are given.
    match unwrap(function):
        case partial(func=inner):
            return name_of(inner)
        case other:
            return str(getattr(other, "__name__", type(other).__name__))


def alone(errors: ExceptionGroup[Exception]) -> Exception:
    """The one error in ``errors``, or all of them."""
    return errors.exceptions[0] if len(errors.exceptions) == 1 else errors


def escaped(text: str) -> str:
    """``text`` in one line, with an escape for each character that is not printable."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def _indented(text: str) -> str:
    """Several lines, none of which can be taken for a record."""
    return "\n".join(f"  {escaped(line)}" for line in text.rstrip("\n").split("\n"))
