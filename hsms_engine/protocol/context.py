"""The data that the parts of one engine share: settings in force, clock, connection, counts.

Times are seconds of the monotonic clock. ``epoch`` is set exactly while TCP is open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from random import Random

from hsms_engine.message import Message
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.outputs import Outputs
from hsms_engine.protocol.traffic import FRAME_BYTES, WRONG_SESSION, Traffic
from hsms_engine.settings import Settings
from hsms_engine.tolerances import DIRECTION, Tolerance
from hsms_engine.wire import SECS_II, Frame, SType


class Context:
    """The shared data of one engine; its parts read and change it."""

    __slots__ = (
        "_name_peer",
        "addresses",
        "clock",
        "counters",
        "epoch",
        "epochs",
        "outputs",
        "peer",
        "random",
        "session_ids",
        "settings",
        "tell_unreadable",
        "tried",
        "watched",
        "watching",
        "written_direction",
        "written_session_id",
    )

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        random: Random,
        name_peer: Callable[[Settings], str],
    ) -> None:
        self.use(settings)
        self.clock = clock
        self.random = random
        self._name_peer = name_peer
        # The peer's name in messages to people.
        self.peer = name_peer(settings)
        # Those of this end and of the peer, of the latest connection.
        self.addresses = "", ""
        # What has become of each address that the latest dial tries, if it tries several.
        self.tried: Mapping[str, str] = {}
        self.epoch: Epoch | None = None
        # Those that the certificate of the peer may use; None: any.
        self.session_ids: frozenset[int] | None = None
        # Called, in any thread, when the program has found a message unreadable.
        self.tell_unreadable: Callable[[], None] = ignore
        # Whether somebody wants to see the messages; asked for each received piece and each sent
        # frame. ``bool()`` is False: nobody does. And its answer for the latest piece.
        self.watched: Callable[[], bool] = bool
        self.watching = False
        # How many TCP connections there were; the number of the latest one.
        self.epochs = 0
        # By the names in ``COUNTERS``: everything that is dropped is counted. No ``Counter``, which
        # takes three times as long to count.
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.outputs = Outputs()

    def use(self, settings: Settings) -> None:
        """These are the settings in force."""
        self.settings = settings
        writes_direction = settings.write_direction_bit and settings.is_equipment
        # Computed once, because each message that goes out has it.
        self.written_direction = DIRECTION if writes_direction else 0
        self.written_session_id = settings.session_id | self.written_direction

    def begin_attempt(self) -> None:
        """TCP is dialled, with the address that is now in the settings."""
        self.peer = self._name_peer(self.settings)

    def begin_epoch(self) -> None:
        """TCP is open."""
        self.epochs += 1
        self.epoch = Epoch(
            self.epochs,
            self.clock(),
            max_frame=self.settings.max_frame,
            first_system_bytes=self.random.getrandbits(32),
        )
        self.epoch.unreadable.tell = self.tell_unreadable

    def note_read(
        self,
        epoch: Epoch,
        frame: Frame,
        message: Message | None,
        tolerated: tuple[Tolerance, ...],
        *,
        cut: int = 0,
        passed_over: str | None = None,
        since: float | None = None,
    ) -> None:
        """A message was read, and what is ``tolerated`` in it, which is counted.

        It comes out when somebody watches, or when it is the first of its connection that deviates
        so, or is passed over so for its session id.
        """
        for each in tolerated:
            self.counters[each.counter] += 1
        kinds = [each.name for each in tolerated]
        if passed_over in WRONG_SESSION:
            kinds.append(passed_over)
        first_of = epoch.meet(kinds)
        if self.watching or first_of:
            self.note(
                frame,
                message,
                cut=cut,
                passed_over=passed_over,
                since=since,
                tolerated=tolerated,
                first_of=first_of,
            )

    def note(
        self,
        frame: Frame,
        message: Message | None = None,
        *,
        sent: bool = False,
        cut: int = 0,
        passed_over: str | None = None,
        since: float | None = None,
        tolerated: tuple[Tolerance, ...] = (),
        first_of: tuple[str, ...] = (),
    ) -> None:
        """Put out a message of the latest connection, for those who watch.

        ``cut``: how many bytes of its body were not kept. ``since``: when its request was made.
        """
        session_id, byte2, byte3, ptype, stype, system_bytes, body = frame
        if message is None and not cut and stype == SType.DATA and ptype == SECS_II:
            message = Message.received(
                frame.stream,
                byte3,
                frame.wait,
                body,
                session_id,
                system_bytes,
                self.settings.text_encoding,
            )
        now = self.clock()
        self.outputs.put(
            Traffic(
                now,
                self.epochs,
                self.peer,
                sent,
                Frame(session_id, byte2, byte3, ptype, stype, system_bytes, b"") if body else frame,
                FRAME_BYTES + len(body) + cut,
                message,
                passed_over,
                None if since is None else now - since,
                tolerated,
                first_of,
            )
        )

    def end_epoch(self) -> None:
        """TCP is closed."""
        if self.epoch is not None:
            self.epoch.unreadable.tell = None
            self.epoch = None


def ignore() -> None:
    """Nobody is to be told."""
