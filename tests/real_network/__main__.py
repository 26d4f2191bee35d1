"""``python -m tests.real_network [ROW ...]``: run the list of faults, or some, and print figures.

Exit code 0: all is as expected, or it cannot run here and says why; with ``CI=true`` that is a
failure.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from hsms_engine.driver.tcp import address_text, connect_tcp
from tests.real_network import namespaces, table
from tests.real_network.elsewhere import left_out
from tests.real_network.rows import ROWS, Row
from tests.real_network.run import Result, run_row
from tests.support.network import elsewhere


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options. Exits with code 2 for a row that is none."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.real_network",
        description="Make faults on a real network, between two namespaces, and compare what "
        "follows with the bounds. Needs Linux and root; with HSMS_SERVER_HOST and "
        "HSMS_SERVER_PORT neither: then through a proxy, with the equipment there.",
    )
    parser.add_argument("row", nargs="*", help="names, or how they begin; without: all")
    parser.add_argument("--list", action="store_true", help="print the rows, and run none")
    parser.add_argument("--short", action="store_true", help="the short list, as CI runs it")
    parser.add_argument("--seed", type=int, default=0, help="which packets are lost (0)")
    parser.add_argument("--at-once", type=int, default=3, metavar="N", help="rows at a time (3)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the figures as Markdown")
    parser.add_argument("--verbose", action="store_true", help="print what each end has told")
    options = parser.parse_args(words)
    if options.table is not None and not options.table.parent.is_dir():
        parser.error(f"--table {options.table}: there is no such folder")
    try:
        options.address = elsewhere()
        options.rows = chosen(options.row, is_short=options.short)
    except (LookupError, ValueError) as error:
        parser.error(str(error))
    return options


def chosen(names: Sequence[str], *, is_short: bool) -> list[Row]:
    """The rows with these names, or that begin so, in the order of the list.

    Raises ``LookupError`` for a name that no row has.
    """
    for name in names:
        if not any(row.name.startswith(name) for row in ROWS):
            raise LookupError(f"no row begins with {name!r}: --list shows all")
    return [
        row
        for row in ROWS
        if (not names or row.name.startswith(tuple(names))) and (row.is_short or not is_short)
    ]


async def why_not_reached(host: str, port: int, patience: float = 10.0) -> str | None:
    """Why the equipment there cannot be dialled, or None."""
    try:
        with trio.fail_after(patience):
            (await connect_tcp(host, port)).close()
    except OSError as error:
        return f"{address_text((host, port))}: {error.strerror or error}"
    except trio.TooSlowError:
        return f"{address_text((host, port))}: no answer within {patience:g} s"
    return None


async def run_rows(rows: Sequence[Row], options: argparse.Namespace) -> list[Result]:
    """Run them, some at a time; print each when it is over."""
    results: dict[str, Result] = {}
    limit = trio.CapacityLimiter(options.at_once)

    async def run(row: Row) -> None:
        began = trio.current_time()
        try:
            result = await run_row(row, options.seed, options.address)
        except* (OSError, trio.TooSlowError) as group:
            why = "; ".join(map(repr, group.exceptions))
            result = Result(row, took=trio.current_time() - began, problem=why)
        limit.release_on_behalf_of(row.name)
        results[row.name] = result
        print(table.line(result), flush=True)
        if options.verbose or not result.is_good:
            print(*table.story(result), sep="\n", flush=True)

    async with trio.open_nursery() as nursery:
        # The long ones first. Tasks begin in no order, so each is started when there is room.
        for row in sorted(rows, key=lambda row: -(row.lasts or 0.0)):
            await limit.acquire_on_behalf_of(row.name)
            nursery.start_soon(run, row)
    return [results[row.name] for row in rows]


def main() -> int:
    options = parse()
    if options.list:
        for row in options.rows:
            expected = ", ".join(map(str, row.expected))
            print(f"{row.name:40} {'short' if row.is_short else '':6} {row.done} -> {expected}")
        return 0
    if options.address is not None:
        # The equipment has one session: one host at a time.
        options.at_once = 1
        for row in options.rows:
            if reason := left_out(row.fault, row.talk):
                print(f"{row.name:40} left out: {reason}")
        options.rows = [row for row in options.rows if not left_out(row.fault, row.talk)]
        if (why := trio.run(why_not_reached, *options.address)) is not None:
            print(f"the equipment that HSMS_SERVER_HOST names is not reached: {why}")
            return 1
    elif (why := namespaces.why_not()) is not None:
        print(f"not run: {why}", file=sys.stderr)
        return 1 if os.environ.get("CI") == "true" else 0
    elif stale := namespaces.remove_stale():
        print(f"removed what an earlier run has left: {', '.join(stale)}")
    results = trio.run(partial(run_rows, options.rows, options))
    good = sum(each.is_good for each in results)
    print(f"{good} of {len(results)} rows as expected")
    if options.table is not None:
        options.table.write_text(table.markdown(results, options.seed), "utf-8")
    return 0 if good == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
