"""Messages as some tool of the trade might write them: hypothesis chooses the spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from hsms_engine.secs2 import BOOLEAN, A, B, C, Integer, Item, J, L, Leaf, Real
from hsms_engine.sml import Direction, Statement, to_sml
from tests.support.items import items

WORDS: Final = {
    "L": ("L", "l", "LIST", "List"),
    "A": ("A", "ASCII"),
    "J": ("J", "JIS8", "JIS-8"),
    "B": ("B", "BI", "BINARY", "bin"),
    "BOOLEAN": ("BOOLEAN", "Bool", "TF"),
    **{f"U{size}": (f"U{size}", f"UINT{size}", f"ui{size}") for size in (1, 2, 4, 8)},
    **{f"I{size}": (f"I{size}", f"INT{size}") for size in (1, 2, 4, 8)},
    **{f"F{size}": (f"F{size}", f"FLOAT{size}", f"ft{size}") for size in (4, 8)},
}
GAPS: Final = (" ", "\n", "\t", "\r\n  ", " /* a > comment */ ", " // S1F1 <L>\n", " # 'x\n")
LINES: Final = ("\n", "\n* S9F9 is a comment\n", "\n; so is this\n", "\n\n-- and this\n")

# Five messages, as other tools write them.
FILES: Final = {
    "items in lines": (
        "A: 'S1F1' W\n.\nB: 'S1F3' W\n  <L [1]\n    <A [1] 'x'>\n  >\n.\n"
        "C: 'S1F5' W\n  <U4 [1] 5>\n.\nD: 'S1F7' W\n.\nE: 'S1F9' W\n<A 'y'>\n.\n"
    ),
    "messages in lines": (
        "S1F1 W <A 'x'> .\nS1F3 W <L <A 'y'> <U4 5>> .\nS1F5 W .\nS1F7 W <A 'z'> .\nS1F9 W .\n"
    ),
    "names": (
        "A: S1F1 W <A 'x'> .\nB: S1F3 W <L <A 'y'> <U4 5>> .\nC: S1F5 W .\n"
        "D: S1F7 W <A 'z'> .\nE: S1F9 W .\n"
    ),
    "headers in quotes": (
        "'S1F1' W <A 'x'> .\n'S1F3' W <L <A 'y'> <U4 5>> .\n'S1F5' W .\n"
        "'S1F7' W <A 'z'> .\n'S1F9' W .\n"
    ),
    "names in quotes": (
        '"A b": S1F1 W <A "x"> .\n"B b": S1F3 W <L <A "y"> <U4 5>> .\n"C b": S1F5 W .\n'
        '"D b": S1F7 W <A "z"> .\n"E b": S1F9 W .\n'
    ),
    "names behind headers": (
        "* S1F1 c\nS1F1 = a INPUT W.\n\nS1F3 =b OUTPUT W\n  <L [2]\n    <A [MAX 32] > = Mdln\n"
        "    <A [MAX 32] > = Soft\n  >.\n* c\nS1F5 = c INPUT W\n <B [1]> = Ack.\n\n"
        "S1F7 = d OUTPUT W.\nS1F9 = e INPUT W\n<V> = R.\n"
    ),
    "comments behind": (
        "/* one */\nA: 'S1F1' W /* Name=a */\n.\nB: 'S1F3' W /* Name=b */\n<L [1]\n"
        " <A [1] 'x' > /* Name=X */\n>\n.\nC: 'S1F5' W /* Name=c */\n<A [1] 'y' > /* n */\n.\n"
        "D: 'S1F7' W\n.\nE: 'S1F9' W\n.\n"
    ),
    "comments before": (
        "/* 1 */ S1F1 W <A 'x'> .\n/* 2 */ S1F3 W <A 'y'> .\n/* 3 */ S1F5 W .\n"
        "/* 4 */ S1F7 W .\n/* 5 */ S1F9 W .\n"
    ),
    "W before": "W S1F1 <A 'x'> .\nW S1F3 <A 'y'> .\nW S1F5 .\nW S1F7 .\nW S1F9 .\n",
    "angle brackets": ("<S1F1 W <A 'x'>>\n<S1F3 W <A 'y'>>\n<S1F5 W>\n<S1F7 W>\n<S1F9 W>\n"),
}

names = st.from_regex(
    r"[A-Za-z][A-Za-z0-9_]*([ ./()-][A-Za-z0-9_]+\)?){0,4}", fullmatch=True
).filter(lambda name: not re.search(r"S *\d+[ .,/_-]*F *\d", name, re.IGNORECASE))


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a whole text has in common."""

    hexadecimal: bool
    escapes: bool


