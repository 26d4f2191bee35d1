"""What is measured: the work of each case, and the columns that show its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.side_by_side.work import Connects, Events, Links, Start, Steps, Trips, Work

IN_FLIGHT = (8, 32, 64, 256)
SIZES = {"1 kB": 1_000, "100 kB": 100_000, "1 MB": 1_000_000, "10 MB": 10_000_000}
LINKS = (1_000, 5_000)


@dataclass(frozen=True, slots=True)
class Column:
    """A ``figure`` of a case, times ``factor``, under a heading of the table ``table``."""

    table: str
    heading: str
    figure: str
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """``patience``: seconds that a turn may take."""

    name: str
    work: Work
    columns: tuple[Column, ...]
    patience: float = 60.0
    is_quick: bool = False


TRIPS = "Round trips of S1F1"
CPU = "CPU of both ends for each round trip of S1F1, in µs"
ECHO = "Echo of S2F25: round trip, in ms"
PEAK = "Echo of S2F25: peak of resident memory, times the body"
EVENTS = "One-way S6F11 of 242 B, built and decoded"
START = "Starts and connections"
MANY = "Many links"
TLS = "TLS 1.3, both ends check a certificate"
BESIDE = "S1F1 beside a handler that takes 50 ms"
CHART = "Events through a chart"


def cases(certificates: Path) -> Sequence[Case]:
    """``certificates`` is a folder of ``benchmarks.side_by_side.certificates``."""
    tls = str(certificates)
    return [
        Case(
            "sequential",
            Trips(2_000),
            (
                Column(TRIPS, "one by one, median µs", "median", 1e6),
                Column(TRIPS, "p99 µs", "p99", 1e6),
                Column(CPU, "one by one", "cpu", 1e6),
            ),
            is_quick=True,
        ),
        *(
            Case(
                f"{number} in flight",
                Trips(20_000, in_flight=number),
                (
                    Column(TRIPS, f"{number} in flight, /s", "rate"),
                    Column(CPU, f"{number} in flight", "cpu", 1e6),
                ),
                is_quick=number == 64,
            )
            for number in IN_FLIGHT
        ),
        *(
            Case(
                f"echo of {name}",
                Trips(max(3, min(500, 20_000_000 // size)), size=size),
                (
                    Column(ECHO, name, "median", 1e3),
                    *(
                        (
                            Column(PEAK, f"{name}, asking", "peak_asking", 1 / size),
                            Column(PEAK, f"{name}, answering", "peak_answering", 1 / size),
                        )
                        if size >= 1_000_000
                        else ()
                    ),
                ),
                is_quick=size == 100_000,
            )
            for name, size in SIZES.items()
        ),
        Case(
            "start",
            Start(),
            (Column(START, "start of the process to SELECTED, ms", "start", 1e3),),
            is_quick=True,
        ),
        Case(
            "connects",
            Connects(100),
            (Column(START, "connect, select, separate, /s", "rate"),),
        ),
        Case(
            "events",
            Events(5_000),
            (
                Column(EVENTS, "events/s", "rate"),
                Column(EVENTS, "CPU of both ends for each, µs", "cpu", 1e6),
            ),
        ),
        Case(
            f"{LINKS[0]:,} links",
            Links(LINKS[0], idle=30.0, trips=10_000),
            (
                *_of_links(LINKS[0]),
                Column(MANY, "idle CPU, dialling, %", "idle_dialling", 100),
                Column(MANY, "idle CPU, listening, %", "idle_listening", 100),
                Column(MANY, f"{LINKS[0]:,}: one S1F1 in flight on each, /s", "rate_all"),
                Column(MANY, "one after the other on one of them, /s", "rate_one"),
            ),
            patience=150.0,
        ),
        Case(f"{LINKS[1]:,} links", Links(LINKS[1]), _of_links(LINKS[1]), patience=300.0),
        Case("TLS", Trips(1_000, tls=tls), (Column(TLS, "S1F1, median µs", "median", 1e6),)),
        Case(
            "TLS, 1 MB",
            Trips(10, size=1_000_000, tls=tls),
            (Column(TLS, "echo of 1 MB, median ms", "median", 1e3),),
        ),
        Case(
            "TLS connects",
            Connects(50, tls=tls),
            (Column(TLS, "connect, select, separate, /s", "rate"),),
        ),
        Case(
            "beside a slow handler",
            Trips(1_000, beside_slow=True),
            (
                Column(BESIDE, "median µs", "median", 1e6),
                Column(BESIDE, "p99 µs", "p99", 1e6),
            ),
        ),
        Case("chart", Steps(200_000), (Column(CHART, "ns each", "cpu", 1e9),)),
    ]


def _of_links(number: int) -> tuple[Column, ...]:
    return (
        Column(MANY, f"{number:,}: all selected, s", "selected"),
        Column(MANY, f"{number:,}: kB each, dialling", "dialling", 1e-3),
        Column(MANY, f"{number:,}: kB each, listening", "listening", 1e-3),
    )
