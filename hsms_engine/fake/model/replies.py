"""What a live model replies to the messages that read and change it.

Invariants:

* A host's message changes all that it asks for, or nothing.
* Off-line, only S1F13 and S1F17 are answered; every other primary is aborted with SxF0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hsms_engine.fake.model import stream1, stream2, stream5, stream6, stream7, stream10
from hsms_engine.fake.model.asked import TooManyError
from hsms_engine.fake.model.changes import IllegalData
from hsms_engine.fake.model.ids import Id
from hsms_engine.fake.model.live import LiveModel
from hsms_engine.message import Message
from hsms_engine.messages import Function, LayoutError
from hsms_engine.secs2 import DecodeError, L, SeveralItemsError

__all__ = ["KNOWN", "Replies"]

_Answer = Callable[[LiveModel, Any], Message]

_ANSWERS: Final[Mapping[tuple[int, int], tuple[type[Function], _Answer]]] = {
    function.numbers: (function, answer)
    for stream in (stream1, stream2, stream5, stream6, stream7, stream10)
    for function, answer in stream.ANSWERS.items()
}
_ANSWERED_OFF_LINE: Final = frozenset({(1, 13), (1, 17)})
_STATUS: Final = (1, 3)
# Requests for status of which the reply is kept, and the most bytes of one: a host that polls
# sends the same ones again and again.
_KEPT: Final = 8
_LONGEST_KEPT: Final = 8192

KNOWN: Final = frozenset(_ANSWERS) | {_STATUS}
"""The primaries that have a reply, by stream and function."""


@dataclass(slots=True, eq=False)
class _Asked:
    """A request for status: which variables, and the reply, made when ``version`` was that."""

    variables: tuple[Id | None, ...]
    has_clock: bool
    version: int
    reply: Message


class Replies:
    """The replies of one live model."""

    __slots__ = ("_asked", "_live", "_model")

    def __init__(self, live: LiveModel) -> None:
        self._live = live
        self._asked: dict[bytes, _Asked] = {}
        # What was asked stands for variables of this one.
        self._model = live.model

    def to(self, message: Message) -> Message | IllegalData | None:
        """What a primary gets; None: the model does not know it. What it asks for has been done.

        The reply is made also for a primary without W, which gets none.
        """
        numbers = message.stream, message.function
        if not message.is_primary:
            return None
        if self.aborts(message):
            return Message(message.stream, 0)
        try:
            if numbers == _STATUS:
                return self._status(message)
            if numbers not in _ANSWERS:
                return None
            function, answer = _ANSWERS[numbers]
            return answer(self._live, function.of(message))
        except TooManyError:
            return Message(message.stream, 0)
        except LayoutError as error:
            return IllegalData(str(error))
        except SeveralItemsError as error:
            return IllegalData(f"{message.name}: {error}")
        except DecodeError as error:
            return IllegalData(f"{message.name}: the body is no SECS-II: {error}", is_told=True)

    def aborts(self, primary: Message) -> bool:
        """Whether this primary is aborted with SxF0 and nothing is done: off-line, but for two."""
        numbers = primary.stream, primary.function
        return not self._live.is_online and numbers not in _ANSWERED_OFF_LINE

    def _status(self, message: Message) -> Message:
        """S1F4. The reply to the same request is the same message while no value changes."""
        body, live = message.body, self._live
        if self._model is not live.model:
            self._asked.clear()
            self._model = live.model
        asked = self._asked.get(body)
        if asked is not None:
            if asked.version != live.version or asked.has_clock:
                asked.reply = self._status_reply(asked.variables)
                asked.version = live.version
            return asked.reply
        variables = stream1.status_asked(live, message)
        has_clock = not set(live.model.sources["clock"]).isdisjoint(variables)
        reply = self._status_reply(variables)
        if len(body) <= _LONGEST_KEPT:
            if len(self._asked) >= _KEPT:
                del self._asked[next(iter(self._asked))]
            self._asked[body] = _Asked(variables, has_clock, live.version, reply)
        return reply

    def _status_reply(self, variables: Iterable[Id | None]) -> Message:
        live = self._live
        declared, values = live.model.variables, live.values
        # ``value_or_none``, without two calls for each.
        items = [
            values[vid]
            if vid is not None and declared[vid].source is None
            else live.value_or_none(vid)
            for vid in variables
        ]
        return Message(1, 4, item=L(*items))
