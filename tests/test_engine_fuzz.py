"""An engine among chance: any frames, calls in any state, what comes out taken late or in parts.

A run is its seed. ``Outside`` is the program, the stream and the peer at once.
"""

from __future__ import annotations

import math
from contextlib import suppress
from random import Random

from hsms_engine import HsmsError, Message, Settings, protocol
from hsms_engine.protocol import Engine, Primary
from hsms_engine.protocol.phases import PHASES
from hsms_engine.wire import Decoder, Frame, SType, encode

_CALLS = (Engine.disable, Engine.isolate, Engine.release, Engine.reset_breaker)
_ASKS = (Engine.linktest, Engine.deselect, Engine.select)


class Outside:
    """What an engine meets. ``tcp``, ``unwritten`` and ``sent`` are what has come out of it."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.now, self.tcp, self.unwritten, self.finished = 0.0, "closed", 0, False
        self.sent: list[Frame] = []
        self.cut = b""
        self.open: list[protocol.Transaction | protocol.ControlTransaction] = []
        self.primaries: list[Primary] = []
        self.counts: dict[str, int] = {}
        self.active, self.late = self.chance.random() < 0.7, self.chance.random() < 0.3
        system = protocol.ACTIVE_LINK if self.active else protocol.PASSIVE_LINK
        self.engine = Engine(
            system, self.settings(), clock=lambda: self.now, random=Random(seed), peer=lambda _: "x"
        )

    def settings(self) -> Settings:
        pick = self.chance.choice
        timers = {name: pick((1, 2, 10)) for name in ("t3", "t5", "t6", "t7", "t8")}
        return Settings(
            **timers,  # type: ignore[arg-type]  # names from a list are beyond mypy
            write_timeout=pick((1, 10)),
            linktest_interval=pick((None, 0.5, 10)),
            linktest_threshold=pick((1, 3)),
            breaker_threshold=pick((1, 2, 5)),
            backoff_factor=pick((1.0, 10.0)),
            inbox_size=pick((2, 1_000)),
            is_equipment=pick((True, False)),
        )

    def step(self) -> None:
        happens = (self.wait, self.call, self.change_tcp, self.message, self.write)
        with suppress(HsmsError):
            self.chance.choice((*happens, self.receive, self.receive, self.receive))()
        if not self.late or self.chance.random() < 0.3:
            self.drain()
        self.hold()

    def wait(self) -> None:
        due, ahead = self.engine.next_due(), self.chance.choice((-1e-6, 0.0, 1e-6, 3.0))
        self.now = max(self.now, due + ahead) if due < math.inf else self.now + 1
        for _ in range(10):
            self.engine.tick()
            if self.engine.next_due() > self.now:
                return
        raise AssertionError("it is due for ever")

    def call(self) -> None:
        match self.chance.randrange(8):
            case 0:
                self.engine.configure(self.settings())
            case 1 | 2 if self.open:
                given_up = self.chance.choice(self.open)
                if not given_up.is_settled:
                    self.open.remove(given_up)
                self.engine.abandon(given_up)
            case 3:
                self.open.append(self.chance.choice(_ASKS)(self.engine))
            case 4:
                self.chance.choice(_CALLS)(self.engine)
            case _:
                self.engine.enable()

    def message(self) -> None:
        if self.primaries and self.chance.random() < 0.5:
            primary = self.primaries.pop()
            self.engine.take(primary)
            self.engine.reply(primary, Message(primary.stream, (primary.function + 1) % 256))
        self.open.append(self.engine.request(Message(1, 1, wait=True, body=bytes(9))))

    def write(self) -> None:
        count = self.chance.choice((0, self.unwritten // 2, self.unwritten))
        self.unwritten -= count
        self.engine.wrote(count)

    def change_tcp(self) -> None:
        self.drain()
        if self.tcp == "opening" and self.chance.random() < 0.2:
            self.tcp = "closed"
            self.engine.tcp_failed(ConnectionRefusedError(111, "Connection refused"))
        elif self.tcp == "opening" or self.engine.phase == "listening":
            self.tcp, self.finished, self.sent, self.cut = "open", False, [], b""
            (self.engine.tcp_opened if self.active else self.engine.tcp_accepted)()
        elif self.chance.random() < 0.1:
            self.engine.tcp_closed()

    def receive(self) -> None:
        data = self.cut + b"".join(encode(self.frame()) for _ in range(self.chance.choice((1, 3))))
        at = len(data) if self.chance.random() < 0.9 else self.chance.randrange(len(data))
        self.cut = data[at:]
        self.engine.receive(data[:at])

    def frame(self) -> Frame:
        """An answer to what was sent, or anything at all."""
        pick, system = self.chance.choice, self.chance.choice((0, 2**32 - 1))
        asked = [each for each in self.sent[-5:] if each.stype in (1, 3, 5) or each.wait]
        if asked and self.chance.random() < 0.6:
            *_, stype, system, _ = pick(asked)
            if stype == SType.DATA:
                return Frame(0, 1, pick((2, 2, 0, 4)), 0, 0, system, b"")
            return Frame(0xFFFF, 0, pick((0, 0, 0, 1, 2)), 0, stype + 1, system, b"")
        header = (pick((0, 1, 129)), pick(range(256)), pick((0, 0, 0, 0, 1)))
        return Frame(0, *header, pick((0, 0, 0, 1, 1, 3, 5, 7, 8, 9)), system, pick((b"", b"body")))

    def drain(self) -> None:
        while (output := self.engine.next_output()) is not None:
            match output:
                case bytes():
                    assert (self.tcp, self.finished) == ("open", False)
                    self.unwritten += len(output)
                    self.sent += Decoder().feed(output)
                    assert SType.SEPARATE_REQ not in [each.stype for each in self.sent[:-1]]
                case protocol.Transaction() | protocol.ControlTransaction():
                    assert output.is_settled
                    # Once, and not when it was abandoned before.
                    self.open.remove(output)
                case Primary():
                    self.primaries.append(output)
                case protocol.OpenTcp():
                    assert self.tcp == "closed"
                    self.tcp = "opening"
                    self.engine.dial_began()
                case protocol.AbandonTcp() | protocol.CloseTcp():
                    assert self.tcp == ("open" if output == protocol.CloseTcp() else "opening")
                    self.tcp, self.unwritten = "closed", 0
                case protocol.FinishTcp():
                    assert (self.tcp, self.finished) == ("open", False)
                    self.finished = True

    def hold(self) -> None:
        """What holds between any two steps. Only this looks behind the door."""
        engine, counts = self.engine, self.engine.statistics().counts
        life, context, epoch = engine._life, engine._context, engine._context.epoch
        dues = [life.timers.due(timer) for timer in life.timers.started]
        if epoch is not None:
            oldest = epoch.transactions.oldest_start()
            dues += [] if oldest is None else [oldest + engine.settings.t3]
            assert (
                epoch.outbox.backlog == self.unwritten + sum(map(len, context.outputs.frames)) >= 0
            )
        assert engine.next_due() <= min(dues, default=math.inf)
        assert engine.is_selected == (engine.phase == "selected") == life._world.gate
        assert all(counts[name] >= count for name, count in self.counts.items())
        self.counts = counts


def test_whatever_happens_the_engine_keeps_its_promises() -> None:
    phases = set()
    for seed in range(80):
        outside = Outside(seed)
        for _ in range(200):
            outside.step()
            phases.add(outside.engine.phase)
        outside.engine.stop()
        outside.drain()
        assert (outside.engine.phase, outside.open, outside.tcp) == ("closed", [], "closed"), seed
    assert phases == set(PHASES.values()) - {"asking"}, "chance has led everywhere"
