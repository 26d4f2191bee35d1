"""``python -m tests.put_back [N ...]``: put the faults of the past back, one at a time.

Each machine runs twice, in copies of the tree: with the fault, which it must find, and without it,
where it must find nothing. Exit code 1 when one of them fails in that.
"""

from __future__ import annotations

import argparse
import sys

from tests.put_back.faults import FAULTS, Fault
from tests.put_back.run import copied, put_back, run

# Seconds for one run of a machine.
PATIENCE = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.put_back", description=__doc__)
    numbers = [fault.number for fault in FAULTS]
    parser.add_argument("number", nargs="*", type=int, help="which faults; without: all")
    parser.add_argument("--list", action="store_true", help="print the faults, and put none back")
    options = parser.parse_args()
    if unknown := sorted({*options.number} - {*numbers}):
        parser.error(f"no fault {', '.join(map(str, unknown))}; there are 1 to {len(FAULTS)}")
    wanted = [each for each in FAULTS if each.number in (options.number or numbers)]
    if options.list:
        for each in wanted:
            print(f"{each.number:2} {each.what}: {each.machine}, {' '.join(each.command)}")
        return 0
    well = {each.command for each in wanted if _is_well(each)}
    found = [_is_found(each) and each.command in well for each in wanted]
    print(f"{sum(found)} of {len(wanted)} faults are found, and nothing where there is none")
    return 0 if all(found) else 1


_told: dict[tuple[str, ...], bool] = {}


def _is_well(fault: Fault) -> bool:
    """Whether the machine finds nothing in the tree as it is."""
    if fault.command not in _told:
        with copied() as tree:
            outcome = run(tree, fault.command, PATIENCE)
        _told[fault.command] = outcome.code == 0
        if outcome.code:
            print(f"WITHOUT A FAULT: {' '.join(fault.command)} fails: {outcome.said}", flush=True)
    return _told[fault.command]


def _is_found(fault: Fault) -> bool:
    outcome = put_back(fault, fault.command, PATIENCE)
    is_found = outcome.code == 1
    how = f"found after {outcome.seconds:.0f} s" if is_found else "NOT FOUND"
    print(f"{fault.number:2} {fault.what}\n   {fault.machine}, {' '.join(fault.command)}: {how}")
    for line in outcome.verdict:
        print(f"   | {line}")
    sys.stdout.flush()
    return is_found


sys.exit(main())
