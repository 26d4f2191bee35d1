"""What the connections of one listening end share: its sessions, and the room for primaries.

In HSMS-SS only one connection may be selected at a time.
"""

from __future__ import annotations

from collections.abc import Callable


def _nothing_to_drop(_: int) -> bool:
    return False


class Entity:
    """One listening port. ``capacity`` connections may be selected together.

    ``drop`` drops the primaries that wait on some connection: the one that has been over for
    longest, or else an open one with more than so many bytes of them. It returns whether there was
    one.
    """

    def __init__(self, capacity: int, drop: Callable[[int], bool] = _nothing_to_drop) -> None:
        self.capacity = capacity
        self._drop = drop
        self._selected: set[object] = set()
        # Of the primaries that no program has taken, also of connections that are over.
        self.waiting_bytes = 0

    def taken_for(self, connection: object) -> bool:
        """Whether other connections have all sessions, so that none is free for ``connection``."""
        return connection not in self._selected and len(self._selected) >= self.capacity

    def take(self, connection: object) -> None:
        self._selected.add(connection)

    def give_back(self, connection: object) -> None:
        """The session is free, if ``connection`` had one."""
        self._selected.discard(connection)

    def make_room(self, size: int, limit: int, held: int) -> bool:
        """Whether ``size`` more bytes may wait on a connection that holds ``held`` bytes already.

        What waits on connections that are over, or that hold more, gives way. A single primary may
        be longer than ``limit``.
        """
        while self.waiting_bytes and self.waiting_bytes + size > limit:
            if not self._drop(held + size):
                return False
        return True
