"""Fuzz the reader of logs: ``python tests/fuzz_log_reader.py tests/corpus/log_reader``.

Any bytes are a log, and nothing in one raises; each entry has a line that the log has, and what was
read is printed so that it is read back. (libFuzzer's options apply.)
"""

import io
import sys

import atheris

with atheris.instrument_imports(include=["hsms_engine"]):
    from hsms_engine.log_reader import LoggedMessage, read_log
    from hsms_engine.secs2 import DecodeError


def one_input(data: bytes) -> None:
    reader = read_log(io.BytesIO(data), most_characters=2_000)
    for entry in reader:
        if not 1 <= entry.line <= reader.counts.lines:
            raise AssertionError(f"no such line: {entry}")
        if isinstance(entry, LoggedMessage):
            try:
                printed = entry.message.sml()
                # A statement of SML has one item.
                if len(entry.message.items) > 1:
                    continue
            except DecodeError:
                continue
            [again] = read_log(printed.split("\n"))
            if not isinstance(again, LoggedMessage) or again.message.item != entry.message.item:
                raise AssertionError(f"{entry} was printed as {printed!r}, which is {again}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
