"""Every effect has a precondition: each can fail, and the error says what was needed."""

import pytest

from statecharts import Effect, Start, Stop, Tell
from statecharts.hsms import ACTIVE, world
from statecharts.hsms.timers import T6, T7
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    AskStore,
    CloseGate,
    CloseTcp,
    FinishTcp,
    OpenGate,
    OpenTcp,
    Outgoing,
    ReleaseLease,
    ResetTcp,
    Send,
    StopAsking,
    StoreCall,
)
from statecharts.hsms.world import ImpossibleEffectError, Tcp, World, after, after_all, informed

CLOSED = World()
OPENING = World(tcp=Tcp.OPENING)
OPEN = World(tcp=Tcp.OPEN)
SELECTED = World(tcp=Tcp.OPEN, gate=True)
SEPARATED = World(tcp=Tcp.OPEN, separated=True)
FINISHED = World(tcp=Tcp.OPEN, separated=True, finished=True)
TIMED = World(timers=frozenset({"t7"}))
ASKING = World(asking=StoreCall.RENEW)

SELECT, SEPARATE = Send(Outgoing.SELECT_REQ), Send(Outgoing.SEPARATE_REQ)


@pytest.mark.parametrize(
    ("before", "effect", "expected"),
    [
        (CLOSED, Start(T7), TIMED),
        (TIMED, Start(T6), World(timers=frozenset({"t6", "t7"}))),
        (TIMED, Stop(T7), CLOSED),
        (OPEN, SELECT, OPEN),
        (OPEN, SEPARATE, SEPARATED),
        (CLOSED, OpenTcp(), OPENING),
        (OPENING, AbandonTcp(), CLOSED),
        (SEPARATED, FinishTcp(), FINISHED),
        (FINISHED, CloseTcp(), CLOSED),
        (OPEN, CloseTcp(), CLOSED),
        (SEPARATED, CloseTcp(), CLOSED),
        (CLOSED, ResetTcp(), CLOSED),
        (TIMED, ResetTcp(), TIMED),
        (OPEN, OpenGate(), SELECTED),
        (SELECTED, CloseGate(), OPEN),
        (CLOSED, AskStore(StoreCall.RENEW), ASKING),
        (ASKING, StopAsking(), CLOSED),
        (CLOSED, ReleaseLease(), CLOSED),
        (CLOSED, Tell("permit_requested"), CLOSED),
    ],
)
def test_effect_that_fits_changes_the_world(before: World, effect: Effect, expected: World) -> None:
    assert after(before, effect) == expected


@pytest.mark.parametrize(
    ("before", "effect", "message"),
    [
        (TIMED, Start(T7), r"Start\(T7\) needs the timer stopped; .* timers running: t7"),
        (CLOSED, Stop(T7), r"Stop\(T7\) needs the timer running; .* timers running: none"),
        (TIMED, Stop(T6), r"Stop\(T6\) needs the timer running"),
        (CLOSED, SELECT, r"Send\(Select.req\) needs TCP open; TCP is closed, the gate is closed"),
        (OPENING, SELECT, r"Send\(Select.req\) needs TCP open; TCP is opening"),
        (SEPARATED, SELECT, r"Send\(Select.req\) needs nothing sent after Separate.req"),
        (SEPARATED, SEPARATE, r"Send\(Separate.req\) needs nothing sent after Separate.req"),
        (OPENING, OpenTcp(), r"OpenTcp\(\) needs TCP closed; TCP is opening"),
        (OPEN, OpenTcp(), r"OpenTcp\(\) needs TCP closed; TCP is open"),
        (CLOSED, AbandonTcp(), r"AbandonTcp\(\) needs TCP opening; TCP is closed"),
        (OPEN, AbandonTcp(), r"AbandonTcp\(\) needs TCP opening; TCP is open"),
        (CLOSED, FinishTcp(), r"FinishTcp\(\) needs TCP open; TCP is closed"),
        (FINISHED, FinishTcp(), r"FinishTcp\(\) needs TCP open in this direction"),
        (World(tcp=Tcp.OPEN, finished=True), SELECT, "needs TCP open in this direction"),
        (CLOSED, CloseTcp(), r"CloseTcp\(\) needs TCP open; TCP is closed"),
        (OPENING, CloseTcp(), r"CloseTcp\(\) needs TCP open; TCP is opening"),
        (SELECTED, CloseTcp(), r"CloseTcp\(\) needs the gate closed; .* the gate is open"),
        (OPEN, ResetTcp(), r"ResetTcp\(\) needs TCP closed; TCP is open"),
        (OPENING, ResetTcp(), r"ResetTcp\(\) needs TCP closed; TCP is opening"),
        (CLOSED, OpenGate(), r"OpenGate\(\) needs TCP open"),
        (SELECTED, OpenGate(), r"OpenGate\(\) needs the gate closed; .* the gate is open"),
        (OPEN, CloseGate(), r"CloseGate\(\) needs the gate open; .* the gate is closed"),
        (
            ASKING,
            AskStore(StoreCall.WATCH),
            r"AskStore\(watch\) needs a store that is asked nothing",
        ),
        (CLOSED, StopAsking(), r"StopAsking\(\) needs a store that is asked something"),
        (ASKING, ReleaseLease(), r"ReleaseLease\(\) needs a store that is asked nothing"),
        (OPEN, ReleaseLease(), r"ReleaseLease\(\) needs TCP closed; TCP is open"),
        (OPENING, ReleaseLease(), r"ReleaseLease\(\) needs TCP closed; TCP is opening"),
    ],
)
def test_effect_that_does_not_fit_says_why(before: World, effect: Effect, message: str) -> None:
    with pytest.raises(ImpossibleEffectError, match=message):
        after(before, effect)


@pytest.mark.parametrize(
    ("event", "before", "expected"),
    [
        ("tcp_opened", OPENING, OPEN),
        ("tcp_accepted", CLOSED, OPEN),
        ("tcp_failed", OPENING, CLOSED),
        ("tcp_closed", OPEN, OPEN),
    ],
)
def test_report_that_fits_changes_the_world(event: str, before: World, expected: World) -> None:
    assert informed(before, event) == expected


@pytest.mark.parametrize(
    ("event", "before"),
    [
        ("tcp_opened", CLOSED),
        ("tcp_opened", OPEN),
        ("tcp_accepted", OPENING),
        ("tcp_accepted", OPEN),
        ("tcp_failed", CLOSED),
        ("tcp_failed", OPEN),
    ],
)
def test_report_that_does_not_fit_says_why(event: str, before: World) -> None:
    with pytest.raises(
        ImpossibleEffectError, match=f"{event} was reported while TCP was {before.tcp.value}"
    ):
        informed(before, event)


def test_effects_are_applied_after_the_event_and_in_order() -> None:
    assert after_all(OPENING, "tcp_opened", (SELECT, Start(T7), SEPARATE)) == World(
        tcp=Tcp.OPEN, timers=frozenset({"t7"}), separated=True
    )
    assert after_all(OPEN, "t6_expired", (CloseTcp(), ResetTcp())) == CLOSED
    with pytest.raises(ImpossibleEffectError, match="needs TCP closed"):
        after_all(OPEN, "t6_expired", (ResetTcp(), CloseTcp()))
    with pytest.raises(ImpossibleEffectError, match="nothing sent after"):
        after_all(OPENING, "tcp_opened", (SEPARATE, SELECT))


def test_every_report_about_tcp_is_an_event_of_a_chart() -> None:
    assert {"tcp_opened", "tcp_failed"} <= set(world._TCP_AFTER) & set(ACTIVE.reported)
