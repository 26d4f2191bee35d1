"""The sessions of a passive entity: in HSMS-SS only one connection may be selected at a time."""

from __future__ import annotations


class Entity:
    """The sessions of one listening port. ``capacity`` connections may be selected together."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._selected: set[object] = set()

    def taken_for(self, connection: object) -> bool:
        """Whether other connections have all sessions, so that none is free for ``connection``."""
        return connection not in self._selected and len(self._selected) >= self.capacity

    def take(self, connection: object) -> None:
        self._selected.add(connection)

    def give_back(self, connection: object) -> None:
        self._selected.remove(connection)
