"""What is answered in which state: E37's table, written down by hand and compared with the charts.

One line for each row of the table and each group of states that answer alike: the ends it is about
(A dials, P listens), the event, the states, the next state (``=``: the same), and exactly the
effects. ``+T6`` and ``-T6`` start and stop a timer, ``>Select.rsp_0`` sends, ``#`` counts; ``open``
and ``shut`` are the gate and the linktest watch, ``close`` ends TCP; ``lost`` is where the end of
TCP leads: T5 and the next attempt on the end that dials, the listener on the other.
"""

from functools import cache
from typing import NamedTuple

import pytest

from statecharts import Effect, Machine, NotAllowedError, Router, Snapshot, Step
from statecharts.hsms import ACTIVE, ACTIVE_LINK, BREAKER, PASSIVE, PASSIVE_LINK
from statecharts.hsms.vocabulary import OpenTcp, Outgoing, Send
from statecharts.hsms.world import World, after_all

TABLE = """
# Select.req: simultaneous select is legal, both ends answer 0
A  | select_req_received | selecting | select_unanswered | -T6 -T7 succeeds open +T6 >Select.rsp_0
A  | select_req_received | reselecting | select_unanswered | -T6 -T7 open +T6 >Select.rsp_0
AP | select_req_received | unselected | communicating | -T7 open >Select.rsp_0
AP | select_req_received | deselect_unanswered | communicating | -T6 -T7 open >Select.rsp_0
AP | select_req_received | communicating deselecting | = | >Select.rsp_1
A  | select_req_received | select_unanswered | = | >Select.rsp_1

# a second TCP connection to a passive end: Select.rsp 3, then closed
P  | competing_select_req_received | unselected | refusing | -T7 >Select.rsp_3 +linger
P  | competing_select_req_received | deselect_unanswered | refusing | -T6 -T7 >Select.rsp_3 +linger
P  | competing_select_req_received | communicating deselecting | = | >Select.rsp_1

# Select.rsp 0 to our Select.req
A  | select_rsp_accepted | selecting | communicating | -T6 -T7 succeeds open
A  | select_rsp_accepted | reselecting | communicating | -T6 -T7 open
A  | select_rsp_accepted | select_unanswered | communicating | -T6
A  | select_rsp_accepted | unselected deselect_unanswered | = | >Reject.req_3
A  | select_rsp_accepted | communicating deselecting | = | >Reject.req_3

# Select.rsp 1: selected only if the peer's own Select was accepted, else a failed select at once
A  | select_rsp_already_active | selecting | lost | -T6 -T7 close fails lost
A  | select_rsp_already_active | reselecting | lost | -T6 -T7 close lost
A  | select_rsp_already_active | select_unanswered | communicating | -T6
A  | select_rsp_already_active | unselected deselect_unanswered | = | >Reject.req_3
A  | select_rsp_already_active | communicating deselecting | = | >Reject.req_3

# Select.rsp 2, 3, ...: failed select
A  | select_rsp_refused | selecting | lost | -T6 -T7 close fails lost
A  | select_rsp_refused | reselecting | lost | -T6 -T7 close lost
A  | select_rsp_refused | select_unanswered | lost | -T6 shut close lost
A  | select_rsp_refused | unselected deselect_unanswered | = | >Reject.req_3
A  | select_rsp_refused | communicating deselecting | = | >Reject.req_3

# Reject.req of our Select: a failed select; of nothing we know: dropped
A  | select_rejected | selecting | lost | -T6 -T7 close fails lost
A  | select_rejected | reselecting | lost | -T6 -T7 close lost
A  | select_rejected | select_unanswered | lost | -T6 shut close lost
A  | select_rejected | unselected deselect_unanswered | = | #reject_of_nothing_we_know
A  | select_rejected | communicating deselecting | = | #reject_of_nothing_we_know
A  | unknown_reject_received | selecting | = | #reject_of_nothing_we_know
A  | unknown_reject_received | reselecting select_unanswered | = | #reject_of_nothing_we_know
AP | unknown_reject_received | unselected deselect_unanswered | = | #reject_of_nothing_we_know
AP | unknown_reject_received | communicating deselecting | = | #reject_of_nothing_we_know

# a data message (in SELECTED the gate is open and the chart never sees one)
A  | data_received | selecting reselecting | = | >Reject.req_4
AP | data_received | unselected deselect_unanswered | = | >Reject.req_4

# Linktest.req
A  | linktest_req_received | selecting reselecting select_unanswered | = | >Linktest.rsp
AP | linktest_req_received | unselected deselect_unanswered | = | >Linktest.rsp
AP | linktest_req_received | communicating deselecting | = | >Linktest.rsp

# Deselect.req
A  | deselect_req_received | selecting reselecting | = | >Deselect.rsp_1
AP | deselect_req_received | unselected deselect_unanswered | = | >Deselect.rsp_1
AP | deselect_req_received | communicating | unselected | shut >Deselect.rsp_0 +T7
AP | deselect_req_received | deselecting | deselect_unanswered | -T6 shut >Deselect.rsp_0 +T7 +T6
A  | deselect_req_received | select_unanswered | reselecting | -T6 shut >Deselect.rsp_0 +T7 +T6

# Separate.req: ignored, or close without an answer
A  | separate_req_received | selecting reselecting | = | #separate_ignored
AP | separate_req_received | unselected deselect_unanswered | = | #separate_ignored
AP | separate_req_received | communicating | lost | shut close lost
AP | separate_req_received | deselecting | lost | -T6 shut close lost
A  | separate_req_received | select_unanswered | lost | -T6 shut close lost

# Deselect.rsp, awaited or not
AP | deselect_rsp_ended | deselecting | unselected | -T6 shut +T7
AP | deselect_rsp_busy | deselecting | communicating | -T6
AP | deselect_rejected | deselecting | communicating | -T6
AP | deselect_rsp_ended | deselect_unanswered | unselected | -T6
AP | deselect_rsp_busy | deselect_unanswered | unselected | -T6
AP | deselect_rejected | deselect_unanswered | unselected | -T6
A  | deselect_rsp_ended | selecting reselecting select_unanswered | = | >Reject.req_3
A  | deselect_rsp_busy | selecting reselecting select_unanswered | = | >Reject.req_3
A  | deselect_rejected | selecting reselecting select_unanswered | = | #reject_of_nothing_we_know
AP | deselect_rsp_ended | unselected communicating | = | >Reject.req_3
AP | deselect_rsp_busy | unselected communicating | = | >Reject.req_3
AP | deselect_rejected | unselected communicating | = | #reject_of_nothing_we_know

# Linktest.rsp: in SELECTED the linktest chart knows whether anybody waits
A  | linktest_rsp_received | selecting reselecting | = | >Reject.req_3
AP | linktest_rsp_received | unselected deselect_unanswered | = | >Reject.req_3
AP | linktest_rsp_received | communicating deselecting | = | Tell("probe_answered")
A  | linktest_rsp_received | select_unanswered | = | Tell("probe_answered")
A  | linktest_rejected | selecting reselecting | = | #reject_of_nothing_we_know
AP | linktest_rejected | unselected deselect_unanswered | = | #reject_of_nothing_we_know
AP | linktest_rejected | communicating deselecting | = | Tell("probe_rejected")
A  | linktest_rejected | select_unanswered | = | Tell("probe_rejected")

# any other response nobody waits for; undefined SType; PType; a control frame with a body
A  | unexpected_rsp_received | selecting reselecting select_unanswered | = | >Reject.req_3
AP | unexpected_rsp_received | unselected deselect_unanswered | = | >Reject.req_3
AP | unexpected_rsp_received | communicating deselecting | = | >Reject.req_3
A  | unsupported_stype_received | selecting reselecting select_unanswered | = | >Reject.req_1
AP | unsupported_stype_received | unselected deselect_unanswered | = | >Reject.req_1
AP | unsupported_stype_received | communicating deselecting | = | >Reject.req_1
A  | unsupported_ptype_received | selecting reselecting select_unanswered | = | >Reject.req_2
AP | unsupported_ptype_received | unselected deselect_unanswered | = | >Reject.req_2
AP | unsupported_ptype_received | communicating deselecting | = | >Reject.req_2
A  | control_with_body_received | selecting reselecting select_unanswered | = | >Reject.req_1
AP | control_with_body_received | unselected deselect_unanswered | = | >Reject.req_1
AP | control_with_body_received | communicating deselecting | = | >Reject.req_1

# FIN or RST; a bad length, T8, a deadline
A  | tcp_closed | selecting | lost | -T6 -T7 close fails lost
A  | tcp_closed | reselecting | lost | -T6 -T7 close lost
AP | tcp_closed | unselected | lost | -T7 close lost
AP | tcp_closed | deselect_unanswered | lost | -T6 -T7 close lost
AP | tcp_closed | communicating | lost | shut close lost
AP | tcp_closed | deselecting | lost | -T6 shut close lost
A  | tcp_closed | select_unanswered | lost | -T6 shut close lost
A  | communication_failed | selecting | lost | -T6 -T7 close fails lost
A  | communication_failed | reselecting | lost | -T6 -T7 close lost
AP | communication_failed | unselected | lost | -T7 close lost
AP | communication_failed | deselect_unanswered | lost | -T6 -T7 close lost
AP | communication_failed | communicating | lost | shut close lost
AP | communication_failed | deselecting | lost | -T6 shut close lost
A  | communication_failed | select_unanswered | lost | -T6 shut close lost

# T6 and T7; linktests that nobody answered
A  | t6_expired | selecting | lost | -T6 -T7 close fails lost
A  | t6_expired | reselecting | lost | -T6 -T7 close lost
AP | t6_expired | deselect_unanswered | lost | -T6 -T7 close lost
AP | t6_expired | deselecting | lost | -T6 shut close lost
A  | t6_expired | select_unanswered | lost | -T6 shut close lost
A  | t7_expired | selecting | lost | -T6 -T7 close fails lost
A  | t7_expired | reselecting | lost | -T6 -T7 close lost
AP | t7_expired | unselected | lost | -T7 close lost
AP | t7_expired | deselect_unanswered | lost | -T6 -T7 close lost
AP | linktest_failed | communicating | lost | shut close lost
AP | linktest_failed | deselecting | lost | -T6 shut close lost
A  | linktest_failed | select_unanswered | lost | -T6 shut close lost
"""

