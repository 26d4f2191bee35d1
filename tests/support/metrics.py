"""What a collector shows, as tests look at it."""

from __future__ import annotations

from typing import Any

from hsms_engine.metrics import Collector

# The name, the labels, and the number.
Shown = dict[tuple[str, frozenset[tuple[str, str]]], float]


def shown(collector: Collector) -> Shown:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


def number(collector: Collector, name: str, **labels: str) -> float:
    return shown(collector)[name, frozenset({"link": "a", **labels}.items())]


def numbers(collector: Collector, name: str, label: str) -> dict[str, float]:
    """Those that are not 0, by the value of a label."""
    return {
        dict(labels)[label]: value
        for (each, labels), value in shown(collector).items()
        if each == name and value
    }


def counters(now: Shown) -> Shown:
    """The numbers that must never fall."""
    return {
        key: value
        for key, value in now.items()
        if key[0].endswith(("_total", "_bucket", "_count", "_sum"))
    }


def fallen(before: Shown, after: Shown) -> list[object]:
    return [key for key, value in counters(before).items() if after.get(key, -1) < value]


def one(observable: Any) -> Collector:
    collector = Collector()
    collector.add(observable, "a")
    return collector
