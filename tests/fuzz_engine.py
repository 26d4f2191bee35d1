"""Fuzz the engine: ``python tests/fuzz_engine.py tests/corpus/engine`` (libFuzzer's options apply).

Each input is a run of ``engine_outside``; whatever raises there is a finding.
"""

import sys

import atheris

with atheris.instrument_imports(include=["hsms_engine", "statecharts"]):
    from tests.engine_outside import Outside


def one_input(data: bytes) -> None:
    Outside(data).run()


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