ENDS = {"A": ACTIVE, "P": PASSIVE}
LOST = {"A": ("waiting", ["Start(T5)"]), "P": ("listening", [])}
NOT_SELECTED = {
    "A": ("selecting", "unselected", "reselecting", "deselect_unanswered"),
    "P": ("unselected", "deselect_unanswered"),
}
SELECTED = {
    "A": ("communicating", "select_unanswered", "deselecting"),
    "P": ("communicating", "deselecting"),
}
LEAVING = {"A": ("disabling", "restarting", "closing"), "P": ("refusing", "closing")}
WORDS = {
    "open": ["OpenGate()", "Tell("watch_began")"],
    "shut": ["Tell("watch_ended")", "CloseGate()"],
    "close": ["EndTraffic()", "CloseTcp()"],
    "succeeds": ["Tell("attempt_succeeded")"],
    "fails": ["Tell("attempt_failed")"],
}
SIGNS = {"+": "Start({})", "-": "Stop({})", ">": "Send({})", "#": "Count({})"}


class Row(NamedTuple):
    """One line of the table for one end and one state."""

    end: str
    event: str
    state: str
    after: str
    effects: list[str]


def _rows() -> list[Row]:
    found = []
    for line in TABLE.splitlines():
        if "|" not in line:
            continue
        ends, event, states, after, said = (part.strip() for part in line.split("|"))
        for end in ends:
            lost, brought = LOST[end]
            effects: list[str] = []
            for word in said.split():
                if word[0] in SIGNS:
                    effects.append(SIGNS[word[0]].format(word[1:].replace("_", " ")))
                else:
                    effects += brought if word == "lost" else WORDS.get(word, [word])
            for state in states.split():
                there = {"=": state, "lost": lost}.get(after, after)
                found.append(Row(end, event, state, there, effects))
    return found


