"""Stream 10: text for the tool's terminal. There is one, 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hsms_engine.fake.model.live import LiveModel
from hsms_engine.message import Message
from hsms_engine.messages import S10F3, S10F4, Function

_NO_SUCH_TERMINAL: Final = 2


def _show(_live: LiveModel, request: S10F3) -> Message:
    return S10F4(0 if request.tid == 0 else _NO_SUCH_TERMINAL)


ANSWERS: Final[Mapping[type[Function], Callable[[LiveModel, Any], Message]]] = {S10F3: _show}
