"""Who has the sessions of a passive entity: HSMS-SS lets one connection be selected at a time."""

from __future__ import annotations


class Entity:
    """The sessions of one listening port. ``capacity`` connections may be selected together."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._selected: set[object] = set()

    def taken_for(self, connection: object) -> bool:
        """Whether ``connection`` would find no session left."""
        return connection not in self._selected and len(self._selected) >= self.capacity

    def take(self, connection: object) -> None:
        self._selected.add(connection)

    def give_back(self, connection: object) -> None:
        self._selected.remove(connection)
