"""A process as on another system: Python imports this at its start, from a folder on its path.

The modules named by ``OURS`` see the standard library as it is there: what ``$ELSEWHERE``, a JSON
file, says is missing is missing for them, whole modules, names and members of enumerations; and
``sys.platform`` has its value there. For the few names that only the other system has, Linux has
something that does the same. All other modules, also trio, see this system: they run on the other
one by code of their own, which cannot run here.
"""

import builtins
import enum
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

assert sys.platform == "linux"

OURS = frozenset({"hsms_engine", "statecharts", "statemachine"})


class Seen(ModuleType):
    """A module as it is seen elsewhere."""

    def __init__(self, real: ModuleType, gone: Sequence[str], given: Mapping[str, object]) -> None:
        super().__init__(real.__name__)
        self._real = real
        self._gone = frozenset(gone)
        vars(self).update(given)

    def __getattr__(self, name: str) -> object:
        if name in self._gone:
            raise AttributeError(f"{self._real.__name__} has no {name} elsewhere")
        return getattr(self._real, name)


def break_numbers() -> dict[str, int]:
    # Nobody else here uses this number.
    return {"SIGBREAK": signal.SIGUSR2, "CTRL_BREAK_EVENT": signal.SIGUSR2}


def fail(number: int) -> OSError:
    return OSError(number, os.strerror(number))


# What only Windows has, by something that does the same.
GIVEN: dict[str, dict[str, dict[str, Any]]] = {
    "darwin": {},
    "win32": {
        "ctypes": {"WinError": fail},
        "os": {"name": "nt"},
        "signal": break_numbers(),
        "signal.Signals": break_numbers(),
        # Linux lets a second listener have no port, with this option, that a first one has.
        "socket": {"SO_EXCLUSIVEADDRUSE": socket.SO_REUSEADDR},
        "subprocess": {"CREATE_NEW_PROCESS_GROUP": 0},
    },
}


# What trio does not hand on, because it means something else there.
HIDDEN = {"darwin": [], "win32": ["SO_REUSEADDR"]}


def go(platform: str, modules: Sequence[str], names: Mapping[str, Sequence[str]]) -> None:
    """From now on our modules are on ``platform``."""
    gone = {**names, "trio.socket": [*names["socket"], *HIDDEN[platform]]}
    given = {**GIVEN[platform], "sys": {"platform": platform}}
    seen: dict[str, ModuleType] = {}
    real_import = builtins.__import__

    def see(real: ModuleType) -> ModuleType:
        name = real.__name__
        if name not in seen:
            extra = dict(given.get(name, {}))
            extra |= {
                part: enumeration(getattr(real, part), gone[f"{name}.{part}"], given)
                for part in vars(real)
                if f"{name}.{part}" in gone and isinstance(getattr(real, part), enum.EnumType)
            }
            if name == "trio":
                extra["socket"] = see(sys.modules["trio.socket"])
            seen[name] = Seen(real, gone.get(name, ()), extra) if extra or name in gone else real
        return seen[name]

    def import_as_elsewhere(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        importer = (globals or {}).get("__package__")
        if str(importer).partition(".")[0] not in OURS or level:
            return real_import(name, globals, locals, fromlist, level)
        if name in modules:
            raise ModuleNotFoundError(f"No module named {name!r} elsewhere", name=name)
        return see(real_import(name, globals, locals, fromlist, level))

    builtins.__import__ = import_as_elsewhere


def enumeration(
    real: type[enum.Enum], gone: Sequence[str], given: Mapping[str, Mapping[str, Any]]
) -> type[enum.Enum]:
    """An enumeration of numbers with the members that it has elsewhere."""
    members = {name: each.value for name, each in real.__members__.items() if name not in gone}
    members |= given.get(f"{real.__module__}.{real.__name__}", {})
    return enum.EnumType.__call__(enum.IntEnum, real.__name__, members)


told = json.loads(Path(os.environ["ELSEWHERE"]).read_text(encoding="utf-8"))
go(told["platform"], told["modules"], told["names"])
