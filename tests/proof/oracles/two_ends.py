"""Two HSMS ends and the cable between them in Promela: the model of ``model`` once more.

``promela.Part`` writes the charts. The rest (queue, cable, listener, driver) is written here a
second time, in Promela, from the description in ``model``. This is on purpose: two searches over
the same text would make the same mistakes. Both must find the same number of states and the same
verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from statecharts.declare import Effect, Start, Stop
from statecharts.export.promela import Implication, Part
from statecharts.hsms.breaker import BREAKER
from statecharts.hsms.linktest import LINKTEST
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    CloseGate,
    CloseTcp,
    FinishTcp,
    OpenGate,
    OpenTcp,
    Outgoing,
    ResetTcp,
    Send,
)
from statecharts.hsms.world import Tcp
from statecharts.router import Router

from ..binding import Bind, bound, machine
from ..model import (
    ACTIVE_END,
    PASSIVE_END,
    READ_BY_ACTIVE,
    READ_BY_PASSIVE,
    Item,
    Marker,
    Scenario,
)

# The most frames that ever wait at one end. One more fails an assertion; it is not dropped.
ROOM = 10
_ITEMS: tuple[Item, ...] = (*Marker, *Outgoing)
_TCP = {Tcp.CLOSED: 0, Tcp.OPENING: 1, Tcp.OPEN: 2}
_OLD: dict[Item, Item] = {
    Outgoing.LINKTEST_REQ: Marker.OLD_LINKTEST_REQ,
    Outgoing.LINKTEST_RSP: Marker.OLD_LINKTEST_RSP,
}
_REPORTED = {
    "tcp_opened": (Tcp.OPENING, Tcp.OPEN),
    "tcp_accepted": (Tcp.CLOSED, Tcp.OPEN),
    "tcp_failed": (Tcp.OPENING, Tcp.CLOSED),
}

_SHARED = f"""\
#define ROOM {ROOM}
bit cut;
/* Of one step, and zero between steps: what was read, whether nothing sent can arrive any more,
   whether the answer to it is a reset, whether something was sent that is answered so, whether a
   Linktest.req was sent, whether TCP was closed, whether by a reset, whether a user closed or had
   closed, and what is sent to the other end. */