ROWS = _rows()
MACHINES = {end: Machine(chart) for end, chart in ENDS.items()}


def at(machine: Machine, leaf: str) -> Snapshot:
    return machine.snapshot([state.id for state in machine.chart.path(leaf)])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.end}-{row.event}-{row.state}")
def test_exactly_this_is_answered(row: Row) -> None:
    machine = MACHINES[row.end]
    step = machine.step(at(machine, row.state), row.event)
    assert step.snapshot.leaves == row.after
    assert [str(effect) for effect in step.effects] == row.effects


@pytest.mark.parametrize("end", ENDS)
def test_the_table_has_every_received_event_in_every_state_once(end: str) -> None:
    rows = [(row.event, row.state) for row in ROWS if row.end == end]
    assert len(rows) == len(set(rows))
    chart = ENDS[end]
    inside = {
        each.id
        for name in ("not_selected", "selected")
        for each in chart.state(name).walk()
        if not each.children
    }
    assert inside - {"accepting"} == {*NOT_SELECTED[end], *SELECTED[end]}
    for event in chart.received:
        for state in (*NOT_SELECTED[end], *SELECTED[end]):
            gated = event == "data_received" and state in SELECTED[end]
            assert ((event, state) in rows) is not gated
            if gated:
                assert not MACHINES[end].takes(at(MACHINES[end], state), event)


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_answered_once_the_last_frame_is_queued(end: str) -> None:
    machine = MACHINES[end]
    for leaf in LEAVING[end]:
        for event in machine.chart.received:
            step = machine.step(at(machine, leaf), event)
            assert step.snapshot.leaves == leaf
            assert [str(effect) for effect in step.effects] == ["Count(dropped while leaving)"]


