"""Items and their bytes, side by side with secsgem 0.3 in one process.

``python benchmarks/bench_secs2.py`` prints the table; every figure is the median of several
rounds, and rounds of the two sides take turns, so that a busy machine is unfair to neither: where
absolute figures move with the load, the ratio stays.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

import secsgem.secs.variables as theirs
from secsgem.secs.functions import SecsS06F11
from secsgem.secs.variables.dynamic import ANYVALUE

from benchmarks.events import our_event
from hsms_engine.message import Message
from hsms_engine.secs2 import U4, B, Item, L, decode, encode
from hsms_engine.sml import Statement, parse, to_sml

ROUNDS = 15
ROUND_SECONDS = 0.02
SIZES = (100, 1_000, 10_000, 100_000)
MAX_EXPONENT = 1.05
MEGABYTES_10 = bytes(10_000_000)


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured; ``target`` in microseconds, ``None`` where there is none."""

    name: str
    target: float | None
    ours: Callable[[], object]
    secsgem: Callable[[], object] | None = None


def main() -> None:
    rows = [(case, *measured(case)) for case in cases()]
    print(f"{'case':46}{'target':>10}{'ours':>11}{'secsgem':>12}{'ratio':>8}")
    for case, ours, secsgem in rows:
        late = case.target is not None and ours > case.target
        print(
            f"{case.name:46}{shown(case.target):>10}{shown(ours):>11}"
            f"{shown(secsgem):>12}{ratio(ours, secsgem):>8}{'  missed' if late else ''}"
        )
    print(f"\n{'time grows with size to the power of':46}{'target':>10}{'ours':>11}")
    for collector in (gc.enable, gc.disable):
        collector()
        print("with the collector of garbage" if gc.isenabled() else "without it")
        for name, exponent in exponents():
            late = exponent > MAX_EXPONENT
            print(f"{name:46}{MAX_EXPONENT:>10}{exponent:>11.2f}{'  missed' if late else ''}")


def shown(microseconds: float | None) -> str:
    if microseconds is None:
        return "-"
    return f"{microseconds / 1000:.2f} ms" if microseconds >= 1000 else f"{microseconds:.1f} us"


def ratio(ours: float, secsgem: float | None) -> str:
    return "-" if secsgem is None else f"{secsgem / ours:.0f}x"


def measured(case: Case) -> tuple[float, float | None]:
    """Medians in microseconds, of ours and of secsgem's."""
    sides = [case.ours] if case.secsgem is None else [case.ours, case.secsgem]
    repeats = [repeats_of(side) for side in sides]
    rounds: list[list[float]] = [[] for _ in sides]
    for _ in range(ROUNDS):
        for side, repeat, times in zip(sides, repeats, rounds, strict=True):
            times.append(one_round(side, repeat))
    medians = [statistics.median(times) * 1e6 for times in rounds]
    return medians[0], medians[1] if len(medians) > 1 else None


def one_round(side: Callable[[], object], repeat: int) -> float:
    start = perf_counter()
    for _ in range(repeat):
        side()
    return (perf_counter() - start) / repeat


def repeats_of(side: Callable[[], object]) -> int:
    side()
    return max(1, int(ROUND_SECONDS / one_round(side, 1)))


def their_list(*items: object) -> theirs.Array:
    whole = theirs.Array(ANYVALUE)
    whole.data = list(items)
    return whole


def their_event() -> SecsS06F11:
    """As users of secsgem write it; the values of a report need a type there as well."""
    return SecsS06F11(
        {
            "DATAID": 1,
            "CEID": 4711,
            "RPT": [
                {
                    "RPTID": 1000 + report,
                    "V": [
                        theirs.String("LOT-0815"),
                        theirs.U4(70_000 + report),
                        theirs.F8(21.5),
                        theirs.Boolean(True),
                        theirs.U1(3),
                        theirs.String("RECIPE-A"),
                        theirs.I4(-7),
                        theirs.F4(0.25),
                        theirs.U2(512),
                        theirs.Binary(b"\x01\x02"),
                    ],
                }
                for report in range(3)
            ],
        }
    )


