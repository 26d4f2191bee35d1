"""What the connections of one listening end share: its sessions, and the room for primaries.

In HSMS-SS only one connection may be selected at a time.
"""

from __future__ import annotations

from collections.abc import Callable


def _nothing_to_drop(_: int) -> bool:
    return False


def _always(_: int) -> bool:
    return True


class Entity:
    """One listening port. ``capacity`` connections may be selected together.

    ``drop`` drops the primaries that wait on some connection: the one that has been over for
    longest, or else an open one with more than so many bytes of them. It returns whether there was
    one. ``can_serve`` says whether the program can serve another session, when so many have begun
    that it does not serve yet.
    """

    def __init__(
        self,
        capacity: int,
        drop: Callable[[int], bool] = _nothing_to_drop,
        can_serve: Callable[[int], bool] = _always,
    ) -> None:
        self.capacity = capacity
        self._drop = drop
        self._can_serve = can_serve
        self._selected: set[object] = set()
        # Those that the program serves, perhaps after the end of their session.
        self._served: set[object] = set()
        # Of the primaries that no program has taken, also of connections that are over.
        self.waiting_bytes = 0

    def taken_for(self, connection: object) -> bool:
        """Whether others have all sessions, or what they need: none is free for ``connection``."""
        if connection in self._selected:
            return False
        if self.is_full:
            return True
        return connection not in self._served and not self._can_serve(
            len(self._selected - self._served)
        )

    @property
    def is_full(self) -> bool:
        """Whether all sessions are taken."""
        return len(self._selected) >= self.capacity

    def take(self, connection: object) -> None:
        """The connection has a session from now on."""
        self._selected.add(connection)

    def give_back(self, connection: object) -> None:
        """The session is free, if ``connection`` had one."""
        self._selected.discard(connection)

    def serve(self, connection: object) -> None:
        """The program begins to serve it."""
        self._served.add(connection)

    def leave(self, connection: object) -> None:
        """The program serves it no more."""
        self._served.discard(connection)

    def make_room(self, size: int, limit: int, held: int) -> bool:
        """Whether ``size`` more bytes may wait on a connection that holds ``held`` bytes already.

        What waits on connections that are over, or that hold more, gives way. A single primary may
        be longer than ``limit``.
        """
        while self.waiting_bytes and self.waiting_bytes + size > limit:
            if not self._drop(held + size):
                return False
        return True
