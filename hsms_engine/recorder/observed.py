"""What can be recorded: a link, a connection or a server, of any door. And where, within bounds."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from hsms_engine.driver.driver import Driver
from hsms_engine.protocol.engine import Engine
from hsms_engine.server import HsmsServer


class Observable(Protocol):
    """A link, a connection or a server, of any door."""

    @property
    def _source(self) -> Engine | HsmsServer: ...
    def _observe(self, attach: Callable[[Driver], None]) -> None: ...


class Attach(Protocol):
    """Follows what runs a link, which the server of this name has accepted, if any."""

    def __call__(self, driver: Driver, /, server: str | None = None) -> None: ...


@runtime_checkable
class Follower(Protocol):
    """What links can be recorded to: a ``Recorder``, a ``BlackBox``, or a page of
    ``hsms_engine.monitor``."""

    @property
    def attach(self) -> Attach:
        """Takes what runs a link, in its event loop."""


def observe(observable: Observable, attach: Attach) -> None:
    """Call ``attach`` with what runs it; of a server, with what runs each of its connections.

    Raises ``TypeError`` for what is neither, and ``WrongLoopError`` elsewhere than in its loop.
    """
    # Not every caller uses a type checker.
    source: object = getattr(observable, "_source", None)
    match source:
        case Engine():
            observable._observe(attach)
        case HsmsServer():
            name = source.settings.name or source.address
            observable._observe(partial(attach, server=name))
        case _:
            raise TypeError(f"{observable!r} is no link, connection or server")


def expect_from(least: int, value: float, name: str) -> None:
    """Raises ``ValueError`` for a bound that is no number from ``least`` on."""
    # Not every caller uses a type checker. NaN is not less than anything.
    given: object = value
    if type(given) not in (int, float) or not value >= least:
        raise ValueError(f"{name}={value!r} is no number from {least} on")


def whole_path(path: str | os.PathLike[str]) -> Path:
    """It as an absolute path. Raises ``ValueError`` for one that no system takes."""
    if "\0" in os.fspath(path):
        raise ValueError(f"{path!r} has a null character, which no name of a file has")
    return Path(path).absolute()
