"""The open data transactions of one TCP connection, found by system bytes.

Each is run by the transaction chart, so it is settled exactly once: by its reply, T3, Reject.req,
SxF0, an error report of stream 9, the loss of its connection, or its caller's cancellation. Only a
secondary can be its reply.
All have the same T3, so the one that was written first expires first.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import NamedTuple

from hsms_engine.errors import HsmsError, NotTaken
from hsms_engine.message import Message
from hsms_engine.tolerances import DIRECTION
from hsms_engine.wire import WAIT, data_prefix
from statecharts import Machine, Snapshot, Start, Stop
from statecharts.hsms import TRANSACTION
from statecharts.hsms.vocabulary import SettleTransaction

MACHINE = Machine.linted(TRANSACTION)

SYSTEM_BYTES = 2**32


class _Turn(NamedTuple):
    """What one step of the chart asks of the table."""

    steps: _Steps
    starts: bool
    stops: bool
    settles: bool


class _Steps(dict[str, _Turn]):
    """The steps from one snapshot of the chart, by event; each is decided when first needed."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def __missing__(self, event: str) -> _Turn:
        """Raises ``NotAllowedError`` when no step is allowed."""
        after, effects, _ = MACHINE.step(self.snapshot, event)
        starts = any(isinstance(effect, Start) for effect in effects)
        stops = any(isinstance(effect, Stop) for effect in effects)
        turn = _Turn(_steps_from(after), starts, stops, SettleTransaction() in effects)
        self[event] = turn
        return turn


_steps_from = cache(_Steps)
_FIRST = _steps_from(MACHINE.initial)


class Transaction:
    """One request. ``outcome`` is set exactly when its chart is not in ``pending`` any more."""

    __slots__ = (
        "__weakref__",
        "function",
        "misfit",
        "not_taken_before",
        "outcome",
        "queued_at_mark",
        "session_id",
        "started_at",
        "steps",
        "stream",
        "system_bytes",
        "written_at_mark",
    )

    def __init__(
        self,
        system_bytes: int,
        stream: int,
        function: int,
        session_id: int,
        queued_at_mark: int,
        written_at_mark: int,
        not_taken_before: int,
    ) -> None:
        self.system_bytes = system_bytes
        self.stream = stream
        self.function = function
        # That with which the primary was sent.
        self.session_id = session_id
        self.steps = _FIRST
        # How many bytes were queued on this connection before the primary, and with it.
        self.queued_at_mark = queued_at_mark
        self.written_at_mark = written_at_mark
        # How many messages this connection had not taken before; the latest of them since then that
        # has these system bytes.
        self.not_taken_before = not_taken_before
        self.misfit: NotTaken | None = None
        # When T3 was started; unset until the primary is wholly written.
        self.started_at: float | None = None
        self.outcome: Message | HsmsError | None = None

    @property
    def name(self) -> str:
        """The primary's name: ``S1F13``."""
        return f"S{self.stream}F{self.function}"

    @property
    def device_id(self) -> int:
        """The device id in its session id."""
        return self.session_id & ~DIRECTION

    @property
    def header(self) -> bytes:
        """The header of the primary, as it was sent."""
        byte2 = self.stream | WAIT
        return data_prefix(self.session_id, byte2, self.function, self.system_bytes, 0)[4:]

    @property
    def is_settled(self) -> bool:
        """Whether it has its outcome."""
        return self.outcome is not None

    def reply(self) -> Message:
        """The reply, when it is settled. Raises the error with which it has failed."""
        outcome = self.outcome
        if isinstance(outcome, Message):
            return outcome
        assert outcome is not None
        raise outcome


class Transactions:
    """The table of one connection, and the one source of its system bytes."""

    __slots__ = ("_awaiting", "_next", "_open", "_unwritten")

    def __init__(self, first: int) -> None:
        self._open: dict[int, Transaction] = {}
        self._next = first % SYSTEM_BYTES
        # In the order in which they were written, which is the order of expiry.
        self._awaiting: OrderedDict[int, Transaction] = OrderedDict()
        # Those whose primary is not wholly written, in the order of queueing.
        self._unwritten: list[Transaction] = []

    def __len__(self) -> int:
        return len(self._open)

    def take_system_bytes(self) -> int:
        """A number that no open transaction has, also after wrapping at 2**32."""
        number = self._next
        while number in self._open:
            number = (number + 1) % SYSTEM_BYTES
        self._next = (number + 1) % SYSTEM_BYTES
        return number

    def open(self, transaction: Transaction) -> None:
        """A new transaction, whose primary is queued."""
        self._open[transaction.system_bytes] = transaction
        self._unwritten.append(transaction)

    def find(self, system_bytes: int) -> Transaction | None:
        return self._open.get(system_bytes)

    def written(self, total: int, now: float) -> bool:
        """The first ``total`` bytes are written: T3 starts for every primary wholly among them.

        Returns whether it started for any.
        """
        started, count = False, 0
        for transaction in self._unwritten:
            if transaction.written_at_mark > total:
                break
            count += 1
            if transaction.outcome is None:
                self._advance(transaction, "primary_written", now)
                started = True
        # All at once: a list is small, but each deletion at its front moves all the rest.
        if count:
            del self._unwritten[:count]
        return started

    def settle(self, transaction: Transaction, event: str, outcome: Message | HsmsError) -> None:
        """``event`` settles the transaction with ``outcome``."""
        transaction.outcome = outcome
        # Only the start of T3 uses the time, and no outcome starts T3.
        self._advance(transaction, event, 0.0)

    def _advance(self, transaction: Transaction, event: str, now: float) -> None:
        """Run the chart and do what it asks for.

        Raises ``NotAllowedError`` when the transaction is settled already.
        """
        transaction.steps, starts, stops, settles = transaction.steps[event]
        if starts:
            transaction.started_at = now
            self._awaiting[transaction.system_bytes] = transaction
        if stops:
            del self._awaiting[transaction.system_bytes]
        if settles:
            del self._open[transaction.system_bytes]

    def all_open(self) -> list[Transaction]:
        """The open transactions, the oldest first."""
        return list(self._open.values())

    def oldest_start(self) -> float | None:
        """When T3 was started for the transaction that expires next, if any."""
        for transaction in self._awaiting.values():
            return transaction.started_at
        return None

    def postpone(self, transaction: Transaction, now: float) -> None:
        """T3 starts again: until now other bytes before its primary were being taken."""
        transaction.started_at = now
        self._awaiting.move_to_end(transaction.system_bytes)

    def expired(self, now: float, t3: float) -> Transaction | None:
        """The oldest transaction whose T3, of ``t3`` seconds, is over at ``now``."""
        for transaction in self._awaiting.values():
            started = transaction.started_at
            return transaction if started is not None and started + t3 <= now else None
        return None
