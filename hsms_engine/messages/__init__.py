"""The messages that every host and equipment exchange (SEMI E5 and E30), each as a class.

``S1F13()`` is a :class:`~hsms_engine.message.Message`; the W-bit is set where E5 wants a reply.
Arguments are values in E5's order, items or plain Python. An ``int`` becomes a U4 where that is
allowed, the type that most equipment uses, so write ``U2(7)`` where yours differs. Text beyond
ASCII needs its encoding: ``S10F3(0, "温度", text_encoding="gbk")``.

:func:`read` takes a message apart, so that ``match`` finds its parts::

    match read(primary):
        case S2F41(rcmd="START", parameters=parameters):
            recipe = dict(parameters).get("PPID")
        case S5F1(alcd, alid):
            is_set = bool(alcd & 0x80)

The parts are plain Python: of a list of any number a list, of a list of fixed fields a tuple, so
that of several values for one name none is lost. The items themselves are in ``item``.

:func:`check` tells how a message differs from the catalogue, :func:`describe` shows a function.
Every function raises ``ValueError`` or ``TypeError`` for a value that no item can be made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

from hsms_engine.message import Message
from hsms_engine.messages.function import Function as Function
from hsms_engine.messages.function import Groups as Groups
from hsms_engine.messages.function import LayoutError as LayoutError
from hsms_engine.messages.function import Pairs as Pairs
from hsms_engine.messages.function import Value as Value

# Each stream is a module, imported when one of its functions is named.
_FUNCTIONS: Final[Mapping[int, Iterable[int]]] = {
    1: range(1, 25),
    2: range(13, 51),
    5: range(1, 9),
    6: range(1, 31),
    7: (*range(1, 7), *range(17, 21)),
    9: range(1, 14, 2),
    10: range(1, 7),
}

_STREAMS: Final = {
    f"S{stream}F{function}": stream
    for stream, functions in _FUNCTIONS.items()
    for function in functions
}

NAMES: Final = tuple(_STREAMS)
"""The names of all functions, by stream and function."""

if TYPE_CHECKING:
    from hsms_engine.messages.stream1 import *  # noqa: F403
    from hsms_engine.messages.stream2 import *  # noqa: F403
    from hsms_engine.messages.stream5 import *  # noqa: F403
    from hsms_engine.messages.stream6 import *  # noqa: F403
    from hsms_engine.messages.stream7 import *  # noqa: F403
    from hsms_engine.messages.stream9 import *  # noqa: F403
    from hsms_engine.messages.stream10 import *  # noqa: F403
else:
    __all__ = [  # noqa: PLE0604  # NAMES are strings
        *NAMES,
        "NAMES",
        "Function",
        "Groups",
        "LayoutError",
        "Pairs",
        "Value",
        "check",
        "describe",
        "find",
        "read",
    ]

    # A type checker that saw it would take any name for one of the package.
    def __getattr__(name: str) -> object:
        if name not in _STREAMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # So that this is asked once for each name.
        found = globals()[name] = find(name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


def find(name: str) -> type[Function] | None:
    """The function of this name (``"S2F41"``), None when the catalogue does not have it."""
    if name not in _STREAMS:
        return None
    found: type[Function] = getattr(import_module(f"{__name__}.stream{_STREAMS[name]}"), name)
    return found


def read(message: Message) -> Message:
    """The same message as its function, for ``match``; as it is if the catalogue has none.

    It is read generously: a format that E5 does not allow is no error, only :func:`check` tells of
    it. Text is read in the ``text_encoding`` of the message. Reply to the primary itself, not to
    what this returns.

    Raises :class:`LayoutError`, which says why, when the body does not have the parts of the
    function, and :class:`~hsms_engine.secs2.DecodeError` when it is not SECS-II.
    """
    function = find(message.name)
    return message if function is None else function.of(message)


def check(message: Message) -> list[str]:
    """How a message differs from the catalogue: sentences with a path, none when it does not.

    ``S6F11 .item[2][0]: expected L, got A``. The W-bit, missing and additional items, formats,
    lengths, and codes without a meaning are told. Function 0 aborts a transaction, in any stream:
    it has no body. A body that is not SECS-II is a difference; the peer is told nothing of it.
    """
    if function := find(message.name):
        return list(function.differences(message))
    if message.function == 0:
        return [f"{message.name} .item: expected only a header"] if message.body else []
    return [f"{message.name}: the catalogue does not have it"]


def describe(name: str) -> str:
    """A page about the function of this name: what it is, its layout and codes, how to use it.

    ``s2f41`` is S2F41 too. Raises ``ValueError`` when the catalogue does not have it.
    """
    from hsms_engine.messages.pages import page

    function = find(name.upper())
    if function is None:
        raise ValueError(f"{name!r} is not in the catalogue: NAMES has what is")
    return page(function)
