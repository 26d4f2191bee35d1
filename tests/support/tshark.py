"""HSMS as tshark reads it: an opinion on our bytes that does not depend on our code."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.support.pcap import PASSIVE_PORT
from tests.support.tools import needs

# A JSON object as its pairs in order, because tshark repeats keys: one packet may hold several
# HSMS layers, and a list several items of one type.
Value: TypeAlias = "str | Pairs"
Pairs: TypeAlias = "list[tuple[str, Value]]"


@dataclass(frozen=True, slots=True)
class Item:
    """A SECS-II item: its six-bit format code, then its values as text or its children."""

    title: str
    format: int
    values: tuple[str, ...]
    children: tuple["Item", ...]


@dataclass(frozen=True, slots=True)
class Dissection:
    """One HSMS message. `title` is tshark's, such as `S01F13` or `Select.req`.

    The header's keys are tshark's field names after `hsms.header.`: sessionid; of data wbit,
    stream and function, of the others statusbyte2 and statusbyte3; ptype, stype and system.
    """

    title: str
    length: int
    header: Mapping[str, int]
    items: tuple[Item, ...]


def dissect(path: Path) -> list[Dissection]:
    """The HSMS messages in a capture, in order; skips the test where tshark is missing.

    tshark knows the messages E37 defines. A frame it does not recognise (an undefined SType, a
    control message with a body) is absent from the answer.
    """
    needs("tshark")
    command = ["tshark", "-r", str(path), "-d", f"tcp.port=={PASSIVE_PORT},hsms"]
    run = subprocess.run(
        [*command, "-Y", "hsms", "-T", "json", "-J", "hsms"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    packets: list[Pairs] = json.loads(run.stdout, object_pairs_hook=list)
    return [
        _dissection(layer)
        for packet in packets
        for source in _inside(packet, "_source")
        for layers in _inside(source, "layers")
        for layer in _inside(layers, "hsms")
    ]


def _inside(pairs: Pairs, prefix: str) -> list[Pairs]:
    return [
        value for name, value in pairs if name.startswith(prefix) and not isinstance(value, str)
    ]


def _leaves(pairs: Pairs, prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in pairs:
        if not isinstance(value, str):
            yield from _leaves(value, prefix)
        elif name.startswith(prefix):
            yield name.removeprefix(prefix), value


def _dissection(layer: Pairs) -> Dissection:
    title = next(name for name, _ in layer if name.startswith("Header ("))
    [header] = _inside(layer, title)
    # An expert note on a field comes as a field of its own with no value.
    fields = {name: int(text) for name, text in _leaves(header, "hsms.header.") if text}
    [(_, length)] = _leaves(layer, "hsms.length")
    return Dissection(
        title.removeprefix("Header (").removesuffix(")"), int(length), fields, _items(layer)
    )


def _items(pairs: Pairs) -> tuple[Item, ...]:
    return tuple(
        _item(name, value)
        for name, value in pairs
        if not isinstance(value, str) and not name.startswith(("Header (", "Data format"))
    )


def _item(title: str, pairs: Pairs) -> Item:
    [head] = _inside(pairs, "Data format")
    [(_, code)] = _leaves(head, "hsms.data.item.format")
    values = tuple(
        value
        for name, value in pairs
        if name.startswith("hsms.data.item.value.") and isinstance(value, str)
    )
    return Item(title, int(code), values, _items(pairs))
