"""``python -m tests.fleet_demo``: show what befalls a fleet, and that each tool has one owner.

Exit code 0: all held. 1: something did not, and the last line says what.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import trio

from tests.fleet_demo.story import NAMES, Result, Story, WrongStepError


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options. Exits with code 2 for a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fleet_demo",
        description="One store, three processes of hsms-engine fleet, and tools that count who "
        "talks to them, while processes are killed and stopped, and the store is cut off.",
    )
    parser.add_argument("--tools", type=int, default=50, metavar="N", help="how many (50)")
    parser.add_argument(
        "--lease", type=float, default=3.0, metavar="SECONDS", help="the length of a lease (3)"
    )
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="how often (1)")
    parser.add_argument(
        "--log", type=argparse.FileType("w"), metavar="FILE", help="write all that was told there"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    options = parse(words)
    for _ in range(options.runs):
        if code := _run(options):
            return code
    return 0


def _run(options: argparse.Namespace) -> int:
    def tell(at: float, what: str, shares: dict[str, int]) -> None:
        if options.json:
            print(json.dumps({"at": round(at, 3), "what": what, "owned": shares}), flush=True)
        else:
            owned = " ".join(f"{shares[name]:3}" for name in NAMES)
            print(f"{at:8.2f}  {owned}  {what}", flush=True)

    if not options.json:
        print(f"{'elapsed':>8}  {'  tools of':11}  what happened")
    why: str | None = None
    story = Story(options.tools, options.lease, tell, options.log)
    try:
        trio.run(story.run)
    except* (WrongStepError, trio.TooSlowError) as errors:
        why = _first(errors)
    if options.json:
        print(json.dumps({**asdict(story.result), "wrong": why}), flush=True)
    elif why is None:
        print(_summary(story.result), flush=True)
    else:
        print(f"fleet-demo: WRONG: {why}", file=sys.stderr)
    return 0 if why is None else 1


def _first(errors: BaseExceptionGroup[Exception]) -> str:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or "it took too long"


def _summary(result: Result) -> str:
    slowest = max(result.took, key=lambda step: result.took[step] / result.bounds[step])
    return (
        f"fleet-demo: ok: {result.tools} tools, {result.processes} processes, "
        f"{result.sessions:,} sessions, {result.frames:,} frames, {result.commands:,} commands: "
        f"{result.double} double, {result.stale} stale, {result.late} late; nearest to its bound: "
        f"{slowest}, {result.took[slowest]:.2f} of {result.bounds[slowest]:.2f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
