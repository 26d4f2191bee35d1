"""Two ends that write to each other's queue: a model whose states are single integers.

What an end can do depends only on that end and on a value that both share (is the cable cut?). What
it sends is appended to the other end. So the moves of each end are tables, filled when first
needed. A state of the whole is ``left, right, shared`` packed into one integer, and a move adds a
number to it. This makes the search fast and does not change what the rules say.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from .moves import Move, Moves

End = TypeVar("End", bound=Hashable)
Mail = TypeVar("Mail", bound=Hashable)

# Room for sixteen shared values, and for 2**28 different states of each end.
SHARED = 4
HALF = 28
SHARED_MASK = (1 << SHARED) - 1
HALF_MASK = (1 << HALF) - 1
_RIGHT = HALF_MASK << SHARED
_LEFT = _RIGHT << HALF
LEFT_KEY = _LEFT | SHARED_MASK
RIGHT_KEY = _RIGHT | SHARED_MASK


class Offer(NamedTuple, Generic[End, Mail]):
    """What an end can do: become ``after`` and send ``mail``, if the other end has room for it."""

    move: Move
    after: End
    mail: Mail | None = None


class Rules(Protocol[End, Mail]):
    """One end: what it can do, and what becomes of it when it gets mail."""

    @property
    def initial(self) -> End:
        """The end as it begins."""
        ...

    def offers(self, end: End, shared: int) -> Iterable[Offer[End, Mail]]:
        """What the end can do while the value that both share is ``shared``."""
        ...

    def receive(self, end: End, mail: Mail) -> End | None:
        """The end with the mail queued, or None when there is no room."""
        ...

    def describe(self, end: End) -> dict[str, str]:
        """The end as people read it: part to value."""
        ...


class _Post(dict[int, int | None], Generic[End, Mail]):
    """One mail: for each state of the other end, the change when the mail is queued there."""

    def __init__(self, table: Table[End, Mail], mail: Mail) -> None:
        super().__init__()
        self.table, self.mail = table, mail

    def __missing__(self, key: int) -> int | None:
        after = self.table.rules.receive(self.table.end(key), self.mail)
        change = self[key] = None if after is None else self.table.change(key, after)
        return change


Row = tuple[list[tuple[int, int]], list[tuple[int, int, dict[int, int | None]]]]


class Table(Generic[End, Mail]):
    """The numbered states of one end and, for each and each shared value, what it can do."""

    def __init__(self, rules: Rules[End, Mail], shift: int) -> None:
        self.rules = rules
        self.shift = shift
        self.ends: list[End] = []
        self.rows: dict[int, Row] = {}
        self._numbers: dict[End, int] = {}
        self._posts: dict[Mail, _Post[End, Mail]] = {}

    def number(self, end: End) -> int:
        if (known := self._numbers.get(end)) is None:
            known = self._numbers[end] = len(self.ends)
            self.ends.append(end)
        return known

    def end(self, state: int) -> End:
        return self.ends[(state >> self.shift) & HALF_MASK]

    def change(self, before: int, after: End) -> int:
        """The number to add to a state of the whole to replace this end."""
        return (self.number(after) - ((before >> self.shift) & HALF_MASK)) << self.shift

    def fill(self, key: int, moves: Moves, other: Table[End, Mail]) -> Row:
        """The row of an end: (move, change), or (move, change, post) when mail is sent."""
        row: Row = ([], [])
        for move, after, mail in self.rules.offers(self.end(key), key & SHARED_MASK):
            number, change = moves.number(move), self.change(key, after)
            if mail is None:
                row[0].append((number, change))
            else:
                row[1].append((number, change, other.post(mail)))
        self.rows[key] = row
        return row

    def post(self, mail: Mail) -> _Post[End, Mail]:
        if (known := self._posts.get(mail)) is None:
            known = self._posts[mail] = _Post(self, mail)
        return known


class Both(NamedTuple, Generic[End]):
    """A state of the whole, as properties read it."""

    left: End
    right: End
    shared: int


class Pair(Generic[End, Mail]):
    """The model of two ends. ``weather``: the moves that change the value they share."""

    def __init__(
        self,
        left: Rules[End, Mail],
        right: Rules[End, Mail],
        weather: Mapping[int, tuple[tuple[Move, int], ...]],
    ) -> None:
        self._numbers = Moves()
        self._left: Table[End, Mail] = Table(left, SHARED + HALF)
        self._right: Table[End, Mail] = Table(right, SHARED)
        self._weather = {
            value: [(self._numbers.number(move), after - value) for move, after in moves]
            for value, moves in weather.items()
        }

    @property
    def moves(self) -> list[Move]:
        """The moves met so far, by number."""
        return self._numbers.all

    @property
    def initial(self) -> tuple[int, ...]:
        """The one state in which both begin."""
        left = self._left.number(self._left.rules.initial) << (SHARED + HALF)
        return (left | self._right.number(self._right.rules.initial) << SHARED,)

    @property
    def rules(self) -> tuple[Rules[End, Mail], Rules[End, Mail]]:
        """Those of both ends."""
        return self._left.rules, self._right.rules

    def view(self, state: int) -> Both[End]:
        """The state as properties read it."""
        return Both(self._left.end(state), self._right.end(state), state & SHARED_MASK)

    def actions(self, state: int) -> list[tuple[int, int]]:
        """Each move from a state: its number, and the state after it."""
        out = [(move, state + change) for move, change in self._weather[state & SHARED_MASK]]
        self._act(state, state & LEFT_KEY, self._left, state & _RIGHT, self._right, out)
        self._act(state, state & RIGHT_KEY, self._right, state & _LEFT, self._left, out)
        return out

    def _act(
        self,
        state: int,
        key: int,
        mine: Table[End, Mail],
        other: int,
        theirs: Table[End, Mail],
        out: list[tuple[int, int]],
    ) -> None:
        plain, mailed = mine.rows.get(key) or mine.fill(key, self._numbers, theirs)
        out += [(move, state + change) for move, change in plain]
        for move, change, post in mailed:
            if (queued := post[other]) is not None:
                out.append((move, state + change + queued))

    def describe(self, state: int) -> dict[str, str]:
        """The state as people read it: part to value."""
        left, right, shared = self.view(state)
        return {
            **self._left.rules.describe(left),
            **self._right.rules.describe(right),
            "shared": str(shared),
        }