@pytest.mark.parametrize("system", [ACTIVE_LINK, PASSIVE_LINK], ids=lambda system: system.id)
def test_linktest_response_that_nobody_awaits_is_rejected(system: object) -> None:
    router = Router(ACTIVE_LINK if system is ACTIVE_LINK else PASSIVE_LINK)
    here = router.initial
    for event in (
        ("enable_requested", "tcp_opened", "select_rsp_accepted")
        if system is ACTIVE_LINK
        else ("tcp_accepted", "select_req_received")
    ):
        here = router.step(here, event).snapshot
    assert router.step(here, "linktest_rsp_received").effects == (Send(Outgoing.REJECT_NOT_OPEN),)
    probing = router.step(here, "linktest_interval_expired").snapshot
    answered = router.step(probing, "linktest_rsp_received")
    assert Send(Outgoing.REJECT_NOT_OPEN) not in answered.effects
    assert answered.snapshot is here


# Over every reachable step.


@cache
def steps(end: str) -> list[tuple[Snapshot, World, str, Step, World]]:
    """Every step the chart can make, with the world before and after it."""
    machine = MACHINES[end]
    found = []
    start = (machine.initial, World())
    seen = {start}
    queue = [start]
    for snapshot, world in queue:
        for event in machine.enabled(snapshot):
            # The last bytes leave once.
            if event == "flushed" and world.finished:
                continue
            step = machine.step(snapshot, event)
            # Raises when an effect is impossible, or a report cannot be true.
            after = after_all(world, event, step.effects)
            found.append((snapshot, world, event, step, after))
            if (there := (step.snapshot, after)) not in seen:
                seen.add(there)
                queue.append(there)
    return found


