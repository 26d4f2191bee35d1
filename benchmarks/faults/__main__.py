"""``python -m benchmarks.faults [figure] [options]``: one figure, or all of them."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from benchmarks.faults import back, fairness, handlers, late, rates, restart, unselected


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    figures = parser.add_subparsers(dest="figure", help="without one: all, in this order")
    figure = figures.add_parser("handlers", help="handlers that outlive their connection")
    figure.add_argument("--rounds", type=int, default=8)
    figure.set_defaults(measure=lambda o: handlers.main(o.rounds))
    figure = figures.add_parser("unselected", help="memory for peers that never select")
    figure.add_argument("--peers", type=int, default=60)
    figure.set_defaults(measure=lambda o: unselected.main(o.peers))
    figure = figures.add_parser("fairness", help="what a flood costs another session")
    figure.add_argument("--attackers", type=int, default=8)
    figure.add_argument("--seconds", type=float, default=0.8, help="for each case")
    figure.add_argument("--only", default="", help="floods whose name has this in it")
    figure.set_defaults(measure=lambda o: fairness.main(o.attackers, o.seconds, o.only))
    figure = figures.add_parser("rates", help="what fairness costs honest hosts")
    figure.add_argument("--hosts", type=int, default=8)
    figure.add_argument("--in-flight", type=int, default=64)
    figure.add_argument("--seconds", type=float, default=3.0)
    figure.set_defaults(measure=lambda o: rates.main(o.hosts, o.in_flight, o.seconds))
    figure = figures.add_parser("late", help="what a program loses that wakes late")
    figure.add_argument("--links", type=int, default=30)
    figure.set_defaults(measure=lambda o: late.main(o.links))
    figure = figures.add_parser("restart", help="links that come back together")
    figure.add_argument("--links", type=int, default=1_000)
    figure.add_argument("--t5", type=float, default=2.0, help="seconds")
    figure.set_defaults(measure=lambda o: restart.main(o.links, o.t5))
    figure = figures.add_parser("back", help="how long a link takes to come back")
    figure.set_defaults(measure=lambda _: back.main())
    chosen = parser.parse_args()
    if sys.platform != "linux":
        parser.error(
            "it needs Linux: memory is read in /proc, and processes are stopped by signals"
        )
    # Like Ctrl-C, it must pass by the end of each block, which kills the children.
    signal.signal(signal.SIGTERM, _stop)
    if chosen.figure:
        wanted = [chosen]
    else:
        wanted = [each.parse_args([]) for each in figures.choices.values()]
    try:
        for options in wanted:
            options.measure(options)
    except KeyboardInterrupt:
        sys.exit(130)


def _stop(_: int, __: FrameType | None) -> None:
    sys.exit(143)


if __name__ == "__main__":
    main()
