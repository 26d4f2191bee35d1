"""What a function is, for people: the text of its page, and its facts as plain data.

All of it follows from the class.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Parameter, Signature, cleandoc, signature
from typing import Final

from hsms_engine import messages
from hsms_engine.messages.function import Function
from hsms_engine.messages.layout import OWN, OWN_MEANING, Data

_WAYS: Final = {
    "host": "host to equipment",
    "equipment": "equipment to host",
    "both": "both ways",
}
_BACK: Final = {"host": "equipment", "equipment": "host", "both": "both"}


def text(function: type[Function]) -> str:
    """What its docstring says."""
    return cleandoc(function.__doc__ or "").replace("``", "")


def title(function: type[Function]) -> str:
    """Its name in words: its docstring up to the first colon or full stop."""
    return text(function).replace(":", ".").partition(".")[0]


def header(function: type[Function]) -> str:
    """``S2F41 W``; the W-bit is in brackets when its sender chooses."""
    bits = {"needed": " W", "optional": " [W]", "none": ""}
    return function.__name__ + bits[function.reply]


def way(function: type[Function]) -> str:
    """Who sends it to whom. A secondary goes the other way than its primary."""
    if function.by is not None:
        return _WAYS[function.by]
    stream, number = function.numbers
    primary = messages.find(f"S{stream}F{number - 1}")
    assert primary is not None  # the catalogue has the primary of each secondary
    assert primary.by is not None  # and it says who sends it
    return _WAYS[_BACK[primary.by]]


def reply(function: type[Function]) -> str | None:
    """The name of its reply, None when it has none."""
    stream, number = function.numbers
    return None if function.reply == "none" else f"S{stream}F{number + 1}"


def body(function: type[Function]) -> list[str]:
    """Its layout as SML, a line each, with the names of data items for their values."""
    return [] if function.layout is None else list(function.layout.lines())


def data(function: type[Function]) -> list[Data]:
    """Its data items, in the order of the body, each once."""
    found = () if function.layout is None else function.layout.data()
    return list({each.name: each for each in found}.values())


def call(function: type[Function]) -> str:
    """How it is made: ``S2F41(rcmd, parameters=())``. What all take is left out."""
    plain = [
        each.replace(annotation=Parameter.empty)
        for name, each in signature(function).parameters.items()
        if name != "text_encoding"
    ]
    return f"{function.__name__}{Signature(plain)}"


def codes(item: Data) -> dict[str, str]:
    """The meaning of each code of a data item, and of those that are not known one by one."""
    if item.codes is None:
        return {}
    known = {str(code): meaning for code, meaning in item.codes.items()}
    if item.mask:
        return known
    return {**known, "others": item.others} if item.others else {**known, f"{OWN}..": OWN_MEANING}


def formats(item: Data) -> str:
    """``A U1 I1``, the preferred one first, and how many."""
    names = " ".join(each.__name__ for each in item.formats)
    if item.longest is not None:
        return f"{names}, at most {item.longest} bytes"
    return names if item.elements in (None, 1) else f"{names}, {item.elements} bytes"


def facts(function: type[Function]) -> dict[str, object]:
    """All of it as plain data, for programs."""
    return {
        "message": function.__name__,
        "title": title(function),
        "text": text(function),
        "direction": way(function),
        "wait": function.reply,
        "reply": reply(function),
        "call": call(function),
        "parts": {each.name: str(each.node) for each in function.fields},
        "layout": body(function),
        "data": {
            each.name: {
                "about": each.about,
                "formats": [each.__name__ for each in each.formats],
                "codes": codes(each),
            }
            for each in data(function)
        },
    }


def row(function: type[Function]) -> str:
    """Its name, who sends it, and its name in words, in a line of a list."""
    return f"{header(function):11}{way(function):19}{title(function)}"


def page(function: type[Function]) -> str:
    """All of it as lines, for people."""
    return "\n".join(_lines(function))


def _lines(function: type[Function]) -> Iterator[str]:
    name, answer = function.__name__, reply(function)
    yield f"{name}, {way(function)}{'' if answer is None else f', reply {answer}'}"
    yield ""
    yield text(function)
    yield ""
    yield from (header(function), *body(function))
    items = data(function)
    width = max((len(each.name) for each in items), default=0)
    for item in items:
        yield ""
        yield f"{item.name:{width}}  {item.about} ({formats(item)})"
        for code, meaning in codes(item).items():
            yield f"{'':{width}}  {code:>6}  {meaning}"
    yield ""
    yield f"make it:       {call(function)}"
    yield f"take it apart: case {name}({', '.join(each.name for each in function.fields)}):"
    for each in function.fields:
        yield f"{'':15}{each.name} is {each.node}"
