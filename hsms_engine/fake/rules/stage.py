"""What rules and charts act on: the tool, as they see it."""

from __future__ import annotations

from random import Random
from typing import Protocol

from hsms_engine.fake.model import Id, LiveModel
from hsms_engine.message import Message


class Stage(Protocol):
    """A tool: what it has, and what it can be made to do.

    Every call returns at once. What it sends leaves in the order of the calls, behind what was
    given to it before; when there is no host, that is told.
    """

    @property
    def model(self) -> LiveModel:
        """What it has now. A value that changes is told by the model to who made the tool."""
        ...

    @property
    def random(self) -> Random:
        """The only chance there is, from the seed of the tool."""
        ...

    def event(self, ceid: Id, /) -> None:
        """Send S6F11 with the reports that are linked, if the event is enabled."""
        ...

    def alarm(self, alid: Id, is_set: bool, /) -> None:
        """Send S5F1, if the alarm is enabled, and the event that goes with it."""
        ...

    def send(self, message: Message, /) -> None: ...

    def fault(self, behaviour: str, /) -> None:
        """Misbehave so, as ``Behaviours.parse`` reads it."""
        ...

    def heal(self) -> None:
        """End what ``fault`` has begun."""
        ...

    def separate(self) -> None: ...

    def tell(self, event: str, /, **details: object) -> None:
        """Say what has happened, to who watches the tool."""
        ...