def their_event_decoded(body: bytes) -> object:
    message = SecsS06F11()
    message.decode(body)
    return message.get()


def their_decode(body: bytes) -> object:
    value = ANYVALUE()
    value.decode(body)
    return value.get()


def cases() -> Sequence[Case]:
    event = encode(our_event())
    if decode(their_event().encode()).to_python() != decode(event).to_python():
        raise AssertionError("the two sides do not make the same message")
    sml = f"{to_sml(Statement(None, 6, 11, True, our_event()))}\n" * 100
    numbers = range(1_000_000, 1_001_000)
    values = list(numbers)
    scalars = encode(L(*map(U4, numbers)))
    vector = encode(U4(values))
    binary = encode(B(MEGABYTES_10))
    return [
        Case(
            f"S6F11, 3 x 10 values, {len(event)} B: build + encode",
            15,
            lambda: encode(our_event()),
            lambda: their_event().encode(),
        ),
        Case(
            "the same: decode all",
            18,
            lambda: decode(event).to_python(),
            lambda: their_event_decoded(event),
        ),
        Case("the same: decode", None, lambda: decode(event)),
        Case(
            f"the same 100 times as SML, {len(sml) / 1000:.0f} kB: parse (5 MB/s)",
            len(sml) / 5,
            lambda: parse(sml),
        ),
        Case(
            "L of 1,000 U4: build + encode",
            250,
            lambda: encode(L(*map(U4, numbers))),
            lambda: their_list(*map(theirs.U4, numbers)).encode(),
        ),
        Case("L of 1,000 U4: decode", 200, lambda: decode(scalars), lambda: their_decode(scalars)),
        Case("the same: decode all", None, lambda: decode(scalars).to_python()),
        Case(
            "U4 array of 1,000: build + encode",
            12,
            lambda: encode(U4(values)),
            lambda: theirs.U4(values).encode(),
        ),
        Case(
            "U4 array of 1,000: decode, as a view",
            6,
            lambda: values_of(decode(vector)),
            lambda: their_decode(vector),
        ),
        Case("the same: decode, as a list of int", None, lambda: decode(vector).to_python()),
        Case(
            "10 MB binary: encode + decode",
            12_000,
            lambda: decode(encode(B(MEGABYTES_10))).to_python(),
        ),
        Case("10 MB body: header-only look", 5, lambda: look(binary)),
        Case("10 MB body: decode and len, no value", 5, lambda: len(decode(binary))),
    ]


def values_of(item: Item) -> memoryview:
    match item:
        case U4(values=values):
            return values
        case _:
            raise AssertionError(f"{item!r} is no U4")


def look(body: bytes) -> tuple[str, bool, int]:
    """What an engine and a log line want of a message."""
    message = Message.received(6, 11, True, body, 0, 1)
    return message.name, message.is_primary, len(message.body)


def exponents() -> Iterable[tuple[str, float]]:
    made: dict[str, Callable[[int], Callable[[], object]]] = {
        "L of n U4: build + encode": scalars_of,
        "L of n U4: decode all": lambda n: decoder(L(*map(U4, range(n)))),
        "U4 array of n: build + encode": vector_of,
        "U4 array of n: decode all": lambda n: decoder(U4(range(n))),
    }
    for name, make in made.items():
        points = [(math.log(n), math.log(median_of(make(n)))) for n in SIZES]
        yield name, statistics.linear_regression(*zip(*points, strict=True)).slope


def scalars_of(count: int) -> Callable[[], object]:
    return lambda: encode(L(*map(U4, range(count))))


def vector_of(count: int) -> Callable[[], object]:
    values = list(range(count))
    return lambda: encode(U4(values))


def decoder(item: Item) -> Callable[[], object]:
    body = encode(item)
    return lambda: decode(body).to_python()


def median_of(side: Callable[[], object]) -> float:
    repeat = repeats_of(side)
    return statistics.median(one_round(side, repeat) for _ in range(ROUNDS))


if __name__ == "__main__":
    main()
