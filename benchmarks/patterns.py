"""What a pattern costs: one that does not match, one that does, and how the time grows.

``python benchmarks/patterns.py`` prints the table. A figure is the least of several rounds.
"""

from __future__ import annotations

import math
import timeit
from collections.abc import Callable
from typing import Final

from hsms_engine.message import Message
from hsms_engine.secs2 import U4, L, encode
from hsms_engine.sml import parse_pattern

ROUNDS: Final = 5
TARGET: Final = 5.0
"""Microseconds, for a pattern that does not match."""
COMMAND: Final = Message.parse(
    'S2F41 W <L [2] <A "START"> <L [2] <L <A "PPID"> <A "ETCH-7">> <L <A "LOT"> <A "L-1">>>>'
)
OTHERS: Final = (
    "S2F43 W",
    'S2F41 W <L [2] <A "STOP"> <L $params>>',
    'S2F41 W <L [2] "STOP" <L $params>>',
    'S2F41 W <L "STOP" _ ...>',
    "S2F41 W <L [2] <U4 _> _>",
)
MATCHING: Final = (
    "S2F41",
    'S2F41 W <L [2] <A "START"> <L $params>>',
    'S2F41 W <L [2] "START" <L <L [2] $names $values> ...>>',
    'S2F41 W <L [2] "START" <L _ ... <L "LOT" $lot> _ ...>>',
)
LONG: Final = (
    "S1F1 <L <U4 _> ...>",
    "S1F1 <L $values ...>",
    "S1F1 <L <U4 7> ... <A>>",
    "S1F1 <L _ ... <A> _ ...>",
    "S1F1 <L <U4 7> ... 7 _ ... 7 7 ... 8>",
)
LENGTHS: Final = (1_000, 10_000, 100_000)


def main() -> None:
    print(f"{'a command that does not match: decoded, as received':60}{'µs':>8}{'µs':>8}")
    for text in OTHERS:
        decoded, anew = figures(text, is_match=False)
        late = "  missed" if decoded > TARGET else ""
        print(f"{text:60}{decoded:8.2f}{anew:8.2f}{late}")
    print("and one that matches")
    for text in MATCHING:
        decoded, anew = figures(text, is_match=True)
        print(f"{text:60}{decoded:8.2f}{anew:8.2f}")
    print(
        f"\n{'lists as received, of so many items: ms':50}" + "".join(f"{n:>9,}" for n in LENGTHS)
    )
    for text in LONG:
        times = [of_length(text, length) for length in LENGTHS]
        grows = math.log(times[-1] / times[0], LENGTHS[-1] / LENGTHS[0])
        print(f"{text:50}" + "".join(f"{us / 1e3:9.2f}" for us in times) + f"   n^{grows:.2f}")


def figures(text: str, is_match: bool) -> tuple[float, float]:
    pattern = parse_pattern(text)
    assert (pattern.match(COMMAND) is not None) is is_match
    return (
        microseconds(lambda: pattern.match(COMMAND)),
        microseconds(lambda: pattern.match(received(COMMAND))),
    )


def of_length(text: str, length: int) -> float:
    pattern = parse_pattern(text)
    message = Message(1, 1, body=encode(L(*[U4(7)] * length)))
    return microseconds(lambda: pattern.match(received(message)), LENGTHS[-1] // length)


def received(message: Message) -> Message:
    """The same message, as bytes that nobody has read."""
    return Message.received(message.stream, message.function, message.wait, message.body, 0, 1)


def microseconds(action: Callable[[], object], number: int = 20_000) -> float:
    return min(timeit.repeat(action, number=number, repeat=ROUNDS)) / number * 1e6


if __name__ == "__main__":
    main()
