"""Stream 2: constants, the clock, traces, reports and events, remote commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hsms_engine.fake.model.asked import asked, item_at
from hsms_engine.fake.model.bounds import (
    IN_REPORTS,
    REPORTS,
    SAMPLED,
    SENT_AT_ONCE,
    TRACED,
    TRACES,
)
from hsms_engine.fake.model.changes import Trace
from hsms_engine.fake.model.declared import Command, FormatError
from hsms_engine.fake.model.ids import Id, id_of
from hsms_engine.fake.model.live import LiveModel
from hsms_engine.fake.model.times import parse_period, parse_time
from hsms_engine.message import Message
from hsms_engine.messages import (
    S2F13,
    S2F14,
    S2F15,
    S2F16,
    S2F17,
    S2F18,
    S2F23,
    S2F24,
    S2F25,
    S2F26,
    S2F29,
    S2F30,
    S2F31,
    S2F32,
    S2F33,
    S2F34,
    S2F35,
    S2F36,
    S2F37,
    S2F38,
    S2F41,
    S2F42,
    S2F49,
    S2F50,
    Function,
)
from hsms_engine.secs2 import A, B, C, Item, J, L

# EAC
_NO_SUCH_CONSTANT: Final = 1
_OUT_OF_RANGE: Final = 3
# TIAACK
_TOO_MANY_SVIDS: Final = 1
_NO_MORE_TRACES: Final = 2
_WRONG_PERIOD: Final = 3
_NO_SUCH_SVID: Final = 4
_WRONG_GROUP: Final = 5
# TIACK
_NOT_DONE: Final = 1
# DRACK and LRACK
_NO_SPACE: Final = 1
_WRONG_FORM: Final = 2
_THERE_ALREADY: Final = 3
_NO_SUCH_VID: Final = 4
_NO_SUCH_EVENT: Final = 4
_NO_SUCH_REPORT: Final = 5
# ERACK
_NO_SUCH_CEID: Final = 1
# HCACK
_NO_SUCH_COMMAND: Final = 1
_WRONG_PARAMETER: Final = 3
_DONE: Final = frozenset({0, 4})
# CPACK
_NO_SUCH_NAME: Final = 1
_WRONG_VALUE: Final = 2
_WRONG_FORMAT: Final = 3


# Constants


def _constants(live: LiveModel, request: S2F13) -> Message:
    found = asked(request.ecids, live.model.kinds["constant"])
    return S2F14(*[live.value_or_none(ecid if each else None) for ecid, each in found])


def _set_constants(live: LiveModel, request: S2F15) -> Message:
    known = live.model.kinds["constant"]
    values: dict[Id, Item] = {}
    for index, (given, _) in enumerate(request.constants):
        ecid = id_of(given)
        if ecid not in known:
            return S2F16(_NO_SUCH_CONSTANT)
        try:
            values[ecid] = known[ecid].fit_item(item_at(request, index, 1))
        except ValueError:
            # There is no code for a wrong format.
            return S2F16(_OUT_OF_RANGE)
    for ecid, value in values.items():
        live.put(ecid, value)
    return S2F16(0)


def _constant_names(live: LiveModel, request: S2F29) -> Message:
    found = asked(request.ecids, live.model.kinds["constant"])
    rows: list[tuple[Item, str, Item, Item, Item, str]] = []
    for index, (ecid, each) in enumerate(found):
        if each is None:
            rows.append((item_at(request, index), "", A(), A(), A(), ""))
        else:
            lowest, highest = each.bound(each.lowest), each.bound(each.highest)
            # SEMI E5 has no list and no text but A as ECDEF, which ECV may be.
            first = A() if isinstance(each.value, L | C | J) else each.value
            item = live.model.id_item(ecid)
            rows.append((item, each.name, lowest, highest, first, each.units))
    return S2F30(*rows, text_encoding=live.model.text_encoding)


# Clock


def _time(live: LiveModel, _: S2F17) -> Message:
    return S2F18(live.time())


def _set_time(live: LiveModel, request: S2F31) -> Message:
    time = parse_time(request.time)
    if time is None:
        return S2F32(_NOT_DONE)
    live.set_clock(time)
    return S2F32(0)


def _loop_back(_: LiveModel, request: S2F25) -> Message:
    return S2F26(item_at(request))


# Traces


def _trace(live: LiveModel, request: S2F23) -> Message:
    trid = id_of(request.trid)
    total = id_of(request.totsmp)
    if total == 0:
        live.end_trace(trid)
        return S2F24(0)
    code, trace = _new_trace(live, request, trid, total)
    if trace is not None:
        live.begin_trace(trace)
    return S2F24(code)


def _new_trace(live: LiveModel, request: S2F23, trid: Id, total: Id) -> tuple[int, Trace | None]:
    period = parse_period(request.dsper)
    if period is None:
        return _WRONG_PERIOD, None
    svids = [id_of(each) for each in request.svids]
    if len(svids) > TRACED:
        return _TOO_MANY_SVIDS, None
    known = live.model.kinds["status"]
    if not svids or any(each not in known for each in svids):
        return _NO_SUCH_SVID, None
    group = id_of(request.repgsz)
    # TOTSMP has no code of its own: a group that does not fit it is the nearest.
    if not isinstance(total, int) or not isinstance(group, int) or not 1 <= group <= total:
        return _WRONG_GROUP, None
    if group * len(svids) > SENT_AT_ONCE:
        return _WRONG_GROUP, None
    if trid not in live.traces and len(live.traces) >= TRACES:
        return _NO_MORE_TRACES, None
    others = [each for each in live.traces.values() if each.id != trid]
    read = sum(len(each.variables) / each.period for each in others)
    if read + len(svids) / period > SAMPLED:
        return _WRONG_PERIOD, None
    return 0, Trace(trid, item_at(request, 0), period, total, group, tuple(svids))


# Reports and events


def _define_reports(live: LiveModel, request: S2F33) -> Message:
    groups = request.reports
    reports, links = live.reports.copy(), live.links.copy()
    if not groups:
        reports.clear()
        for ceid, linked in [*links.items()]:
            if linked:
                links.put(ceid, ())
    deleted: set[Id] = set()
    for given, vids in groups:
        rptid = id_of(given)
        if not vids:
            reports.delete(rptid)
            deleted.add(rptid)
            continue
        variables = tuple(map(id_of, vids))
        if not live.model.writes(rptid):
            return S2F34(_WRONG_FORM)
        if rptid in reports:
            return S2F34(_THERE_ALREADY)
        if any(each not in live.model.variables for each in variables):
            return S2F34(_NO_SUCH_VID)
        if len(variables) > SENT_AT_ONCE:
            return S2F34(_NO_SPACE)
        reports.put(rptid, variables)
    if len(reports) > REPORTS or sum(map(len, reports.values())) > IN_REPORTS:
        return S2F34(_NO_SPACE)
    if deleted:
        for ceid, linked in [*links.items()]:
            if not deleted.isdisjoint(linked):
                links.put(ceid, tuple([each for each in linked if each not in deleted]))
    live.reports, live.links = reports, links
    return S2F34(0)


def _link_reports(live: LiveModel, request: S2F35) -> Message:
    links = live.links.copy()
    for given, rptids in request.links:
        ceid = id_of(given)
        if ceid not in links:
            return S2F36(_NO_SUCH_EVENT)
        linked = tuple(dict.fromkeys(map(id_of, rptids)))
        if any(each not in live.reports for each in linked):
            return S2F36(_NO_SUCH_REPORT)
        if linked and links[ceid]:
            return S2F36(_THERE_ALREADY)
        if sum(len(live.reports[each]) for each in linked) > SENT_AT_ONCE:
            return S2F36(_NO_SPACE)
        links.put(ceid, linked)
    sizes = [len(live.reports[each]) for linked in links.values() for each in linked]
    if sum(sizes) > IN_REPORTS:
        return S2F36(_NO_SPACE)
    live.links = links
    return S2F36(0)


def _enable_events(live: LiveModel, request: S2F37) -> Message:
    known = live.model.events
    ceids = [id_of(each) for each in request.ceids] or [*known]
    if any(each not in known for each in ceids):
        return S2F38(_NO_SUCH_CEID)
    live.enable_events(ceids, enabled=request.enable)
    return S2F38(0)


# Commands


def _command(live: LiveModel, request: S2F41) -> Message:
    return S2F42(*_carried_out(live, request.rcmd, request.parameters, item_at(request, 1)))


def _enhanced_command(live: LiveModel, request: S2F49) -> Message:
    return S2F50(*_carried_out(live, request.rcmd, request.parameters, item_at(request, 3)))


_Faults = list[tuple[Item, int]]


def _carried_out(
    live: LiveModel, rcmd: int | str, parameters: Iterable[tuple[Any, Any]], items: Item
) -> tuple[int, _Faults]:
    """HCACK, and what is wrong with which parameter."""
    command = live.model.commands.get(id_of(rcmd))
    if command is None:
        return _NO_SUCH_COMMAND, []
    values: dict[Id, Item] = {}
    faults: _Faults = []
    names: set[Id] = set()
    for index, (given, _) in enumerate(parameters):
        name, (item, value) = id_of(given), _pair(items, index)
        names.add(name)
        code = _fault(live, command, name, value, values)
        if code:
            faults.append((item, code))
    for parameter in command.parameters or ():
        if parameter.required and parameter.name not in names:
            faults.append((live.model.id_item(parameter.name), _WRONG_VALUE))
    if faults:
        return _WRONG_PARAMETER, faults
    if command.answer in _DONE:
        for vid, value in values.items():
            live.put(vid, value)
    return command.answer, []


def _pair(items: Item, index: int) -> tuple[Item, Item]:
    """A parameter's name and value, as they were sent."""
    assert isinstance(items, L)
    pair = items[index]
    assert isinstance(pair, L)
    return pair[0], pair[1]


def _fault(live: LiveModel, command: Command, name: Id, value: Item, values: dict[Id, Item]) -> int:
    """CPACK of a parameter, 0 when nothing is wrong. Its value is kept if a variable takes it."""
    if command.parameters is None:
        return 0
    declared = next((each for each in command.parameters if each.name == name), None)
    if declared is None:
        return _NO_SUCH_NAME
    if declared.program:
        if not isinstance(value, A | B):
            return _WRONG_FORMAT
        if value.raw not in live.programs:
            return _WRONG_VALUE
    if declared.variable is not None:
        try:
            fit = live.model.variables[declared.variable].fit_item(value)
        except FormatError:
            return _WRONG_FORMAT
        except ValueError:
            return _WRONG_VALUE
        values[declared.variable] = fit
    return 0


ANSWERS: Final[Mapping[type[Function], Callable[[LiveModel, Any], Message]]] = {
    S2F13: _constants,
    S2F15: _set_constants,
    S2F17: _time,
    S2F23: _trace,
    S2F25: _loop_back,
    S2F29: _constant_names,
    S2F31: _set_time,
    S2F33: _define_reports,
    S2F35: _link_reports,
    S2F37: _enable_events,
    S2F41: _command,
    S2F49: _enhanced_command,
}
