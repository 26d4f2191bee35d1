"""What ``serve_fake`` is given to be: the tools, and the settings that follow from them."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import assert_never

from hsms_engine.fake.file import ToolFile, default_tool, read_tool_file
from hsms_engine.fake.model import Model
from hsms_engine.fake.plan import ToolPlan
from hsms_engine.settings import Settings

__all__ = ["AnyTool", "addressed", "planned"]

AnyTool = ToolFile | ToolPlan | tuple[ToolPlan, ...] | Model | str | PathLike[str] | None
"""A file, what was read from one, a model, or None: the tool that comes with the engine."""

# Read once: its model and its rules can be shared.
_shipped = cache(default_tool)


def planned(tool: AnyTool) -> tuple[Settings, tuple[ToolPlan, ...]]:
    """What to be, and the settings that come with it, but for the port, which the system chooses.

    Raises ``TomlError`` and ``OSError`` for a file that is bad, ``ValueError`` for several ports.
    """
    match tool:
        case None:
            return Settings(port=0), _shipped().tools
        case Model():
            return Settings(port=0), (ToolPlan(tool),)
        case ToolPlan():
            return Settings(port=0), (tool,)
        case tuple():
            return Settings(port=0), tool
        case ToolFile():
            file = tool
        case str() | PathLike():
            file = _read(tool)
        case _:
            assert_never(tool)
    if len({each.port for each in file.tools}) > 1:
        names = ", ".join(each.name for each in file.tools)
        raise ValueError(
            f"{file.path} has tools of several ports: serve_fake has one, so give it one of them: "
            f"tool=read_tool_file(...).tools[0]; there are {names}"
        )
    return file.settings.replace(port=0), file.tools


def _read(path: str | PathLike[str]) -> ToolFile:
    """A file. Who gives a path in the working folder may not know which that is."""
    given = Path(path)
    if not given.is_absolute() and not given.exists():
        why = f"no such file in the folder {str(Path.cwd())!r}"
        raise FileNotFoundError(errno.ENOENT, why, str(path))
    return read_tool_file(path)


def addressed(settings: Settings, plans: Sequence[ToolPlan]) -> Settings:
    """The settings with which these tools are found by their session ids."""
    first, *others = plans
    if first.session_id is not None:
        settings = settings.replace(session_id=first.session_id)
    # Each message has the session id of its tool, and who asks for another gets S9F1 from us.
    return settings.replace(check_session_id=False) if others else settings
