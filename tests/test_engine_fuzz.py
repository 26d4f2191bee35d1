"""Engines among chance (``engine_outside``): seeds, the corpus of the fuzzer, and faults put in.

For a longer look: ``make fuzz FUZZ_SECONDS=600``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from hsms_engine.message import Message
from hsms_engine.protocol import Engine, Entity, OwnedEngine, Primary
from hsms_engine.protocol.context import Context
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.protocol.exchange import Exchange
from hsms_engine.protocol.leasing import Leasing, OwnershipState
from hsms_engine.protocol.lifecycle import Lifecycle
from hsms_engine.protocol.phases import PHASES
from hsms_engine.protocol.timers import Timers
from hsms_engine.wire import Decoder, Frame
from statecharts import Hop
from statecharts.hsms.vocabulary import Outgoing
from tests.engine_outside import OWNED, Outside, of_seed

CORPUS = sorted((Path(__file__).parent / "corpus" / "engine").iterdir())
SEEDS = 40


def test_whatever_happens_the_engine_keeps_its_promises() -> None:
    phases = set()
    for seed in range(SEEDS):
        outside = Outside(of_seed(seed))
        outside.run()
        phases |= outside.phases
    assert phases == set(PHASES.values()) - {"asking"}, "chance has led everywhere"


def test_whatever_a_store_answers_an_engine_with_a_lease_keeps_its_promises() -> None:
    states = set()
    for seed in range(SEEDS):
        outside = Outside(owned(seed))
        outside.run()
        states |= outside.ownerships
    assert states == set(get_args(OwnershipState)), "chance has led everywhere"


def owned(seed: int) -> bytes:
    """The byte string of a run with a lease."""
    return bytes([OWNED]) + of_seed(seed)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_the_fuzzer_has_kept_is_still_right(path: Path) -> None:
    Outside(path.read_bytes()).run()


# Faults put in: each is found, so the checks are no empty words


def _reply_over_another(self: Engine, primary: Message, reply: Message) -> None:
    self._exchange.reply(self._selected_epoch(), primary, reply)  # type: ignore[arg-type]  # a fault


def _epoch_unasked(self: Engine) -> Epoch:
    assert self._context.epoch is not None
    return self._context.epoch


def _without_bounds(self: Exchange, primary: Primary) -> None:
    self.waiting += 1
    self._waiting_bytes += len(primary.body)
    self._context.outputs.put(primary)


_send = Lifecycle._send


def _answer_twice(self: Lifecycle, kind: Outgoing, answered: object) -> None:
    for _ in range(2 if kind is Outgoing.LINKTEST_RSP else 1):
        _send(self, kind, answered)  # type: ignore[arg-type]  # as it was


def _answer_never(self: Lifecycle, kind: Outgoing, answered: object) -> None:
    if kind is not Outgoing.DESELECT_RSP_NOT_ESTABLISHED:
        _send(self, kind, answered)  # type: ignore[arg-type]  # as it was


_end_epoch = Context.end_epoch


def _same_counts(self: Context) -> None:
    self.counters["bytes_received"] = 0
    _end_epoch(self)


def _nothing(*_: object) -> None:
    pass


def _never(*_: object) -> bool:
    return False


_receive = Exchange.receive


def _count_twice(self: Exchange, epoch: Epoch, frame: Frame) -> str | None:
    self._context.counters["messages_received"] += 1
    return _receive(self, epoch, frame)


FAULTS: dict[str, tuple[type, str, Callable[..., object]]] = {
    "a message is counted twice": (Exchange, "receive", _count_twice),
    "a reply goes over another connection": (Engine, "reply", _reply_over_another),
    "data is sent while it is not selected": (Engine, "_selected_epoch", _epoch_unasked),
    "a request is answered twice": (Lifecycle, "_send", _answer_twice),
    "a request is not answered": (Lifecycle, "_send", _answer_never),
    "an abandoned request comes out": (Lifecycle, "forget", _nothing),
    "a deadline is told too late": (Timers, "retime", _nothing),
    "a body is kept before it is selected": (Decoder, "drop_body", _nothing),
    "the inbox has no bound": (Exchange, "_receive_primary", _without_bounds),
    "answers that nobody reads have no bound": (Exchange, "overdrawn", _nothing),
    "a second connection gets the session": (Entity, "taken_for", _never),
    "a count goes back": (Context, "end_epoch", _same_counts),
    "a lost request is not settled": (Exchange, "lose", _nothing),
}


_granted = Leasing.granted


def _granted_now(self: Leasing, epoch: int, _: float) -> None:
    _granted(self, epoch, self._lease_clock())


_standby = Leasing.standby


def _told_again(self: Leasing, at: float, epoch: int) -> object:
    self._told = None
    return _standby(self, at, epoch)


def _always(*_: object) -> bool:
    return True


_follow = Lifecycle._follow


def _without_draining(self: Lifecycle, hop: Hop, cause: object) -> None:
    if hop.after.leaves != "draining":
        _follow(self, hop, cause)  # type: ignore[arg-type]  # as it was


FAULTS_OF_A_LEASE: dict[str, tuple[type, str, Callable[..., object]]] = {
    "the lease is not judged first": (OwnedEngine, "judge_lease", _nothing),
    "a lease counts from the answer": (Leasing, "granted", _granted_now),
    "a grant is never too late": (Leasing, "is_too_late", _never),
    "bytes may be sent at any time": (Leasing, "may_send", _always),
    "a standby tells the same again": (Leasing, "standby", _told_again),
    "what a lease does is not told": (Lifecycle, "_follow", _without_draining),
}


@pytest.mark.parametrize(
    ("owner", "name", "fault"), FAULTS_OF_A_LEASE.values(), ids=FAULTS_OF_A_LEASE
)
def test_a_fault_of_a_lease_is_found(
    owner: type, name: str, fault: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fault)
    assert any(_fails(owned(seed)) for seed in range(SEEDS))


@pytest.mark.parametrize(("owner", "name", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(
    owner: type, name: str, fault: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fault)
    assert any(_fails(data) for data in _inputs())


def _inputs() -> Iterator[bytes]:
    yield from (path.read_bytes() for path in CORPUS)
    yield from map(of_seed, range(SEEDS))


def _fails(data: bytes) -> bool:
    try:
        Outside(data).run()
    except (AssertionError, AttributeError, KeyError, ValueError):
        return True
    return False
