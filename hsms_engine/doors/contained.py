"""Functions of the program that run beside it: what is meant for its main thread stays in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def contained(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, but what is no ``Exception``, such as ``SystemExit``, is raised as one.

    It would end the trio thread, and all links of the program with it. Raises ``TypeError`` at once
    when ``function`` cannot be called, or only be awaited.
    """
    if not callable(function):
        raise TypeError(f"{function!r} is no function")
    if iscoroutinefunction(function):
        raise TypeError(
            f"{function!r} is async: hsms_engine.aio and hsms_engine take such functions"
        )

    @wraps(function, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except Exception:
            raise
        except BaseException as error:
            raise RuntimeError(f"it has raised {type(error).__name__}") from error

    return call
