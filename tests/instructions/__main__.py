"""``python -m tests.instructions``: count, and compare with the pins.

Exit code 1 when a count is more than 3 % from its pin. A count that has become smaller is pinned
anew too, with ``--pin``: otherwise what was gained could be lost unseen.
"""

from __future__ import annotations

import argparse
import sys

from tests.instructions.counting import PINNED, Counts, count, judged, told
from tests.support.tools import is_missing


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.instructions", description=__doc__)
    parser.add_argument("--pin", action="store_true", help="make what is counted now the pins")
    options = parser.parse_args()
    if is_missing("valgrind"):
        print("valgrind is not installed: install the package valgrind", file=sys.stderr)
        return 1
    counted = count()
    if options.pin:
        PINNED.write_text(counted.written(), encoding="utf-8")
    return 0 if told(judged(counted, Counts.read(PINNED.read_text(encoding="utf-8")))) else 1


if __name__ == "__main__":
    sys.exit(main())
