"""Reads a recording as a test wants it: whole, and each step following from the one before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path

from hsms_engine.protocol.saving import RESTORED
from hsms_engine.recording import LinkRecord, Record, StepRecord, Unread, read
from tests.simulation.plan import Plan
from tests.simulation.run import run_plan


def read_whole(path: Path) -> list[Record]:
    """All records: every line can be read and has only known keys, and the file has an end."""
    reader = read([path])
    records: list[Record] = []
    for each in reader:
        assert not isinstance(each, Unread), str(each)
        records.append(each)
    assert not reader.cut
    assert not reader.unknown_keys
    return records


def follow(records: Iterable[Record]) -> Mapping[int, Mapping[str, str]]:
    """Where the charts of each link are at last. Each hop begins where its chart was."""
    now: dict[int, dict[str, str]] = {}
    for record in records:
        match record:
            case LinkRecord():
                now[record.link] = {chart: state.leaves for chart, state in record.states.items()}
            case StepRecord():
                states = now[record.link]
                for hop in record.hops:
                    # The link record has already what was restored, which the first step tells.
                    assert hop.event == RESTORED or states[hop.chart] == hop.before, record
                    states[hop.chart] = hop.after
            case _:
                pass
    return now


def recording_of(plan: Plan) -> str:
    """The recording of a run of the simulation."""
    file = StringIO()
    run_plan(plan, record=file)
    return file.getvalue()