byte got; bit deaf; bit gone; bit noticed; bit probed; bit closed; bit resets; bit chosen;
byte i; byte mail[6]; byte mails;
inline post(item) {{ assert(mails < 6); mail[mails] = item; mails++ }}
#define MAILED(x) ({" || ".join(f"mail[{n}] == x" for n in range(6))})
"""

# The inbox of the end whose names begin with @.
_INBOX = f"""\
byte @_box[ROOM]; byte @_n;
#define @_HAS(x) ({" || ".join(f"@_box[{n}] == x" for n in range(ROOM))})
#define @_OVER (@_HAS(I_CLOSE) || @_HAS(I_GONE))
#define @_GONE ({
    " || ".join(
        " && ".join(
            (*(f"@_box[{before}] != I_CLOSE" for before in range(n)), f"@_box[{n}] == I_GONE")
        )
        for n in range(ROOM)
    )
})
#define @_LAST(x) (@_n > 0 && @_box[@_n - 1] == x)
#define @_UNREAD (@_n > 0 && @_box[@_n - 1] != I_CONNECT)
inline @_take() {{
    i = 0;
    do :: i < ROOM - 1 -> @_box[i] = @_box[i + 1]; i++ :: else -> break od;
    @_box[ROOM - 1] = 0; @_n--; i = 0
}}
inline @_age(young, old) {{
    i = 0;
    do
    :: i < ROOM -> if :: @_box[i] == young -> @_box[i] = old :: else fi; i++
    :: else -> break
    od;
    i = 0
}}
inline @_forget() {{
    do :: @_n > 0 && @_box[0] != I_CONNECT -> @_take() :: else -> break od
}}
inline @_notice() {{
    do :: @_box[i] != I_GONE -> i++ :: else -> break od;
    @_box[i] = I_CLOSE; i = 0
}}
inline @_destroy() {{
    do :: @_UNREAD -> @_n--; @_box[@_n] = 0 :: else -> break od;
    do :: mails > 0 -> mails--; mail[mails] = 0 :: else -> break od;
}}
inline @_receive() {{
    if
    :: mails > 0 && mail[mails - 1] == I_CLOSE && @_LAST(I_FINISH) ->
        @_n--; @_box[@_n] = 0
    :: else ->
        if :: MAILED(I_LINKTEST_REQ) -> @_age(I_LINKTEST_REQ, I_OLD_LINKTEST_REQ) :: else fi
    fi;
    i = 0;
    do
    :: i < mails -> assert(@_n < ROOM); @_box[@_n] = mail[i]; @_n++; mail[i] = 0; i++
    :: else -> break
    od;
    i = 0; mails = 0
}}
"""


def _item(item: Item) -> str:
    return f"I_{item.name}"


class _End:
    """One end in Promela: its charts, its world, its inbox, and what it may do next."""

    def __init__(
        self,
        router: Router,
        mine: str,
        other: str,
        reads: Mapping[Item, str],
        calls: tuple[str, ...],
        scenario: Scenario,
    ) -> None:
        self.mine, self.other, self.reads = mine, other, reads
        self.calls, self.scenario = calls, scenario
        self.part = Part(router.system, router.machines, self.outside, f"{mine}_")
        charts = router.system.charts
        self.connection = charts[0]
        self.listens = "tcp_accepted" in self.connection.events
        self.timers = list(dict.fromkeys(timer.id for chart in charts for timer in chart.timers))

    def outside(self, effect: Effect) -> str:
        """What an effect needs of the world, and what it changes."""
        m = self.mine
        match effect:
            case Start(timer):
                return f"assert(!{m}_t_{timer.id}); {m}_t_{timer.id} = 1"
            case Stop(timer):
                return f"assert({m}_t_{timer.id}); {m}_t_{timer.id} = 0"
            case Send(frame):
                return self.send(frame)
            case OpenTcp():
                return f"assert({m}_tcp == 0); {m}_tcp = 1"
            case AbandonTcp():
                return f"assert({m}_tcp == 1); {m}_tcp = 0"
            case FinishTcp():
                posted = "if :: !deaf -> post(I_FINISH) :: else -> noticed = gone fi"
                return f"assert({m}_tcp == 2); {m}_finished = 1; {posted}"
            case CloseTcp():
                return (
                    f"assert({m}_tcp == 2 && !{m}_gate); {m}_tcp = 0; {m}_separated = 0; "
                    f"{m}_finished = 0; closed = 1; if :: !deaf -> post(I_CLOSE) :: else fi"
                )
            case ResetTcp():
                return f"assert({m}_tcp == 0); resets = 1"
            case OpenGate():
                return f"assert({m}_tcp == 2 && !{m}_gate); {m}_gate = 1"
            case CloseGate():
                return f"assert({m}_gate); {m}_gate = 0"
            case _:
                return ""

    def send(self, frame: Outgoing) -> str:
        m = self.mine
        text = f"assert({m}_tcp == 2 && !{m}_separated); "
        if frame is Outgoing.SEPARATE_REQ:
            text += f"{m}_separated = 1; "
        posted = f"post({_item(frame)})"
        if frame in _OLD:
            posted = (
                f"if :: got == I_OLD_LINKTEST_REQ -> post({_item(_OLD[frame])}) "
                f":: else -> {posted} fi"
            )
        if frame is Outgoing.LINKTEST_REQ:
            posted += "; probed = 1"
        return text + f"if :: !deaf -> {posted} :: else -> noticed = gone fi"

    def declarations(self) -> Iterator[str]:
        m = self.mine
        yield from self.part.declarations()
        yield f"byte {m}_tcp; bit {m}_gate; bit {m}_separated; bit {m}_finished;"
        yield from _INBOX.replace("@", m).splitlines()
        yield from (f"bit {m}_t_{timer};" for timer in self.timers)
        if self.listens:
            # The next connection has fresh charts: all variables get their initial values.
            yield f"inline {m}_listen() {{ {'; '.join(self.part.beginning())} }}"

    def choices(self) -> Iterator[str]:
        """What may happen now: a condition, and the event it makes."""
        m, o, part = self.mine, self.other, self.part
        reads = f"{m}_n > 0 && !cut"
        passes = f"({m}_box[0] == I_DATA && {m}_gate)"
        yield f"{reads} && {passes} -> got = I_DATA"
        for item, event in self.reads.items():
            condition = f"{reads} && {m}_box[0] == {_item(item)}"
            if item is Marker.DATA:
                condition += f" && !{m}_gate"
            if item is Marker.CONNECT:
                condition += f" && {part.takes('tcp_accepted')}"
            yield f"{condition} -> got = {_item(item)}; {m}_now = {part.event(event)}"
        known = (*self.reads, Marker.GONE)
        unknown = " && ".join(f"{m}_box[0] != {_item(item)}" for item in known)
        yield f"{reads} && {unknown} -> assert(false)"
        for timer in self.timers:
            yield f"{m}_t_{timer} -> {m}_now = {part.event(f'{timer}_expired')}"
        if "tcp_opened" in part.events:
            free = f"!cut && !{o}_HAS(I_CONNECT) && !{o}_gone"
            yield f"{m}_tcp == 1 && {free} -> {m}_now = {part.event('tcp_opened')}"
            yield f"{m}_tcp == 1 -> {m}_now = {part.event('tcp_failed')}"
        if self.scenario.failures:
            yield f"{m}_tcp == 2 -> {m}_now = {part.event('communication_failed')}"
        leaving = part.inside(self.connection, "leaving")
        yield f"{leaving} && !{m}_finished -> {m}_now = {part.event('flushed')}"
        for event in self.calls:
            yield f"{part.takes(event)} -> {m}_now = {part.event(event)}"
        if self.scenario.data:
            sends = f"{m}_gate && !{m}_HAS(I_REJECT_NOT_SELECTED)"
            yield f"{sends} && !{m}_OVER && !{o}_HAS(I_DATA) -> post(I_DATA)"
            yield f"{sends} && {m}_GONE -> noticed = 1"

    def resets(self) -> Iterator[str]:
        """The ways of a reset: a condition, and what it does to the other end and to the mail."""
        o = self.other
        destroyed = f"{o}_UNREAD -> {o}_destroy(); post"
        yield "true -> skip"
        yield f"{destroyed}(I_CLOSE)"
        if self.scenario.lost_resets:
            yield f"cut && !{o}_LAST(I_FINISH) -> mail[mails - 1] = I_GONE"
            yield f"cut && {destroyed}(I_GONE)"

    def process(self, invariant: str) -> Iterator[str]:
        m, o, part = self.mine, self.other, self.part
        yield f"active proctype {m}() {{\n    do\n    :: atomic {{\n        if"
        yield from (f"        :: {choice}" for choice in self.choices())
        yield f"        fi;\n        deaf = {m}_OVER; gone = {m}_GONE;"
        yield f"        if :: got -> {m}_take() :: else fi;"
        yield "        if"
        for event, (before, after) in _REPORTED.items():
            if event in part.events:
                connects = "; post(I_CONNECT)" if event == "tcp_opened" else ""
                yield (
                    f"        :: {m}_now == {part.event(event)} -> assert({m}_tcp == "
                    f"{_TCP[before]}); {m}_tcp = {_TCP[after]}{connects}"
                )
        yield "        :: else\n        fi;"
        calls, closing = part.event("close_requested"), part.inside(self.connection, "closing")
        yield f"        chosen = ({m}_now == {calls} || {closing});"
        yield f"        if :: {m}_now -> {m}_react() :: else fi;"
        if self.listens:
            yield f"        if :: {m}_gone && !chosen -> {m}_listen() :: else fi;"
        yield f"        if :: probed -> {m}_age(I_LINKTEST_RSP, I_OLD_LINKTEST_RSP) :: else fi;"
        yield f"        if :: noticed -> {m}_notice() :: else fi;"
        yield f"        if :: closed -> {m}_forget() :: else fi;"
        yield "        if :: resets && !deaf ->\n            if"
        yield from (f"            :: {way}" for way in self.resets())
        yield "            fi\n        :: else fi;"
        yield f"        {o}_receive(); got = 0; deaf = 0; gone = 0; noticed = 0; probed = 0;"
        yield "        closed = 0; resets = 0; chosen = 0;"
        yield f"        assert({invariant})\n    }}\n    od\n}}"


def two_ends(scenario: Scenario, bind: Bind = machine, invariant: Implication | None = None) -> str:
    """The whole model; the invariant is about the end that dials and is asserted there."""
    parameters = {
        BREAKER.id: {"threshold": scenario.threshold},
        LINKTEST.id: {"linktest_threshold": scenario.linktest_threshold},
    }
    active, passive = (bound(each, parameters, bind) for each in (ACTIVE_END, PASSIVE_END))
    ends = (
        _End(active, "a", "p", READ_BY_ACTIVE, scenario.active_calls, scenario),
        _End(passive, "p", "a", READ_BY_PASSIVE, scenario.passive_calls, scenario),
    )
    lines = ["/* Two HSMS ends and a cable. Generated from the declared charts. */"]
    lines += [f"#define {_item(item)} {number}" for number, item in enumerate(_ITEMS, start=1)]
    lines += _SHARED.splitlines()
    for end in ends:
        lines += end.declarations()
    for end in ends:
        lines += end.part.inlines()
        lines.append(f"#define {end.mine}_gone {end.part.inside(end.connection, 'closed')}")
    for end in ends:
        lines += end.process(invariant.to_promela(ends[0].part) if invariant else "true")
    if scenario.cable:
        lines.append("active proctype cable() { do :: cut = !cut od }")
    return "\n".join(lines) + "\n"
