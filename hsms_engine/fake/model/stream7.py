"""Stream 7: process programs.

A name (PPID) is compared by its bytes: a host may send it as A or as B. A process program that is
there already is replaced, as SEMI E30 has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hsms_engine.fake.model.asked import item_at
from hsms_engine.fake.model.bounds import PROGRAM_BYTES, PROGRAMS
from hsms_engine.fake.model.declared import LONGEST_TEXT
from hsms_engine.fake.model.live import LiveModel
from hsms_engine.message import Message
from hsms_engine.messages import (
    S7F1,
    S7F2,
    S7F3,
    S7F4,
    S7F5,
    S7F6,
    S7F17,
    S7F18,
    S7F19,
    S7F20,
    Function,
)
from hsms_engine.secs2 import A, L, Leaf, encode

# PPGNT
_NO_SPACE: Final = 2
_WRONG_PPID: Final = 3
# ACKC7
_NO_ROOM: Final = 3
_NO_SUCH_PPID: Final = 4
_WRONG_FORM: Final = 5


def _ppid(request: Message, *path: int) -> bytes:
    """The name at a place of a request of which the layout is right."""
    item = item_at(request, *path)
    assert isinstance(item, Leaf)
    return item.raw


def _is_name(name: bytes) -> bool:
    return 1 <= len(name) <= LONGEST_TEXT


def _has_room(live: LiveModel, name: bytes, size: int) -> bool:
    """Whether so many bytes have a place, that of the process program they replace too."""
    others = [len(encode(body)) for other, body in live.programs.items() if other != name]
    return len(others) < PROGRAMS and sum(others) + size <= PROGRAM_BYTES


def _may_be_sent(live: LiveModel, request: S7F1) -> Message:
    name = _ppid(request, 0)
    if not _is_name(name):
        return S7F2(_WRONG_PPID)
    return S7F2(0 if _has_room(live, name, request.length) else _NO_SPACE)


def _take(live: LiveModel, request: S7F3) -> Message:
    name, body = _ppid(request, 0), item_at(request, 1)
    if not _is_name(name):
        return S7F4(_NO_SUCH_PPID)
    if isinstance(body, L):
        # A formatted process program: that is S7F23.
        return S7F4(_WRONG_FORM)
    if not _has_room(live, name, len(encode(body))):
        return S7F4(_NO_ROOM)
    live.programs.put(name, body)
    return S7F4(0)


def _give(live: LiveModel, request: S7F5) -> Message:
    item = item_at(request)
    body = live.programs.get(_ppid(request))
    return S7F6() if body is None else S7F6(item, body)


def _delete(live: LiveModel, request: S7F17) -> Message:
    names = [_ppid(request, index) for index in range(len(request.ppids))]
    if any(each not in live.programs for each in names):
        return S7F18(_NO_SUCH_PPID)
    for each in names or [*live.programs]:
        live.programs.delete(each)
    return S7F18(0)


def _names(live: LiveModel, _: S7F19) -> Message:
    return S7F20(*[A(each) for each in live.programs])


ANSWERS: Final[Mapping[type[Function], Callable[[LiveModel, Any], Message]]] = {
    S7F1: _may_be_sent,
    S7F3: _take,
    S7F5: _give,
    S7F17: _delete,
    S7F19: _names,
}
