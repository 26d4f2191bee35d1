"""Engines among chance: any bytes, calls in any state, what comes out taken late or in parts.

A run is a byte string: each byte is one choice. So a seed (``of_seed``), a file of the corpus and
what a fuzzer makes are all the same. ``Outside`` is the programs, the streams and the peers at
once, of one link, or of up to three connections at one listening end. A link may have a lease, of
a store that answers what it likes, when it likes.

What must hold is checked at every step: only calls of the program raise, and only ``HsmsError``;
what comes out can be done; each step is one of the charts; what is written is what an end of HSMS
may say (``Conversation``); nothing is due for ever or told too late; what is kept is bounded by the
settings, whatever comes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TypeVar

from hsms_engine import AbortedError, HsmsError, Message, Settings, protocol
from hsms_engine.errors import LeaseError
from hsms_engine.events import (
    Doubtful,
    Draining,
    LinkEvent,
    Owning,
    Standby,
    UnexpectedSecondary,
    Withdrawn,
)
from hsms_engine.protocol import Engine, Entity, LeaseTimes, OwnedEngine, Primary, saving
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.exchange import RESERVE, RESERVE_UNSELECTED
from hsms_engine.protocol.leasing import DEADLINES
from hsms_engine.protocol.routers import machine_for
from hsms_engine.secs2 import DecodeError
from statecharts.hsms import BREAKER
from tests.support.legal_sender import Conversation, Header
from tests.support.raw_peer import data, raw
from tests.support.replay import Replay

_T = TypeVar("_T")
_CALLS = ("disable", "isolate", "release", "reset_breaker", "enable")
_ASKS = ("linktest", "deselect", "select")
# The lease of a link, and the states that each event of it tells.
_LEASE = LeaseTimes(10)
_TOLD: dict[type[LinkEvent] | None, tuple[str, ...]] = {
    None: ("withdrawn",),
    Withdrawn: ("withdrawn",),
    Standby: ("standby", "acquiring"),
    Owning: ("owner",),
    Doubtful: ("doubtful",),
    Draining: ("draining",),
}
# Two clocks that are the same give sums that are nearly the same.
_ROUNDING = 1e-9
# How often a run may send thousands of frames at once.
_FLOODS = 2
# Of a body that is dropped, this much may be kept, with its header.
_FEW_BYTES = 32
# The headers that are kept to tell why a request has no reply.
_FEW_HEADERS = 32


# The first byte of a run with a lease.
OWNED = 3


class Chance:
    """Choices out of a byte string. When it is used up, each choice is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_left(self) -> bool:
        return self._at < len(self._data)

    def bytes(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken.ljust(count, b"\0")

    def below(self, most: int) -> int:
        return int.from_bytes(self.bytes(1 if most <= 256 else 3)) % most

    def pick(self, choices: Sequence[_T]) -> _T:
        return choices[self.below(len(choices))]


class _Dice(Random):
    """The engine's random numbers, from the same source."""

    def __init__(self, chance: Chance) -> None:
        super().__init__(0)
        self._chance = chance

    def random(self) -> float:
        return self._chance.below(256) / 256

    def getrandbits(self, count: int, /) -> int:
        # Small, or about to wrap.
        most: int = 2**count - 1
        return self._chance.pick((0, most, most - 1, 7))


def of_seed(seed: int, size: int = 1_500) -> bytes:
    """The byte string of a seed."""
    return Random(seed).randbytes(size)


class End:
    """One engine and what it meets. ``tcp``, ``unwritten`` and ``sent`` are what came out of it."""

    def __init__(self, outside: Outside, *, kept: protocol.Kept | None = None) -> None:
        self._outside, self.chance = outside, outside.chance
        self._settings = outside.settings()
        self.tcp, self.unwritten, self.written, self.finished = "closed", 0, 0, False
        self.dialled = False
        self.piece = b""
        self.sent: list[Header] = []
        self.open: list[protocol.Transaction | protocol.ControlTransaction] = []
        self.primaries: list[Primary] = []
        self.counts: dict[str, int] = {}
        self.waiting = (0, 0)
        # The messages that came out: primaries, replies, SxF0 and secondaries nobody waits for.
        self.came = 0
        self.sessions: set[int] = set()
        self.may_differ = False
        self.was_equipment = False
        self._talk = Conversation()
        self._is_watched = self.chance.below(4) == 0
        system = protocol.ACTIVE_LINK if outside.entity is None else protocol.PASSIVE_LINK
        self.store: Store | None = None
        if outside.is_owned:
            system = protocol.OWNED_LINK
            engine = OwnedEngine(
                self._settings,
                lease=_LEASE,
                lease_clock=outside.lease_time,
                clock=lambda: outside.now,
                random=_Dice(self.chance),
                peer=lambda _: "x",
                kept=kept,
            )
            self.engine: Engine = engine
            self.store = Store(engine, outside)
        else:
            self.engine = Engine(
                system,
                self._settings,
                clock=lambda: outside.now,
                random=_Dice(self.chance),
                peer=lambda _: "x",
                entity=outside.entity,
                single_use=outside.single_use,
                kept=kept,
            )
        self._replay = Replay(system)
        self.engine.watch(lambda: self._is_watched)
        if outside.entity is None and self.chance.below(4):
            self.engine.enable()

    # What happens

    def step(self) -> None:
        for_a_program = (self.call, self.message, self.read)
        happens: tuple[Callable[[], None], ...] = (
            *(self.wait, self.write, self.change_tcp, self.change_tcp),
            *(self.receive, self.receive, self.receive, self.message, *for_a_program),
        )
        if self.store is not None:
            happens += (*[self.store.answer] * 6, self.store.sleep)
        doing = self.chance.pick(happens)
        if doing in for_a_program:
            with suppress(HsmsError):
                doing()
        else:
            doing()
        if self.store is not None and doing in (self.wait, self.write, self.store.answer):
            self.store.judged()

    def wait(self) -> None:
        outside, due = self._outside, self.engine.next_due()
        ahead = self.chance.pick((0.01, 0.01, -1e-6, 0.0, 1e-6, 3.0))
        is_soon = ahead == 0.01 or due == math.inf
        outside.now = max(outside.now, outside.now + 0.01 if is_soon else due + ahead)
        for _ in range(10):
            self.engine.tick()
            if self.engine.next_due() > outside.now:
                assert not self.engine.is_due()
                return
        raise AssertionError("it is due for ever")

    def call(self) -> None:
        chance, engine = self.chance, self.engine
        match chance.below(9):
            case 0:
                engine.configure(self._outside.settings())
            case 1 if self.open:
                given_up = chance.pick(self.open)
                if not given_up.is_settled:
                    self.open.remove(given_up)
                engine.abandon(given_up)
            case 2 | 3:
                self.open.append(getattr(engine, chance.pick(_ASKS))())
            case 4 | 5:
                getattr(engine, chance.pick(_CALLS))()
            case 6 if chance.below(8) == 0:
                engine.close()
            case 7 if chance.below(8) == 0:
                engine.fail("the driver says so")
            case 8 if self._outside.entity is not None:
                engine.session_wanted()
            case _:
                engine.enable()

    def message(self) -> None:
        match self.chance.below(6):
            case 0 | 1 | 2 | 3 if self.primaries:
                primary = self.primaries.pop(self.chance.below(len(self.primaries)))
                self.engine.take(primary)
                function = self.chance.pick((primary.function + 1, 0)) % 256
                self.engine.reply(primary, Message(primary.stream, function))
            case 4:
                size = self.chance.pick((0, 9, 100_000))
                self.engine.send(Message(6, 11, body=bytes(size)))
            case _:
                self.open.append(self.engine.request(Message(1, 1, wait=True, body=bytes(9))))

    def read(self) -> None:
        """The program takes what waits, drops it or finds it unreadable."""
        for _ in range(min(len(self.primaries), self.chance.below(4))):
            primary = self.primaries.pop(0)
            match self.chance.below(3):
                case 0:
                    self.engine.drop(primary)
                case 1:
                    self.engine.take(primary)
                    with suppress(DecodeError):
                        repr(primary.item)
                case _:
                    self.engine.take(primary)
        self.engine.report_unreadable()

    def write(self) -> None:
        count = self.chance.pick((0, self.unwritten // 2, self.unwritten))
        self.unwritten -= count
        self.written += count
        self.engine.wrote(count)
        if self.chance.below(2):
            self.engine.acknowledged(self.chance.pick((0, self.written, self.written // 2)))

    def change_tcp(self) -> None:
        self.drain()
        engine = self.engine
        if self.tcp == "opening":
            if not self.dialled:
                self.dialled = True
                engine.dial_began()
            elif self.chance.below(5) == 0:
                self.tcp = "closed"
                engine.tcp_failed(ConnectionRefusedError(111, "Connection refused"))
            else:
                self.connect()
                engine.tcp_opened()
        elif engine.phase == "listening":
            self.connect()
            engine.tcp_accepted()
        elif self.chance.below(12) == 1:
            engine.tcp_closed(self.chance.pick((None, ConnectionResetError(104, "Reset"))))
        elif self.tcp == "closed":
            # Reports that come late, of what is over.
            engine.tcp_closed()
            engine.wrote(0)

    def connect(self) -> None:
        self.tcp, self.finished, self.sent, self.piece = "open", False, [], b""
        self.unwritten = self.written = 0
        self._talk = Conversation()
        self.sessions, self.may_differ, self.was_equipment = set(), False, False

    def receive(self) -> None:
        """A piece comes: whole frames, and perhaps a part of the next, or not all that has come."""
        chance = self.chance
        if not self.piece:
            count = chance.pick((1, 1, 1, 1, 1, 1, 2, 3, 40, 1_300))
            if count == 1_300 and not self._outside.may_flood():
                count = 1
            self.piece = b"".join(self.frame() for _ in range(min(count, 3)))
            self.piece *= max(1, count // 3)
        cut = chance.below(10)
        at = len(self.piece) if cut else chance.below(len(self.piece) + 1)
        now, self.piece = self.piece[:at], self.piece[at:]
        start = 0
        while start < len(now):
            most = chance.pick((None, None, 1, self.engine.room(len(now) - start)))
            before = start
            self.engine.may_overflow(len(now) - start)
            start = self.engine.receive(now, start, most)
            if self.tcp == "open":
                # Perhaps not any more, but what follows has not come out.
                self._talk.heard(now[before:start], self.engine.settings.max_frame)
            if most == 0:
                return

    def frame(self) -> bytes:
        """An answer to what was sent, a request, or anything at all."""
        chance = self.chance
        pick = chance.pick
        system = pick((0, 2**32 - 1, 5))
        body = pick((b"", b"", b"\xff\xff\xff", b"\x41\x02hi", bytes(700)))
        asked = [each for each in self.sent[-8:] if each.stype in (1, 3, 5) or each.byte2 & 0x80]
        calm = self._outside.is_calm
        if calm and not (asked or self.engine.is_selected):
            return raw(pick((1, 1, 1, 1, 5)), system)
        match chance.below(6 if calm else 8):
            case 0 | 1 | 2 if asked:
                to = pick(asked)
                if to.stype:
                    return raw(to.stype + 1, to.system, byte3=0 if calm else pick((0, 0, 1, 2)))
                return data(1, pick((2, 2, 0, 4)), to.system, body=body)
            case 3 if asked:
                to = pick(asked)
                header = raw(
                    to.stype, to.system, session=to.session, byte2=to.byte2, byte3=to.byte3
                )[4:]
                if pick((True, False)):
                    return data(9, pick((1, 3, 5, 7, 9, 11)), system, body=b"\x21\x0a" + header)
                return raw(7, to.system, byte2=to.stype, byte3=pick((1, 2, 3, 4, 9)))
            case 4:
                return raw(pick((1, 1, 1, 5) if calm else (1, 1, 3, 5, 5, 9)), system)
            case 0 | 1 | 2 | 3 | 5:
                wait, session = pick((True, True, False)), pick((0, 0, 0, 0, 1))
                function = pick((1, 1, 3, 13, 2, 0))
                return data(
                    *(pick((1, 6, 9)), function, system), wait=wait, body=body, session=session
                )
            case _:
                byte2, byte3, ptype, stype, kind = chance.bytes(5)
                length = pick((0, 9, 2**32 - 1, 13)) if kind < 8 else None
                session = pick((0, 0xFFFF))
                return raw(
                    *(stype, system),
                    session=session,
                    byte2=byte2,
                    byte3=byte3,
                    ptype=ptype if kind < 40 else 0,
                    body=body,
                    length=length,
                )

    # What follows

    def drain(self) -> None:
        settings = self.engine.settings
        self.sessions.add(settings.session_id)
        self.may_differ = self.may_differ or not settings.check_session_id
        self.was_equipment = self.was_equipment or settings.is_equipment
        while (output := self.engine.next_output()) is not None:
            match output:
                case bytes():
                    assert (self.tcp, self.finished) == ("open", False)
                    self.unwritten += len(output)
                    self.sent += self._talk.said(
                        output,
                        more=self.engine.has_bytes,
                        sessions=self.sessions,
                        may_differ=self.may_differ,
                        is_equipment=self.was_equipment,
                    )
                case protocol.Transaction() | protocol.ControlTransaction():
                    assert output.is_settled
                    # Once, and not when it was abandoned before.
                    self.open.remove(output)
                    self._settled(output)
                case Primary():
                    self.primaries.append(output)
                    self.came += 1
                case UnexpectedSecondary():
                    self.came += 1
                case protocol.Step():
                    self._replay.take(output)
                case protocol.OpenTcp():
                    assert self.tcp == "closed"
                    self.tcp, self.dialled = "opening", False
                case protocol.CloseTcp():
                    assert self.tcp == "open"
                    self.tcp, self.unwritten = "closed", 0
                case protocol.AbandonTcp():
                    # A deadline of the lease is judged before the report that the dial is over.
                    assert self.tcp == "opening" or self.store is not None
                    self.tcp, self.unwritten = "closed", 0
                case protocol.ResetTcp():
                    assert self.tcp == "closed"
                case protocol.FinishTcp():
                    assert (self.tcp, self.finished) == ("open", False)
                    self.finished = True
                case protocol.ContestSession():
                    self._outside.contest(self)
                case _ if self.store is not None:
                    self.store.take(output, self.tcp)
        if self.store is not None:
            self.store.hold()
        counts = self.engine.statistics().counts
        unfit = counts["foreign_session_id"] + counts["primaries_without_room"]
        assert counts["messages_received"] == self.came + unfit, "each message comes out once"
        if self.tcp == "open":
            if not self.finished:
                self._talk.settle()
            assert self._talk.is_selected or not self.engine.is_selected

    def _settled(self, transaction: protocol.Transaction | protocol.ControlTransaction) -> None:
        match transaction:
            case protocol.Transaction(outcome=Message() as reply, stream=stream, function=primary):
                assert (reply.stream, reply.function) == (stream, primary + 1), "it is its reply"
                self.came += 1
            case protocol.Transaction(outcome=AbortedError()):
                self.came += 1
            case _:
                pass

    def hold(self) -> None:
        """What holds between any two steps. Only this looks behind the door."""
        engine, found = self.engine, self.engine.statistics()
        life, context, epoch = engine._life, engine._context, engine._context.epoch
        assert life.defect is None, life.defect
        running = set(life.timers.started)
        if self._outside.asleep:
            # What the clock of a lease has counted meanwhile is seen with the next call.
            running -= set(DEADLINES)
        dues = [life.timers.due(timer) for timer in running]
        if epoch is not None:
            oldest = epoch.transactions.oldest_start()
            dues += [] if oldest is None else [oldest + engine.settings.t3]
            queued = sum(map(len, context.outputs.pieces))
            assert epoch.outbox.backlog == self.unwritten + queued >= 0
            self._hold_bounds(epoch)
        assert engine.next_due() <= min(dues, default=math.inf) + _ROUNDING
        assert engine.is_selected == (engine.phase == "selected") == life._world.gate
        assert all(found.counts[name] >= count for name, count in self.counts.items())
        settings, exchange = engine.settings, engine._exchange
        count, size = exchange.waiting, exchange._waiting_bytes
        was_count, was_size = self.waiting
        assert 0 <= count <= max(settings.inbox_size, was_count), "the inbox is bounded"
        assert 0 <= size <= max(settings.inbox_bytes, was_size) or count == 1, "also in bytes"
        self.counts, self.waiting = found.counts, (count, size)

    def _hold_bounds(self, epoch: Epoch) -> None:
        """What a connection keeps of what its peer sends."""
        decoder, outbox = epoch.decoder, epoch.outbox
        kept = len(decoder._head) + decoder._kept
        assert kept <= 4 + (decoder.pending_length or 0)
        if not self.engine.is_selected:
            assert kept <= _FEW_BYTES, "no body is kept before it is selected"
        assert outbox.answers <= (RESERVE if epoch.was_selected else RESERVE_UNSELECTED)
        assert len(epoch.not_taken._latest) + len(epoch.not_taken._given_up) <= _FEW_HEADERS
        assert len(epoch.transactions) <= len(self.open)

    def end(self) -> None:
        """No driver runs it any more: nothing is left open."""
        self.engine.stop()
        self.drain()
        assert (self.engine.phase, self.open, self.tcp) == ("closed", [], "closed")
        if self.store is not None:
            assert not self.store.may_have_it, "it is given back"
        for primary in self.primaries:
            self.engine.drop(primary)


class Store:
    """The store of leases of one link, as its process sees it: any answer, at any time."""

    def __init__(self, engine: OwnedEngine, outside: Outside) -> None:
        self._engine, self._outside, self._chance = engine, outside, outside.chance
        self._asked: protocol.StoreCall | None = None
        # When it was asked, now and before. An answer may be to any of these.
        self._times = [-1.0]
        # The latest of those that an answer has granted a lease for.
        self._granted_at = -math.inf
        self.may_have_it = False
        self._told: type[LinkEvent] | None = None
        self._standby: Standby | None = None

    def sleep(self) -> None:
        """The system is suspended."""
        self._outside.asleep += self._chance.pick((0.5, 0.5, 0.5, 3.0, 3.0, 20.0))

    def answer(self) -> None:
        """It answers what was asked, or what was not."""
        chance, engine = self._chance, self._engine
        epoch, owner = chance.below(4), chance.pick(("", "b", "c"))
        match chance.below(10):
            case 0 | 1 | 2 | 3 | 4 | 5:
                asked_at = self._times[-1] if chance.below(4) else chance.pick(self._times)
                # It may ask already, and that has not come out.
                if engine.states["lease"].leaves in ("acquiring", "renewing", "asking_again"):
                    self._granted_at = max(self._granted_at, asked_at)
                engine.lease_granted(epoch, asked_at, self._kept() if chance.below(2) else None)
            case 6:
                engine.lease_refused(owner, epoch, 5.0)
            case 7:
                engine.lease_freed(epoch)
            case 8:
                engine.lease_news(owner, epoch, 5.0)
            case _:
                engine.store_failed(LeaseError(chance.pick(("x", "y"))))

    def _kept(self) -> protocol.Kept:
        """What another owner may have left."""
        chance = self._chance
        machine = machine_for(BREAKER, "threshold", chance.pick((1, 2, 5)))
        breaker = chance.pick(sorted(machine.reachable(), key=repr))
        age = chance.pick((0.0, 5.0, 100.0)) if "breaker_open" in breaker else None
        return replace(
            self._engine.kept(),
            breaker=breaker,
            open_age=age,
            attempt_age=chance.pick((None, 0.0, 5.0, 100.0)),
        )

    def take(self, output: protocol.Output, tcp: str) -> None:
        """It is asked, or told that the lease is given back; or the link has told an event."""
        match output:
            case protocol.AskStore(call):
                assert self._asked is None, "it is asked one thing at a time"
                self._asked = call
                self._times.append(self._outside.lease_time())
                if call is not protocol.StoreCall.RENEW:
                    # Who watches has not got it, as far as it was told.
                    self.may_have_it = call is protocol.StoreCall.ACQUIRE
            case protocol.StopAsking():
                assert self._asked is not None
                self._asked = None
            case protocol.ReleaseLease():
                assert (self._asked, tcp) == (None, "closed")
                self.may_have_it = False
            case Withdrawn() | Owning() | Doubtful() | Draining():
                self._told, self._standby = type(output), None
            case Standby():
                assert str(output.error) != str(self._standby and self._standby.error) or (
                    self._standby is None or output.owner != self._standby.owner
                ), "it is news"
                self._told, self._standby = Standby, output
            case _:
                pass

    def judged(self) -> None:
        """The engine was given something: whatever that was, its lease was judged before."""
        if self._engine.ownership.state in ("owner", "doubtful"):
            assert self._outside.lease_time() < self._granted_at + _LEASE.own_deadline

    def hold(self) -> None:
        """What holds when all that has come out is taken."""
        engine, now = self._engine, self._outside.lease_time()
        found = engine.ownership
        if engine.is_closed:
            assert found.state == "ended"
            return
        assert found.state in _TOLD[self._told], "it has told where it is"
        may_try = found.state in ("owner", "doubtful")
        is_disabled = engine.phase in ("idle", "separating")
        assert may_try is not is_disabled or engine.is_closing, "the lease enables the link"
        assert not engine.may_send() or now < self._granted_at + _LEASE.end


class Outside:
    """All there is in one run: one link, or up to three connections at one listening end."""

    def __init__(self, data: bytes) -> None:
        self.chance = chance = Chance(data)
        self.now = 0.0
        self.phases: set[str] = set()
        self.ownerships: set[str] = set()
        self._floods = _FLOODS
        kind = chance.below(8)
        self.single_use = kind == 4
        self.is_owned = kind == OWNED
        # For how long the system was suspended: only the clock of a lease counts that.
        self.asleep = 0.0
        self.entity: Entity | None = None
        if kind > 4:
            self.entity = Entity(chance.pick((1, 2)), self._make_room, self._can_serve)
        self.is_calm = chance.below(2) == 0
        self._late = chance.below(3) == 0
        self._threads = chance.pick((99, 99, 1))
        self.ends = [End(self) for _ in range(1 if self.entity is None else 3)]

    def lease_time(self) -> float:
        """The clock of the lease."""
        return self.now + self.asleep

    def settings(self) -> Settings:
        pick = self.chance.pick
        timers = {name: pick((1, 2, 10)) for name in ("t3", "t5", "t6", "t7", "t8")}
        return Settings(
            **timers,  # type: ignore[arg-type]  # names from a list are beyond mypy
            write_timeout=pick((1, 10)),
            linktest_interval=pick((None, 0.5, 10)),
            linktest_threshold=pick((1, 3)),
            breaker_threshold=pick((1, 2, 5)),
            backoff_factor=pick((1.0, 10.0)),
            max_frame=pick((16_777_216, 500)),
            inbox_size=pick((1_000, 2)),
            inbox_bytes=pick((10_000, 100)),
            server_inbox_bytes=pick((20_000, 900)),
            is_equipment=pick((True, False)),
            check_session_id=pick((True, True, False)),
            session_id=pick((0, 0, 0, 1)),
            second_host=pick(("probe", "refuse")),
        )

    def run(self) -> None:
        while self.chance.is_left:
            self.step()
        for end in self.ends:
            end.end()
        if self.entity is not None:
            assert not self.entity.is_full
            assert self.entity.waiting_bytes == 0

    def step(self) -> None:
        index = self.chance.below(len(self.ends)) if len(self.ends) > 1 else 0
        self.ends[index].step()
        if not self._late or self.chance.below(3) == 0:
            # What one tells may concern the others.
            for end in self.ends:
                end.drain()
        for end in self.ends:
            end.hold()
            self.phases.add(end.engine.phase)
            if end.engine.ownership is not None:
                self.ownerships.add(end.engine.ownership.state)
        if self.ends[index].engine.is_closed or self.chance.below(128) == 1:
            self._replace(index)
        if self.entity is not None:
            selected = sum(end.engine.is_selected for end in self.ends)
            assert selected <= self.entity.capacity, "no more have a session than may"
            assert self.entity.waiting_bytes == sum(end.engine.held_bytes for end in self.ends)

    def _replace(self, index: int) -> None:
        """This program ends and another begins: a link goes on with what it has kept."""
        end, kept = self.ends[index], None
        if self.entity is None and not self.single_use and not end.engine.is_closed:
            end.drain()
            saved = json.dumps(saving.write(end.engine.kept(), 1_000.0 + self.now))
            wall = 1_000.0 + self.now + self.chance.pick((0, 5, -5))
            threshold = self.chance.pick((1, 2, 5))
            kept = saving.read(saved, wall, peer="x", threshold=threshold)
        end.drain()
        end.end()
        self.ends[index] = End(self, kept=kept)

    def may_flood(self) -> bool:
        self._floods -= 1
        return self._floods >= 0

    # What a listening end does for its connections

    def contest(self, asking: End) -> None:
        for end in self.ends:
            if end is not asking:
                end.engine.session_wanted()

    def _make_room(self, held: int) -> bool:
        engines = {end.engine.held_bytes: end for end in self.ends if end.tcp == "open"}
        most = max(engines, default=0)
        if most <= held:
            return False
        greatest = engines[most]
        greatest.engine.fail("the server is full")
        greatest.drain()
        waited = [primary for primary in greatest.primaries if not primary.taken]
        for primary in waited:
            greatest.engine.drop(primary)
        return bool(waited)

    def _can_serve(self, begun: int) -> bool:
        return begun < self._threads