dialects = st.builds(Dialect, st.booleans(), st.booleans())


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    """A message with everything that a text can keep."""
    function = draw(st.integers(0, 255))
    item = draw(st.none() | items)
    directions: st.SearchStrategy[Direction] = st.sampled_from(
        ["H->E", "H<-E", "H<->E", "INPUT", "OUTPUT"]
    )
    return Statement(
        draw(st.none() | names),
        draw(st.integers(0, 127)),
        function,
        function % 2 == 1 and draw(st.booleans()),
        item,
        draw(st.none() | directions),
        () if item is None else tuple(draw(_item_names(item, ()))),
    )


@st.composite
def _item_names(
    draw: st.DrawFn, item: Item, path: tuple[int, ...]
) -> list[tuple[tuple[int, ...], str]]:
    # In the order of the text: a name stands behind its item.
    found: list[tuple[tuple[int, ...], str]] = []
    if isinstance(item, L):
        for index, one in enumerate(item):
            found += draw(_item_names(one, (*path, index)))
    if draw(st.integers(0, 4)) == 0:
        found.append((path, draw(names)))
    return found


class Writer:
    """Writes statements in a dialect; ``draw`` chooses among what means the same."""

    def __init__(self, draw: st.DrawFn, dialect: Dialect) -> None:
        self._draw = draw
        self._dialect = dialect

    def one_of(self, *choices: str) -> str:
        return self._draw(st.sampled_from(choices))

    def gap(self) -> str:
        return self.one_of(*GAPS)

    def statement(self, one: Statement) -> str:
        """The message, from the beginning of a line to the end of one."""
        header = self._header(one)
        name = one.name
        before = behind = ""
        if name is not None:
            before, behind = self._draw(
                st.sampled_from(
                    [
                        (f"{name}: ", ""),
                        (f"{name}:", ""),
                        (f"'{name}' : ", ""),
                        (f'"{name}"\n', ""),
                        ("", f' = "{name}"'),
                        ("", f" '{name}'"),
                    ]
                )
            )
        flags = [each for each in (self._direction(one), behind) if each]
        late = ""
        if one.wait:
            wait = self.one_of(" W", " w", " [W]", " (W)", " 'W'", " Wait")
            if one.item is not None and self._draw(st.booleans()):
                late = self.one_of(" W", "\nw", " [W]")
            else:
                flags.insert(self._draw(st.integers(0, len(flags))), wait)
        elif one.function % 2 == 0:
            flags.append(self.one_of("", "", " W"))
        item = ""
        if one.item is not None:
            item = self.gap() + self._item(one.item, dict(one.names), ()) + late
        text = f"{header}{''.join(flags)}{item}"
        if not before and self._draw(st.booleans()):
            return f"<{text}>{self._end()}"
        return f"{before}{text}{self._end()}"

    def _end(self) -> str:
        return self.one_of(".", " .", " . .", "..", " ;", "\n.", "") + self.one_of(*LINES)

    def _header(self, one: Statement) -> str:
        s, f = one.stream, one.function
        return self.one_of(
            f"S{s}F{f}", f"s{s}f{f}", f"'S{s}F{f}'", f'"S{s}F{f}"', f"S{s} F{f}", f"S{s},F{f}",
            f"S{s:03}F{f:03}", f"\u2018S{s}F{f}\u2019",
        )  # fmt: skip

    def _direction(self, one: Statement) -> str:
        match one.direction:
            case None:
                return ""
            case "H->E":
                return self.one_of(" H->E", " h -> e", " E<-H")
            case "H<-E":
                return self.one_of(" H<-E", " E->H")
            case "H<->E":
                return self.one_of(" H<->E", " E <-> H")
            case word:
                return self.one_of(f" {word}", f" {word.title()}")

    def _item(self, item: Item, named: dict[tuple[int, ...], str], path: tuple[int, ...]) -> str:
        name = named.get(path)
        behind = "" if name is None else f'{self.gap()}= "{name}"'
        match item:
            case L():
                return self._list(item, named, path) + behind
            case Leaf():
                return self._leaf(item) + behind

    def _list(self, item: L, named: dict[tuple[int, ...], str], path: tuple[int, ...]) -> str:
        if not item and self._draw(st.booleans()):
            return self.one_of("<V>", "< v >")
        n = len(item)
        count = self.one_of(
            "", f" [{n}]", f"[ {n} ]", f" [{n + 1}]", f",{n}", f", {n + 2}", f" {n}", f"({n})",
            " [...]", f"[0..{n}]", f"[MAX {n}]", f" [{n}/1]", "[]", "[n]",
        )  # fmt: skip
        comma = self.one_of("", "", ",", " ,")
        parts = [self._item(one, named, (*path, index)) + comma for index, one in enumerate(item)]
        inside = "".join(f"{self.gap()}{part}" for part in parts)
        return f"<{self.one_of('', ' ')}{self.one_of(*WORDS['L'])}{count}{inside}{self.gap()}>"

    def _leaf(self, item: Leaf) -> str:
        kind = type(item).__name__
        values = to_sml(item)[len(kind) + 1 : -1].strip()
        match item:
            case A() | J() | C():
                values = self._text(item, values)
            case B():
                values = self._bytes(item)
            case BOOLEAN():
                values = self._values([self._truth(value) for value in item])
            case Integer() | Real():
                values = self._values(values.split())
            case _:
                raise AssertionError(kind)
        n = len(item)
        counts = ["", f" [{n}]", f" [0..{n}]", f"[{n}..]"]
        # A count before codes of bytes may say that they are text.
        if values and (not isinstance(item, A | J | C) or values[0] in "\"'“"):
            counts += [f"[{n + 1}]", f" [{n + 1}]", f"[MAX {n}]", " [...]", f"[{n}-{n + 3}]"]
            counts += [f",{n}", f", {n + 1}"] if n > 0 and values[0] in "\"'" else []
        word = self.one_of(*WORDS.get(kind, (kind,)))
        return f"<{word}{self.one_of(*counts)}{self.gap()}{values}{self.gap()}>"

    def _text(self, item: A | J | C, values: str) -> str:
        if isinstance(item, C):
            return values
        text = item.value
        if text and re.fullmatch(r"[ -~\n]*", text) and not re.search(r"[\"'\\<>\n]", text):
            return self.one_of(f'"{text}"', f"'{text}'", f"“{text}”", f"„{text}“")
        if re.fullmatch(r"[a-z0-9 \n]+", text):
            return f"'{text}'"
        if self._dialect.escapes and isinstance(item, A) and re.fullmatch(r"[ -~\r\n\t]+", text):
            text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return f'"{text}"'.replace("\r", "\\r").replace("\t", "\\x09")
        return values.replace("\\", "\\\\") if self._dialect.escapes else values

    def _bytes(self, item: B) -> str:
        if self._dialect.hexadecimal:
            return self._values([f"{byte:02X}" for byte in item])
        return self._values(
            [self.one_of(f"0x{byte:02X}", f"0X{byte:x}", str(byte)) for byte in item]
        )

    def _truth(self, value: bool) -> str:
        if value:
            return self.one_of("T", "true", "TRUE", "1", "0x01", "01", "0xFF", "'TRUE'", '"T"')
        return self.one_of("F", "False", "0", "0x00", "00", "'F'")

    def _values(self, values: list[str]) -> str:
        separator = self.one_of(" ", "  ", "\n", ", ", " , ")
        are_bare = not {"'", '"'}.intersection("".join(values))
        if values and are_bare and self._draw(st.integers(0, 5)) == 0:
            return self.one_of(f"'{' '.join(values)}'", f'"{" ".join(values)}"')
        return separator.join(values)
