"""``python -m tests.interop``: this engine beside every other that a registry has.

Exits with 1 when a case went another way than it should and no row of ``faults`` recognises why.
An engine that cannot be installed is left out, and named; with CI=true that is a failure too,
unless its package is not for this Python.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import trio

from tests.interop.cases import cases
from tests.interop.engines import ENGINES, Engine, MissingError, UnfitError
from tests.interop.page import page
from tests.interop.run import Failed, explain, try_all

CYCLES = 50
CYCLES_IN_SHORT = 5


def main(words: Sequence[str] | None = None) -> int:
    """Run what the command line says; 0 when all is well, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    parser.add_argument(
        "engine", nargs="*", help=f"one or more of {', '.join(ENGINES)}; all when none is named"
    )
    parser.add_argument(
        "--short", action="store_true", help=f"{CYCLES_IN_SHORT} cycles instead of {CYCLES}"
    )
    parser.add_argument("--write", type=Path, help="write the page there")
    given = parser.parse_args(words)
    if unknown := sorted({*given.engine} - {*ENGINES}):
        parser.error(f"no engine is called {', '.join(unknown)}: there are {', '.join(ENGINES)}")
    wanted = [ENGINES[name] for name in given.engine or ENGINES]

    engines: list[Engine] = []
    left_out: dict[Engine, MissingError] = {}
    for engine in wanted:
        try:
            engine.install()
        except MissingError as error:
            left_out[engine] = error
            print(f"{engine.title} is left out: {error}", file=sys.stderr)
        else:
            engines.append(engine)

    tried = cases(CYCLES_IN_SHORT if given.short else CYCLES)
    results = trio.run(try_all, engines, tried)
    if given.write is not None:
        today = datetime.now(UTC).date()
        given.write.write_text(page(results, left_out, today), encoding="utf-8")
    failures = [(*key, outcome) for key, outcome in results.items() if isinstance(outcome, Failed)]
    for engine, direction, case, failed in failures:
        print(f"\n{engine.title}, {direction}, {case}: {explain(failed)}", file=sys.stderr)
    missing = [error for error in left_out.values() if not isinstance(error, UnfitError)]
    return int(bool(failures) or (os.environ.get("CI") == "true" and bool(missing)))


if __name__ == "__main__":
    sys.exit(main())
