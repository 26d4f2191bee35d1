"""A command: a function whose parameters are typer's arguments and options.

This adds two things to typer. A parameter that is a dataclass stands for its fields, so that
commands can share groups of options (``options.Protocol``). And a command that fails raises
``CommandError`` with one sentence for the user; ``OutputError`` of ``process.run`` is made one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

import typer

from hsms_engine.process import OutputError


class CommandError(typer.TyperException):
    """A command failed. ``str`` is one sentence, ``exit_code`` 1 (failed) or 2 (wrong usage)."""

    def __init__(self, why: object, exit_code: int = 1, ctx: typer.Context | None = None) -> None:
        super().__init__(str(why))
        self.exit_code = exit_code
        self.ctx = ctx


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the program.

    ``run`` returns the exit code. Its name is the command's name, unless ``name`` is given, and its
    docstring is the help text. ``notes`` stand below the options, with their line breaks.
    """

    run: Callable[..., int]
    notes: str = ""
    name: str | None = None

    @property
    def call(self) -> Callable[..., int]:
        """``run`` for typer: the fields of option groups take the place of the groups."""
        parameters = _parameters(self.run)
        groups = {each.name: each.annotation for each in parameters if _is_group(each)}

        @wraps(self.run)
        def call(ctx: typer.Context, **given: Any) -> int:
            for name, group in groups.items():
                given[name] = group(
                    **{each.name: given.pop(each.name) for each in _parameters(group)}
                )
            try:
                return self.run(**given)
            except OutputError as error:
                raise CommandError(error, ctx=ctx) from error
            except CommandError as error:
                error.ctx = ctx
                raise

        flat = [Parameter("ctx", Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        for each in parameters:
            flat += _parameters(each.annotation) if each.name in groups else [each]
        # ``inspect.signature``, and so typer, looks here first.
        vars(call)["__signature__"] = Signature(
            [each.replace(kind=Parameter.KEYWORD_ONLY) for each in flat]
        )
        return call


@dataclass(frozen=True, slots=True)
class Group:
    """Commands that share a first word: ``hsms-engine sml check``."""

    name: str
    about: str
    commands: tuple[Command, ...]


def _is_group(parameter: Parameter) -> bool:
    return is_dataclass(parameter.annotation)


def _parameters(call: Callable[..., object]) -> list[Parameter]:
    return [*signature(call, eval_str=True).parameters.values()]
