"""What a process asks a store of leases, and what the store answers.

A store gives the lease of a name to one owner at a time, for ``duration`` seconds by its own clock.
Each time another owner gets it, its epoch grows: who sees a greater epoch knows that an earlier
owner is over (a fencing token). ``Lease`` is all that a link needs of a store, so another store is
another implementation of its four calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Granted:
    """The lease is ours for its duration, counted from the moment at which the store granted it.

    ``saved`` is what the latest owner has left (``HsmsLink.save`` as JSON), ``saved_age`` how long
    ago that was by the store's clock, in seconds. Nothing of it is trusted.
    """

    epoch: int
    saved: bytes | None = None
    saved_age: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """Another owner has it, for ``remaining`` more seconds unless it renews.

    ``owner`` is empty while the store, which has forgotten something, waits until each lease that
    it may have given is over.
    """

    owner: str
    epoch: int
    remaining: float


@dataclass(frozen=True, slots=True)
class Vacant:
    """Nobody has it. ``epoch``: that of the latest owner."""

    epoch: int


class Lease(Protocol):
    """The lease of one name, for one owner. A call may be cancelled; then it may have been done.

    Each call raises ``LeaseError`` when the store does not answer, or answers what it cannot mean.
    One call runs at a time, but for ``release``. All are made inside ``connected``.
    """

    @property
    def name(self) -> str:
        """What is owned: the tool."""
        ...

    @property
    def owner(self) -> str:
        """This owner's name, for people. A store tells owners of one name apart."""
        ...

    @property
    def duration(self) -> float:
        """How long a grant lasts, in seconds. All owners of a name have the same."""
        ...

    def connected(self) -> AbstractAsyncContextManager[None]:
        """What the calls need is there inside this block, and is given up at its end.

        The lease is made anywhere, in any thread; the block is entered by its user, in the run of
        trio in which the calls are made. To enter and to leave it waits for no store, so it raises
        no ``LeaseError``. After it, it may be entered again; a lease that is in use is refused with
        ``LocalProtocolError``.
        """
        ...

    async def acquire(self) -> Granted | Held:
        """Get the lease if nobody has it; who has it already gets it with a new epoch."""
        ...

    async def renew(self, epoch: int, saved: bytes) -> Granted | Held | Vacant:
        """Have it for ``duration`` from now, if nobody got it since ``epoch`` was granted.

        ``saved`` is left for the next owner.
        """
        ...

    async def release(self, epoch: int, saved: bytes | None) -> None:
        """Give it back, if ``epoch`` is in force still. ``None``: what was saved last stays."""
        ...

    def watch(self) -> AsyncGenerator[Held | Vacant, None]:
        """Who has it: at once, and when that changes. It never ends by itself: close it."""
        ...
