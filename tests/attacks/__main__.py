"""``python -m tests.attacks [NAME ...] [--list] [--short]``: exit code 1 when something failed."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from types import FrameType

from tests.attacks.attacks import ATTACKS, MEGABYTE, Attack
from tests.attacks.run import Result, run


def main() -> int:
    names = [each.name for each in ATTACKS]
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="without one: all attacks")
    parser.add_argument("--list", action="store_true", help="the names, and what each does")
    parser.add_argument("--short", action="store_true", help="without those that take minutes")
    parser.add_argument("--table", action="store_true", help="print a table for a page too")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - {*names}):
        parser.error(f"no attack {', '.join(unknown)}; there are {', '.join(names)}")
    if sys.platform != "linux":
        parser.error("it needs Linux: memory is read in /proc")
    if options.list:
        for each in ATTACKS:
            print(f"{each.name:30} {each.what}")
        return 0
    # Like Ctrl-C, it must pass by the end of each block, which kills the children.
    signal.signal(signal.SIGTERM, _stop)
    wanted = [
        each
        for each in ATTACKS
        if (each.name in options.names or not options.names)
        and (each.is_short or not options.short)
    ]
    begun = time.monotonic()
    results = [_told(each) for each in wanted]
    failed = sum(bool(each.problems) for each in results)
    took = time.monotonic() - begun
    print(f"{len(results)} attacks in {took:.0f} s: {failed or 'none'} failed", flush=True)
    if options.table:
        print(*map(_row, results), sep="\n")
    return 1 if failed else 0


def _told(attack: Attack) -> Result:
    print(f"{attack.name}: {attack.what}", flush=True)
    begun = time.monotonic()
    found = run(attack)
    took = time.monotonic() - begun
    print(f"   the peers saw: {found.saw}")
    print(
        f"   memory, MB: {found.before / MEGABYTE:.1f} before, {found.highest / MEGABYTE:.1f} at "
        f"most, {found.after / MEGABYTE:.1f} after"
    )
    print(
        f"   the honest session: {found.trips:,} of {found.trips:,} requests answered; round trip "
        f"{found.alone * 1e3:.2f} ms alone, {found.median * 1e3:.2f} ms now, "
        f"{found.longest * 1e3:.1f} ms at most; {found.frames:g} frames and "
        f"{found.connections:g} connections of others in half of them"
    )
    print(f"   the server counted: {found.counts}")
    held = "FAILED: " + "; ".join(found.problems) if found.problems else "as expected"
    print(f"   {held}, in {took:.1f} s")
    return found


def _row(found: Result) -> str:
    cells = (
        found.name,
        found.saw,
        f"{(found.highest - found.before) / MEGABYTE:.1f}",
        f"{(found.after - found.before) / MEGABYTE:.1f}",
        f"{found.alone * 1e3:.2f}",
        f"{found.median * 1e3:.2f}",
        f"{found.longest * 1e3:.1f}",
        f"{found.frames:g}",
        f"{found.connections:g}",
        "failed" if found.problems else "held",
    )
    return f"| {' | '.join(cells)} |"


def _stop(_: int, __: FrameType | None) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
