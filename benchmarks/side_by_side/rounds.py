"""Rounds in which every subject takes its turn, each turn two processes and bounded in time."""

from __future__ import annotations

import json
import os
import selectors
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TypeVar

from benchmarks.side_by_side.work import CannotError, Figures, Start, Work, written

T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent

# A subject that has failed so often in a case takes no more turns in it.
_TRIES = 2


def order(subjects: Sequence[T], number: int) -> list[T]:
    """The subjects as they take turns in round ``number``: each round another one begins."""
    first = number % len(subjects) if subjects else 0
    return [*subjects[first:], *subjects[:first]]


class FailedError(Exception):
    """A process of a subject died, or said nothing in time."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


@dataclass(slots=True)
class Outcome:
    """What has come of one subject in one case: figures of each round, or why there are none."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    cannot: str = ""
    failed: list[str] = field(default_factory=list)

    def take(self, figures: Figures) -> None:
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)

    @property
    def is_over(self) -> bool:
        return bool(self.cannot) or len(self.failed) >= _TRIES


Turn = Callable[[T, Work], Figures]


def one_round(
    subjects: Sequence[T],
    number: int,
    work_of: Callable[[T], Work],
    outcomes: Mapping[T, Outcome],
    turn_of: Turn[T],
) -> None:
    """Give each subject its turn in a case, but those of which it is known that they cannot."""
    for subject in order(subjects, number):
        outcome = outcomes[subject]
        if outcome.is_over:
            continue
        try:
            outcome.take(turn_of(subject, work_of(subject)))
        except CannotError as error:
            outcome.cannot = str(error)
        except FailedError as error:
            outcome.failed.append(str(error))


def turn(
    program: Sequence[str],
    port: int,
    work: Work,
    patience: float,
    environment: Mapping[str, str] = os.environ,
) -> Figures:
    """One round of one subject.

    ``patience`` is in seconds, for the listener to be ready and for the work. Raises
    ``CannotError`` and ``FailedError``; both processes are over afterwards.
    """
    with _listening(program, port, work, patience, environment) as (listener, errors):
        if isinstance(work, Start):
            work = replace(work, began=time.monotonic())
        ask = [*program, "ask", str(port), str(listener.pid), written(work)]
        try:
            done = subprocess.run(
                ask, capture_output=True, timeout=patience, check=False, cwd=ROOT, env=environment
            )
        except subprocess.TimeoutExpired as error:
            said = _last_line(_read(errors))
            raise FailedError(f"not done in {patience:g} s{said}") from error
    if done.returncode != 0:
        raise FailedError(f"ended with {done.returncode}{_last_line(done.stderr)}")
    try:
        found = json.loads(done.stdout.strip().rpartition(b"\n")[2])
    except ValueError as error:
        raise FailedError(f"ended and said no figures{_last_line(done.stderr)}") from error
    if "cannot" in found:
        raise CannotError(found["cannot"])
    return {name: float(value) for name, value in found.items()}


@contextmanager
def _listening(
    program: Sequence[str],
    port: int,
    work: Work,
    patience: float,
    environment: Mapping[str, str],
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """The end that listens, and what it writes on its standard error; killed at the end."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [*program, "listen", str(port), written(work)],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=environment,
        ) as listener,
    ):
        try:
            _wait_until_ready(listener, errors, patience)
            yield listener, errors
        finally:
            listener.kill()


def _wait_until_ready(
    listener: subprocess.Popen[bytes], errors: IO[bytes], patience: float
) -> None:
    assert listener.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(listener.stdout, selectors.EVENT_READ)
        if not selector.select(patience):
            raise FailedError(f"the end that listens was not ready in {patience:g} s")
    if not os.read(listener.stdout.fileno(), 100):
        listener.wait()
        raise FailedError(f"the end that listens has ended{_last_line(_read(errors))}")


def _read(errors: IO[bytes]) -> bytes:
    errors.seek(0)
    return errors.read()


def _last_line(said: bytes) -> str:
    """What to add to the sentence, if anything was said."""
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    return f": {last[:200]}" if last else ""