RUNS_IN = {
    "t5": ("separation",),
    "t6": ("selecting", "reselecting", "select_unanswered", "deselecting", "deselect_unanswered"),
    "t7": ("not_selected",),
    "connect_timeout": ("connecting",),
    "linger": ("leaving",),
}


@pytest.mark.parametrize("end", ENDS)
def test_timers_tcp_and_gate_are_exactly_what_the_state_says(end: str) -> None:
    assert len(steps(end)) > 80
    for _, _, _, step, world in steps(end):
        here = step.snapshot
        running = {id for id, states in RUNS_IN.items() if any(each in here for each in states)}
        assert world.timers == running, here
        assert (world.tcp.value == "open") is ("connected" in here), here
        assert (world.tcp.value == "opening") is ("connecting" in here), here
        assert world.gate is ("selected" in here), here


@pytest.mark.parametrize("end", ENDS)
def test_timers_belong_to_no_other_state(end: str) -> None:
    owners = {(state.timer.id, state.id) for state in ENDS[end].walk() if state.timer is not None}
    present = {state.id for state in ENDS[end].walk()}
    assert owners == {
        (id, state) for id, states in RUNS_IN.items() for state in states if state in present
    }


def names_of(effects: tuple[Effect, ...]) -> list[str]:
    return [str(effect) for effect in effects]


def names(step: Step) -> list[str]:
    return names_of(step.effects)


@pytest.mark.parametrize("end", ENDS)
def test_separate_is_sent_on_a_graceful_close_from_selected_only_and_before_the_close(
    end: str,
) -> None:
    sent = 0
    for before, world, event, step, _ in steps(end):
        graceful = "selected" in before and event in ("close_requested", "disable_requested")
        assert ("Send(Separate.req)" in names(step)) is graceful
        if graceful:
            sent += 1
            assert "leaving" in step.snapshot
            assert "CloseTcp()" not in names(step)
        # Whoever is refused has had Select.rsp 3 for its last frame instead.
        if "CloseTcp()" in names(step) and not (end == "P" and "leaving" in before):
            assert world.separated is ("leaving" in before)
    assert sent >= 2


@pytest.mark.parametrize("end", ENDS)
def test_gate_opens_before_the_select_is_answered(end: str) -> None:
    answered = [names(step) for *_, step, _ in steps(end) if "Send(Select.rsp 0)" in names(step)]
    assert answered
    for effects in answered:
        assert effects.index("OpenGate()") < effects.index("Send(Select.rsp 0)")


def test_every_way_out_of_an_attempt_settles_its_permit_once() -> None:
    settled = {"Tell("attempt_succeeded")", "Tell("attempt_failed")", "Tell("attempt_cancelled")"}
    holding = ("connecting", "selecting")
    for before, _, event, step, _ in steps("A"):
        ends = before.leaves in holding and step.snapshot.leaves not in holding
        times = sum(effect in settled for effect in names(step))
        # The breaker that withdraws a permit wants to hear no more of it.
        assert times == (1 if ends and event != "permit_withdrawn" else 0), (before, step)


