"""What a tool file holds, one row for each thing: for ``--list``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from hsms_engine.fake.file import ToolFile
from hsms_engine.fake.model import Alarm, Command, Model, Parameter, Variable
from hsms_engine.fake.plan import ToolPlan
from hsms_engine.fake.rules.rule import reply_text
from hsms_engine.sml.printer import shorten

_LONGEST = 60


class Row(NamedTuple):
    """``kind`` is that of the table, ``key`` its id or name, ``text`` what it says of it.

    ``details`` is the same for programs: each value under its key in the file. What is empty is
    left out.
    """

    kind: str
    key: str
    text: str
    details: Mapping[str, object]

    def __str__(self) -> str:
        # A rule without a name of its own is "rule 1".
        is_said = not self.key and self.text.startswith(f"{self.kind} ")
        said = ("" if is_said else self.kind, self.key, self.text)
        return " ".join(each for each in said if each)


def rows(file: ToolFile) -> Iterator[Row]:
    """All of it. Tools that share a model and its rules are listed in full once."""
    shown: dict[tuple[int, int], str] = {}
    for plan in file.tools:
        alike = shown.setdefault((id(plan.model), id(plan.rules)), plan.name)
        yield _tool(plan, "" if alike == plan.name else f"as {alike}")
        if alike == plan.name:
            yield from _model(plan.model)
            yield from _rules(plan)


def _row(kind: str, key: str, shown: str, /, **details: object) -> Row:
    told = {name: value for name, value in details.items() if value not in (None, "", ())}
    return Row(kind, key, shown, told)


def _tool(plan: ToolPlan, alike: str) -> Row:
    model = plan.model
    where = [] if plan.session_id is None else [f"session id {plan.session_id}"]
    where += [] if plan.port is None else [f"port {plan.port}"]
    state, control = ("on-line", "online") if model.is_online else ("off-line", "offline")
    ids = model.ids.__name__
    seed, unknown = f"seed {plan.seed}", f"unknown: {plan.unknown}"
    return _row(
        "tool",
        plan.name,
        _joined(
            [f"{model.mdln} {model.softrev}", state, f"ids {ids}", seed, unknown, *where, alike]
        ),
        model=model.mdln,
        software=model.softrev,
        ids=ids,
        seed=plan.seed,
        unknown=plan.unknown,
        control=control,
        session_id=plan.session_id,
        port=plan.port,
    )


def _model(model: Model) -> Iterator[Row]:
    for variable in model.variables.values():
        yield _variable(variable, shorten(variable.value, _LONGEST, model.text_encoding))
    for report in model.reports.values():
        vids = report.variables
        yield _row("report", str(report.id), _ids(vids), variables=vids)
    for event in model.events.values():
        reports = f"reports {_ids(event.reports)}" if event.reports else ""
        yield _row(
            "event",
            str(event.id),
            _joined([event.name, reports, _off(event.enabled)]),
            name=event.name,
            reports=event.reports,
            enabled=event.enabled,
        )
    for alarm in model.alarms.values():
        yield _alarm(alarm)
    for program in model.programs.values():
        name = program.name.decode(model.text_encoding or "latin-1", "replace")
        body = shorten(program.body, _LONGEST, model.text_encoding)
        yield _row("program", name, body, body=body)
    for command in model.commands.values():
        yield _command(command)


def _variable(variable: Variable, value: str) -> Row:
    is_constant, source = variable.kind == "constant", variable.source
    only = "in reports only" if variable.kind == "data" else ""
    shown = value if source is None else f"from {source}"
    return _row(
        "constant" if is_constant else "variable",
        str(variable.id),
        _joined([variable.name, shown, variable.units, _range(variable), only]),
        name=variable.name,
        units=variable.units,
        value=value if source is None else None,
        lowest=variable.lowest,
        highest=variable.highest,
        kind=None if is_constant else variable.kind,
        source=source,
    )


def _alarm(alarm: Alarm) -> Row:
    events = [
        f"{when} {ceid}"
        for when, ceid in (("set:", alarm.set_event), ("cleared:", alarm.clear_event))
        if ceid is not None
    ]
    return _row(
        "alarm",
        str(alarm.id),
        _joined([alarm.text, f"category {alarm.category}", _off(alarm.enabled), *events]),
        text=alarm.text,
        category=alarm.category,
        enabled=alarm.enabled,
        set_event=alarm.set_event,
        clear_event=alarm.clear_event,
    )


def _command(command: Command) -> Row:
    takes, parameters = "any parameters", None
    if command.parameters is not None:
        takes = f"parameters {_ids(map(_parameter, command.parameters))}"
        parameters = {
            str(each.name): {
                "program": each.program,
                "required": each.required,
                "variable": each.variable,
            }
            for each in command.parameters
        }
    text = _joined([f"HCACK {command.answer}", takes])
    return _row("command", str(command.name), text, answer=command.answer, parameters=parameters)


def _rules(plan: ToolPlan) -> Iterator[Row]:
    for rule in plan.rules.rules:
        # As "every 5 s".
        key, _, value = str(rule.trigger).partition(" ")
        yield _row(
            "rule",
            "",
            str(rule),
            name=rule.name,
            **{key: value},
            when=None if rule.when is None else rule.when.text,
            times=rule.times,
            reply=tuple(map(reply_text, rule.replies)),
            then=tuple(map(str, rule.steps)),
        )


def _parameter(parameter: Parameter) -> str:
    """A parameter with what it has to be."""
    variable = None if parameter.variable is None else f"to variable {parameter.variable}"
    marks = {"required": parameter.required, "a program": parameter.program, variable: variable}
    told = ", ".join(str(mark) for mark, is_so in marks.items() if is_so)
    return f"{parameter.name} ({told})" if told else str(parameter.name)


def _range(variable: Variable) -> str:
    low, high = variable.lowest, variable.highest
    if low is None and high is None:
        return ""
    return f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"


def _off(enabled: bool) -> str:
    return "" if enabled else "disabled"


def _ids(ids: Iterable[object]) -> str:
    return ", ".join(map(str, ids)) or "none"


def _joined(said: Iterable[str]) -> str:
    return "; ".join(each for each in said if each)
