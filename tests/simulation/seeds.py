"""Runs the plans of many seeds, in this process or in several, and counts what came about."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from tests.simulation.monitors import Monitors
from tests.simulation.plan import make_plan
from tests.simulation.run import run_plan

# Seeds that one process runs before it tells what came of them.
_BLOCK = 25
Counted = tuple[int, list[tuple[int, str]], Counter[str], float, float]


def run_seeds(seeds: list[int]) -> Counted:
    """How many were run, the faults found, what came about, link-seconds and seconds of CPU."""
    monitors, counts, faults = monitors_here(), Counter[str](), list[tuple[int, str]]()
    monitors.forget_counts()
    began, link_seconds = time.process_time(), 0.0
    for seed in seeds:
        report = run_plan(make_plan(seed), monitors)
        counts.update(report.sometimes)
        link_seconds += report.link_seconds
        if report.fault:
            faults.append((seed, report.fault))
    counts.update(monitors.taken())
    return len(seeds), faults, counts, link_seconds, time.process_time() - began


_kept: list[Monitors] = []


def monitors_here() -> Monitors:
    """Those of this process, which know what they have judged."""
    if not _kept:
        _kept.append(Monitors())
    return _kept[0]


def blocks(seeds: Iterable[int]) -> Iterator[list[int]]:
    """The seeds, some at a time."""
    rest = iter(seeds)
    while block := list(islice(rest, _BLOCK)):
        yield block


def count(seeds: Iterable[int], jobs: int) -> Iterator[Counted]:
    """What ``run_seeds`` tells of each block of seeds, in order; ``jobs`` processes run them."""
    if jobs == 1:
        yield from map(run_seeds, blocks(seeds))
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run_seeds, blocks(seeds))