@pytest.mark.parametrize(
    ("end", "before", "event", "after", "effects"),
    [
        ("A", "connecting", "tcp_opened", "selecting",
         "Stop(connect timeout), Send(Select.req), Start(T7), Start(T6)"),
        ("A", "connecting", "tcp_failed", "waiting",
         "Stop(connect timeout), Tell("attempt_failed"), Start(T5)"),
        ("A", "connecting", "connect_timeout_expired", "waiting",
         "Stop(connect timeout), AbandonTcp(), Tell("attempt_failed"), Start(T5)"),
        ("A", "connecting", "close_requested", "closed",
         "Stop(connect timeout), AbandonTcp(), Tell("attempt_cancelled")"),
        ("A", "connecting", "permit_withdrawn", "waiting",
         "Stop(connect timeout), AbandonTcp(), Start(T5)"),
        ("A", "selecting", "permit_withdrawn", "waiting",
         "Stop(T6), Stop(T7), EndTraffic(), CloseTcp(), Start(T5)"),
        ("A", "communicating", "permit_withdrawn", "communicating", ""),
        ("A", "connecting", "disable_requested", "resting",
         "Stop(connect timeout), AbandonTcp(), Tell("attempt_cancelled"), Start(T5)"),
        ("A", "selecting", "close_requested", "closed",
         "Stop(T6), Stop(T7), EndTraffic(), CloseTcp(), Tell("attempt_cancelled")"),
        ("A", "idle", "enable_requested", "asking", "Tell("permit_requested")"),
        ("A", "asking", "permit_granted", "connecting", "Start(connect timeout), OpenTcp()"),
        ("A", "asking", "permit_refused", "blocked", ""),
        ("A", "blocked", "permit_offered", "asking", "Tell("permit_requested")"),
        ("A", "waiting", "t5_expired", "asking", "Stop(T5), Tell("permit_requested")"),
        ("A", "unselected", "select_requested", "reselecting",
         "Send(Select.req), Start(T6)"),
        ("A", "communicating", "deselect_requested", "deselecting",
         "Send(Deselect.req), Start(T6)"),
        ("A", "communicating", "disable_requested", "disabling",
         "Tell("watch_ended"), CloseGate(), Send(Separate.req), Start(linger)"),
        ("A", "closing", "flushed", "closing", "FinishTcp()"),
        ("A", "closing", "linger_expired", "closed", "Stop(linger), EndTraffic(), CloseTcp()"),
        ("A", "disabling", "tcp_closed", "resting",
         "Stop(linger), EndTraffic(), CloseTcp(), Start(T5)"),
        ("A", "restarting", "tcp_closed", "waiting",
         "Stop(linger), EndTraffic(), CloseTcp(), Start(T5)"),
        ("P", "listening", "tcp_accepted", "unselected", "Start(T7)"),
        ("P", "refusing", "tcp_closed", "listening", "Stop(linger), EndTraffic(), CloseTcp()"),
        ("P", "communicating", "close_requested", "closing",
         "Tell("watch_ended"), CloseGate(), Send(Separate.req), Start(linger)"),
        ("P", "unselected", "close_requested", "closed", "Stop(T7), EndTraffic(), CloseTcp()"),
    ],
)  # fmt: skip
def test_exactly_this_is_asked_around_a_connection(
    end: str, before: str, event: str, after: str, effects: str
) -> None:
    machine = MACHINES[end]
    step = machine.step(at(machine, before), event)
    assert step.snapshot.leaves == after
    assert ", ".join(names(step)) == effects


def test_single_use_connection_is_closed_by_what_another_would_retry() -> None:
    machine = Machine(ACTIVE, single_use=1)
    step = machine.step(at(machine, "connecting"), "tcp_failed")
    assert step.snapshot.leaves == "closed"
    assert names(step) == [
        "Stop(connect timeout)", "Tell("attempt_failed")", "Start(T5)", "Stop(T5)",
    ]  # fmt: skip


# The breaker.

THRESHOLDS = (1, 2, 3, 5, 10)
RESULTS = ("attempt_succeeded", "attempt_failed", "attempt_cancelled")


def breaker(threshold: int = 5) -> Machine:
    return Machine(BREAKER, threshold=threshold)


def run(machine: Machine, *events: str) -> Step:
    step = Step(machine.initial, (), ())
    for event in events:
        step = machine.step(step.snapshot, event)
    return step


