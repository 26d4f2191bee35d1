"""What a link is after each of its records.

It is pure: it asks no clock and no link, and is fed with records, live or from a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, Literal, NamedTuple, assert_never

from hsms_engine.protocol.leasing import OWNERSHIP
from hsms_engine.recording import (
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    Json,
    LinkRecord,
    OwnerRecord,
    RecordOfLink,
    SettingsRecord,
    StepRecord,
)
from statecharts.hsms import LEASE

_LINKTEST: Final = "linktest_interval"
# What a file may tell of a link beside its records, far more than there is: characters of a name
# and of an error, charts, settings.
_NAME: Final = 1_000
_CHARTS: Final = 64
_SETTINGS: Final = 1_000


@dataclass(frozen=True, slots=True)
class ChartNow:
    """Where a chart is, and since when (UTC): the first record that shows these leaves."""

    leaves: str
    values: Mapping[str, int]
    since: float


class LastError(NamedTuple):
    """The class of an error, what it says, and when it was told (UTC)."""

    error: str
    text: str
    wall: float


class LeaseNow(NamedTuple):
    """Where the lease of a link is, and since when (UTC); for a standby, since it knows the owner.

    ``owner`` is empty when nobody is known, and when it is this process and no record has said what
    it is called. ``lease_epoch`` is the latest that is known.
    """

    state: str
    since: float
    owner: str
    lease_epoch: int


@dataclass(frozen=True, slots=True)
class LinkNow:
    """A link as its records tell it. ``at`` and ``wall`` are of the latest of them.

    ``timers`` run, each until the time that is given on the clock of ``at``; infinite: it waits for
    something. ``round_trip`` are the seconds of the latest request that was answered, or None.
    ``records`` is how many there were.

    ``role`` is None when no record has said what link this is: the file begins after that.

    It takes a bounded amount of memory: the rest of a long name or error, and charts and settings
    that are more than any engine has, are left out here, and are in the records.
    """

    name: str
    peer: str
    role: Literal["active", "passive"] | None
    server: str | None
    at: float
    wall: float
    epoch: int
    states: Mapping[str, ChartNow] = field(default_factory=dict)
    timers: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Json] = field(default_factory=dict)
    last_step: StepRecord | None = None
    round_trip: float | None = None
    last_error: LastError | None = None
    lease: LeaseNow | None = None
    is_gone: bool = False
    records: int = 0


def is_late(now: LinkNow | None, record: RecordOfLink) -> bool:
    """Whether ``record`` is a step that comes after later ones. It changes no state."""
    last = None if now is None else now.last_step
    return type(record) is StepRecord and last is not None and record.at < last.at


def after(now: LinkNow | None, record: RecordOfLink) -> LinkNow:
    """The link after its next record; ``now`` is None before its first."""
    found = now or LinkNow(
        f"link {record.link}", "", None, None, record.at, record.wall, record.epoch
    )
    seen = replace(
        found,
        at=max(found.at, record.at),
        wall=max(found.wall, record.wall),
        epoch=record.epoch,
        records=found.records + 1,
    )
    match record:
        case LinkRecord():
            return replace(
                seen,
                name=(record.name or record.peer)[:_NAME],
                peer=record.peer[:_NAME],
                role=record.role,
                server=None if record.server is None else record.server[:_NAME],
                states={
                    chart: _chart_now(seen, record, chart, state.leaves, state.values)
                    for chart, state in islice(record.states.items(), _CHARTS)
                },
                timers=record.timers,
                settings=_first(record.settings),
                lease=_lease_begun(seen, record),
                is_gone=False,
            )
        case SettingsRecord():
            return replace(seen, settings=_first({**seen.settings, **record.changed}))
        case StepRecord():
            if is_late(now, record):
                return seen
            states, lease = dict(seen.states), seen.lease
            for hop in record.hops:
                if hop.chart == LEASE.id:
                    lease = _lease_moved(lease, ownership_of(hop.after), record.wall)
                if len(states) >= _CHARTS and hop.chart not in states:
                    continue
                states[hop.chart] = _chart_now(seen, record, hop.chart, hop.after, hop.values)
            return replace(seen, states=states, timers=record.timers, last_step=record, lease=lease)
        case FrameRecord(sent=True):
            return seen
        case FrameRecord():
            timers = _after_receiving(seen, record.at)
            return replace(
                seen,
                round_trip=seen.round_trip if record.seconds is None else record.seconds,
                timers=timers,
            )
        case EventRecord(fields=fields):
            return replace(
                seen,
                last_error=_error_told(fields, record.wall) or seen.last_error,
                lease=_lease_told(seen.lease, record),
            )
        case ErrorRecord():
            return replace(seen, last_error=_last_error(record.error, record.text, record.wall))
        case GoneRecord():
            return replace(seen, timers={}, is_gone=True)
        case _:
            assert_never(record)


def ownership_of(leaves: str) -> str:
    """The state of the lease in these leaves of its chart; of another version, the leaves.

    To ask the store for it is a part of standing by, which comes and goes.
    """
    state = OWNERSHIP.get(leaves, leaves[:_NAME])
    return "standby" if state == "acquiring" else state


def _lease_begun(now: LinkNow, record: LinkRecord) -> LeaseNow | None:
    if LEASE.id not in record.states:
        return None
    owned = record.ownership or OwnerRecord("", 0)
    moved = _lease_moved(now.lease, ownership_of(record.states[LEASE.id].leaves), record.wall)
    return _lease_owned(moved, owned.owner, owned.lease_epoch, record.wall)


def _lease_moved(before: LeaseNow | None, state: str, wall: float) -> LeaseNow:
    if before is None:
        return LeaseNow(state, wall, "", 0)
    return before if before.state == state else before._replace(state=state, since=wall)


def _lease_owned(before: LeaseNow, owner: str, epoch: int, wall: float) -> LeaseNow:
    is_news = before.state == "standby" and before.owner != owner[:_NAME]
    since = wall if is_news else before.since
    return before._replace(owner=owner[:_NAME], lease_epoch=epoch, since=since)


def _lease_told(lease: LeaseNow | None, record: EventRecord) -> LeaseNow | None:
    """The lease after an event. The step that made it comes after it."""
    match record.event, record.fields:
        case "Standby", {"owner": str(owner), "lease_epoch": int(epoch)}:
            found = lease or LeaseNow("standby", record.wall, owner[:_NAME], epoch)
            return _lease_owned(found, owner, epoch, record.wall)
        case "Owning", {"lease_epoch": int(epoch)}:
            # Who has it is this process, whatever it is called.
            found = lease or LeaseNow("owner", record.wall, "", epoch)
            return found._replace(owner="", lease_epoch=epoch)
        case "Withdrawn", _ if lease is not None:
            return lease._replace(owner="")
        case _:
            return lease


def _error_told(fields: Mapping[str, Json], wall: float) -> LastError | None:
    match fields:
        case {"error": {"error": str(error), "text": str(text)}}:
            return _last_error(error, text, wall)
        case _:
            return None


def _last_error(error: str, text: str, wall: float) -> LastError:
    return LastError(error[:_NAME], text[:_NAME], wall)


def _first(settings: Mapping[str, Json]) -> Mapping[str, Json]:
    return dict(islice(settings.items(), _SETTINGS))


def _after_receiving(now: LinkNow, at: float) -> Mapping[str, float]:
    """The timers: what is received puts off the next linktest, without a step of the charts."""
    due, interval = now.timers.get(_LINKTEST), now.settings.get(_LINKTEST)
    if due is None or not isinstance(interval, int | float):
        return now.timers
    return {**now.timers, _LINKTEST: max(due, at + interval)}


def _chart_now(
    now: LinkNow,
    record: LinkRecord | StepRecord,
    chart: str,
    leaves: str,
    values: Mapping[str, int],
) -> ChartNow:
    before = now.states.get(chart)
    if before is not None and before.leaves == leaves:
        return replace(before, values=values)
    return ChartNow(leaves, values, record.wall)
