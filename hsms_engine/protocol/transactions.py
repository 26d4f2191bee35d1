"""The open data transactions of one TCP connection, found by system bytes.

Each is run by the transaction chart, so it is settled exactly once: by its reply, T3, Reject.req,
SxF0, an error report of stream 9, the loss of its connection, or its caller's cancellation. Only a
secondary can be its reply.
All have the same T3, so the one that was written first expires first.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from hsms_engine.errors import HsmsError, NotTaken
from hsms_engine.message import Message
from statecharts import Machine, Snapshot, Start, Stop
from statecharts.hsms import TRANSACTION

MACHINE = Machine(TRANSACTION)

SYSTEM_BYTES = 2**32


class Transaction:
    """One request. ``outcome`` is set exactly when its chart is not in ``pending`` any more."""

    __slots__ = (
        "__weakref__",
        "function",
        "header",
        "misfit",
        "not_taken_before",
        "outcome",
        "queued_at_mark",
        "snapshot",
        "started_at",
        "stream",
        "system_bytes",
        "written_at_mark",
    )

    def __init__(self, system_bytes: int, stream: int, function: int) -> None:
        self.system_bytes = system_bytes
        self.stream = stream
        self.function = function
        self.snapshot: Snapshot = MACHINE.initial
        # The header of the primary, as it was sent.
        self.header = b""
        # How many messages this connection had not taken before; the latest of them since then that
        # has these system bytes.
        self.not_taken_before = 0
        self.misfit: NotTaken | None = None
        # How many bytes were queued on this connection before the primary, and with it.
        self.queued_at_mark = 0
        self.written_at_mark = 0
        # When T3 was started; unset until the primary is wholly written.
        self.started_at: float | None = None
        self.outcome: Message | HsmsError | None = None

    @property
    def name(self) -> str:
        """The primary's name: ``S1F13``."""
        return f"S{self.stream}F{self.function}"

    @property
    def session_id(self) -> int:
        """The session id with which the primary was sent."""
        return int.from_bytes(self.header[:2])

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

    def __init__(self, first: int) -> None:
        self._open: dict[int, Transaction] = {}
        self._next = first % SYSTEM_BYTES
        # In the order in which they were written, which is the order of expiry.
        self._awaiting: OrderedDict[int, Transaction] = OrderedDict()
        # Those whose primary is not wholly written, in the order of queueing.
        self._unwritten: deque[Transaction] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def take_system_bytes(self) -> int:
        """A number that no open transaction has, also after wrapping at 2**32."""
        number = self._next
        while number in self._open:
            number = (number + 1) % SYSTEM_BYTES
        self._next = (number + 1) % SYSTEM_BYTES
        return number

    def open(
        self, stream: int, function: int, before: int, mark: int, system_bytes: int
    ) -> Transaction:
        """A new transaction; its primary is what is queued from byte ``before`` to ``mark``."""
        transaction = Transaction(system_bytes, stream, function)
        transaction.queued_at_mark = before
        transaction.written_at_mark = mark
        self._open[transaction.system_bytes] = transaction
        self._unwritten.append(transaction)
        return transaction

    def find(self, system_bytes: int) -> Transaction | None:
        return self._open.get(system_bytes)

    def written(self, total: int, now: float) -> bool:
        """The first ``total`` bytes are written: T3 starts for every primary wholly among them.

        Returns whether it started for any.
        """
        unwritten = self._unwritten
        started = False
        while unwritten and unwritten[0].written_at_mark <= total:
            transaction = unwritten.popleft()
            if transaction.outcome is None:
                self._advance(transaction, "primary_written", now)
                started = True
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
        transaction.snapshot, effects, _ = MACHINE.step(transaction.snapshot, event)
        for effect in effects:
            match effect:
                case Start():
                    transaction.started_at = now
                    self._awaiting[transaction.system_bytes] = transaction
                case Stop():
                    del self._awaiting[transaction.system_bytes]
                case _:
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