def broken(machine: Machine) -> list[str]:
    return ["attempt_failed"] * machine.parameters["threshold"]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_breaker_opens_at_its_threshold_and_not_before(threshold: int) -> None:
    machine = breaker(threshold)
    here = machine.initial
    for failures in range(1, threshold):
        here, effects, _ = machine.step(here, "attempt_failed")
        assert (here.leaves, here.values, effects) == ("breaker_closed", (failures,), ())
        assert names(machine.step(here, "permit_requested")) == ["Tell("permit_granted")"]
    opened = machine.step(here, "attempt_failed")
    assert opened.snapshot.leaves == "breaker_open"
    assert names(opened) == ["Tell("permit_withdrawn")", "Start(open time)"]
    assert names(machine.step(opened.snapshot, "permit_requested")) == ["Tell("permit_refused")"]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_exactly_so_many_attempts_are_made_and_then_none(threshold: int) -> None:
    router = Router(ACTIVE_LINK, {"breaker": breaker(threshold)})
    here, effects, _ = router.step(router.initial, "enable_requested")
    attempts = 0
    while OpenTcp() in effects:
        attempts += 1
        here, _, _ = router.step(here, "tcp_failed")
        here, effects, _ = router.step(here, "t5_expired")
    assert attempts == threshold
    assert "blocked" in here
    here, effects, _ = router.step(here, "open_time_expired")
    assert OpenTcp() in effects
    assert "probing" in here
    here, effects, _ = router.step(here, "tcp_failed")
    assert "breaker_open" in here
    assert OpenTcp() not in router.step(here, "t5_expired").effects


def test_twenty_failures_open_once() -> None:
    machine = breaker(3)
    here, opened = machine.initial, 0
    for _ in range(20):
        here, effects, _ = machine.step(here, "attempt_failed")
        opened += [str(effect) for effect in effects].count("Start(open time)")
    assert opened == 1


def test_of_fifty_who_ask_in_half_open_one_probes() -> None:
    machine = breaker(1)
    here = run(machine, *broken(machine), "open_time_expired").snapshot
    answers = []
    for _ in range(50):
        here, effects, _ = machine.step(here, "permit_requested")
        answers += [str(effect) for effect in effects]
    assert answers == ["Tell("permit_granted")"] + 49 * ["Tell("permit_refused")"]


@pytest.mark.parametrize(
    ("events", "after", "failures", "effects"),
    [
        # A success clears the count of consecutive failures.
        ("attempt_failed attempt_failed attempt_succeeded", "breaker_closed", 0, ""),
        ("attempt_failed attempt_succeeded attempt_failed", "breaker_closed", 1, ""),
        # A cancelled call is neither success nor failure, and gives its permit back.
        ("attempt_failed attempt_cancelled", "breaker_closed", 1, ""),
        ("OPEN open_time_expired permit_requested attempt_cancelled", "ready", 3, "Tell("permit_offered")"),
        # Half-open begins by itself; one success closes, one failed probe opens again.
        ("OPEN open_time_expired", "ready", 3, "Stop(open time), Tell("permit_offered")"),
        ("OPEN open_time_expired permit_requested", "probing", 3, "Tell("permit_granted")"),
        ("OPEN open_time_expired permit_requested attempt_succeeded", "breaker_closed", 0,
         "Tell("permit_offered")"),
        ("OPEN open_time_expired permit_requested attempt_failed", "breaker_open", 3,
         "Start(open time)"),
        # By hand.
        ("isolate_requested", "isolated", 0, "Tell("permit_withdrawn")"),
        ("isolate_requested isolate_requested", "isolated", 0, ""),
        ("isolate_requested permit_requested", "isolated", 0, "Tell("permit_refused")"),
        ("attempt_failed isolate_requested release_requested", "breaker_closed", 0,
         "Tell("permit_offered")"),
        ("attempt_failed isolate_requested reset_requested", "breaker_closed", 0, "Tell("permit_offered")"),
        ("OPEN isolate_requested", "isolated", 3, "Stop(open time)"),
        ("OPEN open_time_expired isolate_requested", "isolated", 3, "Tell("permit_withdrawn")"),
        ("OPEN open_time_expired permit_requested isolate_requested", "isolated", 3,
         "Tell("permit_withdrawn")"),
        ("attempt_failed reset_requested", "breaker_closed", 0, ""),
        ("OPEN reset_requested", "breaker_closed", 0, "Stop(open time), Tell("permit_offered")"),
        ("OPEN open_time_expired reset_requested", "breaker_closed", 0,
         "Tell("permit_withdrawn"), Tell("permit_offered")"),
        ("OPEN open_time_expired permit_requested reset_requested", "breaker_closed", 0,
         "Tell("permit_withdrawn"), Tell("permit_offered")"),
        # Told of new settings, nothing is forgotten.
        ("attempt_failed reconfigured", "breaker_closed", 1, ""),
        ("OPEN reconfigured", "breaker_open", 3, ""),
        ("OPEN open_time_expired reconfigured", "ready", 3, ""),
        ("isolate_requested reconfigured", "isolated", 0, ""),
    ],
)  # fmt: skip
def test_breaker_does_exactly_this(events: str, after: str, failures: int, effects: str) -> None:
    machine = breaker(3)
    step = run(machine, *events.replace("OPEN", " ".join(broken(machine))).split())
    assert (step.snapshot.leaves, step.snapshot.values) == (after, (failures,))
    assert ", ".join(names(step)) == effects


