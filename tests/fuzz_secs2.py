"""Fuzz the decoder: ``python tests/fuzz_secs2.py tests/corpus/secs2`` (libFuzzer's options apply).

Any bytes are an item or a ``DecodeError``; an item that was read is written canonically.
"""

import sys

import atheris

with atheris.instrument_imports(include=["hsms_engine"]):
    from hsms_engine.message import Message
    from hsms_engine.secs2 import DecodeError, decode, encode


def one_input(data: bytes) -> None:
    repr(Message.received(1, 1, True, data, 0, 0))
    try:
        item = decode(data)
    except DecodeError:
        return
    body = encode(item)
    again = decode(body)
    if len(body) > len(data) or again != item or encode(again) != body:
        raise AssertionError(f"{data.hex()} was read as {item!r} and written as {body.hex()}")
    # Every value can be read; only localized text may be in an encoding that Python lacks.
    try:
        item.to_python()
    except ValueError as error:
        if "C(" not in repr(item) and "..." not in repr(item):
            raise AssertionError(f"{item!r} has no value: {error}") from error


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