@pytest.mark.parametrize("event", [*RESULTS, "stale_result_reported"])
@pytest.mark.parametrize("state", ["breaker_open", "ready", "isolated"])
def test_result_of_an_earlier_period_is_counted_and_changes_nothing(state: str, event: str) -> None:
    machine = breaker(3)
    before = machine.snapshot([each.id for each in BREAKER.path(state)], [2])
    step = machine.step(before, event)
    assert step.snapshot is before
    assert names(step) == ["Count(result of an earlier period)"]


@pytest.mark.parametrize("undo", ["release_requested", "reset_requested"])
def test_attempt_that_was_running_when_the_breaker_was_isolated_reports_nothing(undo: str) -> None:
    router = Router(ACTIVE_LINK, {"breaker": breaker(1)})
    here = router.step(router.initial, "enable_requested").snapshot
    isolated = router.step(here, "isolate_requested")
    assert names_of(isolated.effects) == [
        "Stop(connect timeout)", "AbandonTcp()", "Start(T5)",
    ]  # fmt: skip
    here = router.step(isolated.snapshot, undo).snapshot
    assert here["breaker"] == router.initial["breaker"]
    assert OpenTcp() in router.step(here, "t5_expired").effects


@pytest.mark.parametrize("state", ["breaker_closed", "probing"])
def test_stale_result_does_not_touch_what_is_awaited(state: str) -> None:
    machine = breaker(3)
    before = machine.snapshot([each.id for each in BREAKER.path(state)], [2])
    step = machine.step(before, "stale_result_reported")
    assert step.snapshot is before
    assert names(step) == ["Count(result of an earlier period)"]


def test_release_of_a_breaker_that_is_not_isolated_is_refused() -> None:
    machine = breaker()
    for events in ((), broken(machine), (*broken(machine), "open_time_expired")):
        with pytest.raises(NotAllowedError, match="release_requested"):
            machine.step(run(machine, *events).snapshot, "release_requested")


def test_lower_threshold_opens_at_once_and_a_higher_one_keeps_the_count() -> None:
    five = breaker(5)
    three = run(five, *3 * ["attempt_failed"]).snapshot
    for threshold, after in ((2, "breaker_open"), (3, "breaker_open"), (4, "breaker_closed")):
        machine = breaker(threshold)
        step = machine.step(machine.adopt(three), "reconfigured")
        assert step.snapshot.leaves == after
        assert step.snapshot.values == (min(3, threshold),)
        assert ("Start(open time)" in names(step)) is (after == "breaker_open")
