"""What a tool has: variables, events, reports, alarms, process programs, commands.

Invariants:

* A declaration never changes; what has happened since is in ``LiveModel``. Many tools share one
  ``Model``.
* A model is good as a whole: whatever it refers to is there, and every first value is allowed.
* Status variables, data variables and equipment constants share one space of ids, as in SEMI E5:
  each of them may stand in a report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from hsms_engine.fake.model.bounds import VALUE
from hsms_engine.fake.model.ids import Id, parse_id
from hsms_engine.secs2 import (
    BOOLEAN,
    MAX_DEPTH,
    U1,
    U4,
    A,
    Integer,
    Item,
    L,
    Leaf,
    Numeric,
    Plain,
    Real,
    encode,
    item_of,
)
from hsms_engine.spelling import hint

__all__ = [
    "Alarm",
    "Command",
    "Event",
    "FormatError",
    "IdFormat",
    "Kind",
    "Model",
    "ModelError",
    "Parameter",
    "Problem",
    "Program",
    "RangeError",
    "Report",
    "Source",
    "Variable",
]

Kind: TypeAlias = Literal["status", "data", "constant"]
"""What a variable is: SV, DV or EC of SEMI E5."""

Source: TypeAlias = Literal["clock", "control", "alarms-set", "events-enabled"]
"""Where the value of a variable comes from that nobody sets."""

IdFormat: TypeAlias = type[Integer] | type[A]

SOURCES: Final[Mapping[str, Item]] = {
    "clock": A("0" * 16),
    "control": U1(5),
    "alarms-set": L(),
    "events-enabled": L(),
}
"""The sources, each with an item of the format that its value has."""

LONGEST_NAME: Final = 20
"""The most characters of MDLN and SOFTREV (SEMI E5)."""

LONGEST_TEXT: Final = 120
"""The most characters of an alarm's text, and of the name of a process program (SEMI E5)."""

# The most names that an error shows, the highest ALCD without its bit 8, and the highest code.
_NAMED: Final = 20
_CATEGORIES: Final = 127
_BYTE: Final = 255


# So deep is a value in the lists of S6F11 and S6F16, which are nested no deeper than any item.
_AROUND: Final = 4
_DEEPEST: Final = MAX_DEPTH - _AROUND


class FormatError(ValueError):
    """A value of another format than the variable has."""


class RangeError(ValueError):
    """A value of the right format that the variable may not have."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A status variable, a data variable or an equipment constant.

    ``value`` is what it has at first; its format is that of all later ones, and when it is one
    number, they are too. ``lowest`` and ``highest`` bound numbers. With a ``source`` the value is
    never set: ``SOURCES`` has an item to stand as ``value``.
    """

    id: Id
    value: Item
    name: str = ""
    units: str = ""
    kind: Kind = "status"
    lowest: float | None = None
    highest: float | None = None
    source: Source | None = None

    def __str__(self) -> str:
        what = "constant" if self.kind == "constant" else "variable"
        return f"{what} {self.id}" + (f" ({self.name})" if self.name else "")

    @property
    def format(self) -> type[Item]:
        """That of its values."""
        return type(self.value)

    def fit(self, value: Item | Plain | int, text_encoding: str | None = None) -> Item:
        """The item of a new value: an item of its format, or plain Python that takes it.

        Raises :class:`FormatError` and :class:`RangeError`, which say what is allowed.
        """
        item = value if isinstance(value, L | Leaf) else self._made(value, text_encoding)
        if type(item) is not self.format:
            raise FormatError(f"{self} is {self.format.__name__}, not {type(item).__name__}")
        if _is_too_deep(item):
            raise RangeError(f"{self}: lists are nested more than {_DEEPEST} deep")
        if isinstance(item, Numeric):
            self._check(item)
        return item

    def fit_item(self, item: Item) -> Item:
        """As ``fit_number``, for an item that a host has sent, or that is made of others.

        It is not to be long: a host may ask for it many times at once. Raises as ``fit`` does.
        """
        size = len(encode(item))
        if size > VALUE and size > len(encode(self.value)):
            why = f"a value that is sent or put together has at most {VALUE} bytes, not {size}"
            raise RangeError(f"{self}: {why}")
        return self.fit_number(item)

    def fit_number(self, item: Item) -> Item:
        """As ``fit``, and an integer of any format is taken. Raises as ``fit`` does."""
        is_number = isinstance(item, Integer) and len(item) == 1
        if is_number and type(item) is not self.format and issubclass(self.format, Integer | Real):
            return self.fit(item.to_python())
        return self.fit(item)

    def bound(self, number: float | None) -> Item:
        """``lowest`` or ``highest`` as an item; a text without characters when there is none."""
        return A() if number is None else self._made(number, None)

    def _made(self, value: Any, text_encoding: str | None) -> Item:
        kind: Any = self.format
        try:
            if kind is A and isinstance(value, str):
                return item_of(value, text_encoding=text_encoding)
            if kind is L and isinstance(value, list | tuple):
                return L(*value)
            if isinstance(value, bool) and kind is not BOOLEAN:
                raise TypeError
            made: Item = kind(value)
        except TypeError:
            what = type(value).__name__
            raise FormatError(f"{self} is {kind.__name__}, not {what} {value!r}") from None
        except ValueError as error:
            raise RangeError(f"{self}: {error}") from None
        return made

    def _check(self, item: Numeric[Any]) -> None:
        if len(self.value) == 1 != len(item):
            raise RangeError(f"{self} is one number, not {len(item)}")
        # A NaN is in no range.
        for number in item:
            if self.lowest is not None and not number >= self.lowest:
                raise RangeError(f"{self}: {number} is not at least {self.lowest}")
            if self.highest is not None and not number <= self.highest:
                raise RangeError(f"{self}: {number} is not at most {self.highest}")


@dataclass(frozen=True, slots=True)
class Report:
    """A list of variables under one id."""

    id: Id
    variables: tuple[Id, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A collection event: the reports linked to it at first, and whether it is sent."""

    id: Id
    name: str = ""
    reports: tuple[Id, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Alarm:
    """``category`` is the lower seven bits of ALCD, 1..127.

    ``set_event`` and ``clear_event`` are what the tool sends, beside S5F1, when it is set or
    cleared.
    """

    id: int
    text: str = ""
    category: int = 7
    enabled: bool = True
    set_event: Id | None = None
    clear_event: Id | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A process program: its name (PPID) as bytes, and its body."""

    name: bytes
    body: Item


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that a command may have.

    ``variable`` takes its value when the command is done. ``program``: the value names a process
    program that is there.
    """

    name: Id
    variable: Id | None = None
    program: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A remote command. Without ``parameters`` any is allowed; ``answer`` is its HCACK."""

    name: Id
    parameters: tuple[Parameter, ...] | None = None
    answer: int = 0


class Problem(NamedTuple):
    """What is wrong with a declaration: its table, its id, its key, and why."""

    table: str
    id: Id | bytes | None
    key: str | None
    why: str

    def __str__(self) -> str:
        place = [self.table] if self.id is None else [self.table, _shown(self.id)]
        return f"[{'.'.join(place)}] {'' if self.key is None else f'{self.key}: '}{self.why}"


def _shown(name: Id | bytes) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


class ModelError(ValueError):
    """A model is not good as a whole: ``problems`` are all that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


@dataclass(frozen=True, slots=True)
class Model:
    """All that a tool has. Raises :class:`ModelError` when it is not good as a whole.

    ``ids`` is the format in which ids are written: numbers that do not fit it are refused, and
    texts are always A. ``text_encoding`` is that of texts beyond ASCII.
    """

    mdln: str = "hsms-engine"
    softrev: str = "1.0"
    ids: IdFormat = U4
    is_online: bool = True
    variables: Mapping[Id, Variable] = field(default_factory=dict)
    reports: Mapping[Id, Report] = field(default_factory=dict)
    events: Mapping[Id, Event] = field(default_factory=dict)
    alarms: Mapping[int, Alarm] = field(default_factory=dict)
    programs: Mapping[bytes, Program] = field(default_factory=dict)
    commands: Mapping[Id, Command] = field(default_factory=dict)
    text_encoding: str | None = None

    # What live tools stand on, made once.
    values: Mapping[Id, Item] = field(init=False, repr=False, compare=False)
    reported: Mapping[Id, tuple[Id, ...]] = field(init=False, repr=False, compare=False)
    links: Mapping[Id, tuple[Id, ...]] = field(init=False, repr=False, compare=False)
    events_enabled: Mapping[Id, bool] = field(init=False, repr=False, compare=False)
    alarms_enabled: Mapping[int, bool] = field(init=False, repr=False, compare=False)
    bodies: Mapping[bytes, Item] = field(init=False, repr=False, compare=False)
    kinds: Mapping[Kind, Mapping[Id, Variable]] = field(init=False, repr=False, compare=False)
    sources: Mapping[Source, tuple[Id, ...]] = field(init=False, repr=False, compare=False)
    # What an id or a name leads to; several ids have one name where people have named them so.
    _vids: Mapping[str, tuple[Id, ...]] = field(init=False, repr=False, compare=False)
    _ceids: Mapping[str, tuple[Id, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("variables", "reports", "events", "alarms", "programs", "commands"):
            self._keep(name, dict(getattr(self, name)))
        self._keep("_vids", _by_name(self.variables.values()))
        self._keep("_ceids", _by_name(self.events.values()))
        if problems := tuple(_problems(self)):
            raise ModelError(problems)
        self._keep("values", {each.id: each.value for each in self.variables.values()})
        self._keep("reported", {each.id: each.variables for each in self.reports.values()})
        self._keep("links", {each.id: each.reports for each in self.events.values()})
        self._keep("events_enabled", {each.id: each.enabled for each in self.events.values()})
        self._keep("alarms_enabled", {each.id: each.enabled for each in self.alarms.values()})
        self._keep("kinds", {each: self._of_kind(each) for each in get_args(Kind)})
        self._keep("sources", {each: self._of_source(each) for each in get_args(Source)})
        self._keep("bodies", {each.name: each.body for each in self.programs.values()})

    def _keep(self, name: str, value: dict[Any, Any]) -> None:
        object.__setattr__(self, name, MappingProxyType(value))

    def _of_kind(self, kind: Kind) -> dict[Id, Variable]:
        return {vid: each for vid, each in self.variables.items() if each.kind == kind}

    def _of_source(self, source: Source) -> tuple[Id, ...]:
        return tuple([each.id for each in self.variables.values() if each.source == source])

    def vid(self, reference: Id) -> Id:
        """The id of a variable, by its id (a number, or as text) or by its name.

        An id wins over a name. Raises ``LookupError``, with what is there.
        """
        return _found("variable", reference, self.variables, self._vids)

    def ceid(self, reference: Id) -> Id:
        """The id of an event, as ``vid``."""
        return _found("event", reference, self.events, self._ceids)

    def alid(self, reference: Id) -> int:
        """The id of an alarm, by its id. Raises ``LookupError``."""
        found = _found("alarm", reference, self.alarms, {})
        assert isinstance(found, int)
        return found

    def id_item(self, id_: Id) -> Item:
        """An id as the tool writes it."""
        if isinstance(id_, str):
            return item_of(id_, text_encoding=self.text_encoding)
        return A(str(id_)) if self.ids is A else self.ids(id_)

    def writes(self, id_: Id) -> bool:
        """Whether it can write an id that somebody else has made."""
        try:
            _ = self.id_item(id_)
        except ValueError:
            return False
        return True

    def alarm_item(self, alid: int) -> Item:
        """The id of an alarm, which is a number also where other ids are text (SEMI E5)."""
        return U4(alid) if self.ids is A else self.ids(alid)


def _is_too_deep(item: Item) -> bool:
    """Whether an item cannot stand where the messages of a tool have it."""
    if not isinstance(item, L):
        return False
    try:
        for _ in range(_AROUND):
            item = L(item)
    except ValueError:
        return True
    return False


def _by_name(named: Iterable[Variable | Event]) -> dict[str, tuple[Id, ...]]:
    names: dict[str, tuple[Id, ...]] = {}
    for each in named:
        if each.name:
            names[each.name] = (*names.get(each.name, ()), each.id)
    return names


def _found(
    what: str, reference: Id, ids: Mapping[Any, object], names: Mapping[str, tuple[Id, ...]]
) -> Id:
    if reference in ids:
        return reference
    if isinstance(reference, str):
        id_ = parse_id(reference)
        if id_ in ids:
            return id_
        match names.get(reference, ()):
            case ():
                pass
            case (only,):
                return only
            case several:
                which = ", ".join(map(str, several))
                raise LookupError(f"the name {reference!r} is that of {what}s {which}: use an id")
    known = [*names, *map(str, ids)]
    raise LookupError(f"no {what} {reference}; {hint(str(reference), known[:_NAMED])}")


def _problems(model: Model) -> Iterator[Problem]:
    for key, text in (("model", model.mdln), ("software", model.softrev)):
        if why := _unfit_text(model, text, LONGEST_NAME):
            yield Problem("tool", None, key, why)
    for table, pairs in _keys(model):
        for place, id_ in pairs:
            if place != id_:
                yield Problem(table, place, None, f"what stands under it is {id_!r}")
    for table, ids in _tables(model):
        for each in ids:
            if why := _unfit_id(model, each, is_alarm=table == "alarm"):
                yield Problem(table, each, None, why)
    for variable in model.variables.values():
        table = "constant" if variable.kind == "constant" else "variable"
        for key, text in (("name", variable.name), ("units", variable.units)):
            if why := _unfit_text(model, text):
                yield Problem(table, variable.id, key, why)
        yield from _variable_problems(variable, table)
    for report in model.reports.values():
        if not report.variables:
            why = "no variable: a report has at least one"
            yield Problem("report", report.id, "variables", why)
        yield from _missing("report", report.id, "variables", "variable", report, model)
    for event in model.events.values():
        if why := _unfit_text(model, event.name):
            yield Problem("event", event.id, "name", why)
        yield from _missing("event", event.id, "reports", "report", event, model)
    for alarm in model.alarms.values():
        yield from _alarm_problems(alarm, model)
    for program in model.programs.values():
        if not 1 <= len(program.name) <= LONGEST_TEXT:
            why = f"a name of 1 to {LONGEST_TEXT} bytes is allowed, not of {len(program.name)}"
            yield Problem("program", program.name, None, why)
        if _is_too_deep(program.body):
            why = f"lists are nested more than {_DEEPEST} deep"
            yield Problem("program", program.name, "body", why)
    for command in model.commands.values():
        yield from _command_problems(command, model)


def _keys(model: Model) -> Iterator[tuple[str, Iterable[tuple[Id | bytes, Id | bytes]]]]:
    """The keys under which each kind stands, with what is its id itself."""
    yield "variable", [(key, each.id) for key, each in model.variables.items()]
    yield "report", [(key, each.id) for key, each in model.reports.items()]
    yield "event", [(key, each.id) for key, each in model.events.items()]
    yield "alarm", [(key, each.id) for key, each in model.alarms.items()]
    yield "program", [(key, each.name) for key, each in model.programs.items()]
    yield "command", [(key, each.name) for key, each in model.commands.items()]


def _tables(model: Model) -> Iterator[tuple[str, Iterable[Id]]]:
    """The tables of a file, each with its ids."""
    for variable in model.variables.values():
        yield "constant" if variable.kind == "constant" else "variable", (variable.id,)
    yield "report", model.reports
    yield "event", model.events
    yield "alarm", model.alarms


def _unfit_text(model: Model, text: str, longest: int | None = None) -> str:
    """Why a text cannot be written, ``""`` when it can."""
    try:
        length = len(item_of(text, text_encoding=model.text_encoding))
    except ValueError as error:
        return str(error)
    if longest is not None and length > longest:
        return f"{length} bytes of text, and at most {longest} are allowed"
    return ""


def _unfit_id(model: Model, id_: Id, *, is_alarm: bool) -> str:
    """Why an id cannot be written, ``""`` when it can."""
    try:
        if is_alarm and isinstance(id_, str):
            return f"{id_!r} is no number, and SEMI E5 has numbers for alarms"
        _ = model.alarm_item(int(id_)) if is_alarm else model.id_item(id_)
    except ValueError as error:
        written = "U4" if is_alarm and model.ids is A else model.ids.__name__
        hint_ = f"ids are written as {written}: [tool] ids has the format"
        return f"{error}; {hint_}"
    return ""


def _variable_problems(variable: Variable, table: str) -> Iterator[Problem]:
    bounds = (("lowest", variable.lowest), ("highest", variable.highest))
    is_good = True
    for key, number in bounds:
        try:
            if number is not None and not issubclass(variable.format, Integer | Real):
                raise ValueError(f"{variable.format.__name__} has no order: only numbers have")
            variable.bound(number)
        except ValueError as error:
            is_good = False
            yield Problem(table, variable.id, key, str(error))
    lowest, highest = variable.lowest, variable.highest
    if lowest is not None and highest is not None and lowest > highest:
        is_good = False
        yield Problem(table, variable.id, "lowest", f"{lowest} is above highest, {highest}")
    if variable.source is not None and variable.kind == "constant":
        why = "a constant is set by the host: a source is that of a [variable]"
        yield Problem(table, variable.id, "source", why)
    if is_good:
        try:
            variable.fit(variable.value)
        except ValueError as error:
            yield Problem(table, variable.id, "value", str(error))


def _missing(
    table: str, id_: Id, key: str, what: str, holder: Report | Event, model: Model
) -> Iterator[Problem]:
    """A problem for each id in a report or an event that leads to nothing, or is there twice."""
    ids = holder.variables if isinstance(holder, Report) else holder.reports
    known: Mapping[Id, object] = model.variables if what == "variable" else model.reports
    for index, each in enumerate(ids):
        if each not in known:
            why = f"no {what} {each}; {hint(str(each), [*map(str, known)][:_NAMED])}"
            yield Problem(table, id_, key, why)
        elif what == "report" and each in ids[:index]:
            yield Problem(table, id_, key, f"report {each} is linked twice")


def _alarm_problems(alarm: Alarm, model: Model) -> Iterator[Problem]:
    if not 1 <= alarm.category <= _CATEGORIES:
        why = f"{alarm.category} is not in 1..{_CATEGORIES}"
        yield Problem("alarm", alarm.id, "category", why)
    if why := _unfit_text(model, alarm.text, LONGEST_TEXT):
        yield Problem("alarm", alarm.id, "text", why)
    for key, ceid in (("set_event", alarm.set_event), ("clear_event", alarm.clear_event)):
        if ceid is not None and ceid not in model.events:
            why = f"no event {ceid}; {hint(str(ceid), [*map(str, model.events)][:_NAMED])}"
            yield Problem("alarm", alarm.id, key, why)


def _command_problems(command: Command, model: Model) -> Iterator[Problem]:
    if not 0 <= command.answer <= _BYTE:
        yield Problem("command", command.name, "answer", f"{command.answer} is not in 0..{_BYTE}")
    names: set[Id] = set()
    for parameter in command.parameters or ():
        if parameter.name in names:
            why = f"parameter {parameter.name!r} is there twice"
            yield Problem("command", command.name, "parameters", why)
        names.add(parameter.name)
        if why := _unfit_id(model, parameter.name, is_alarm=False):
            yield Problem("command", command.name, "parameters", why)
        vid = parameter.variable
        if vid is None:
            continue
        if vid not in model.variables:
            why = f"no variable {vid}; {hint(str(vid), [*map(str, model.variables)][:_NAMED])}"
            yield Problem("command", command.name, "parameters", why)
        elif model.variables[vid].source is not None:
            why = f"{model.variables[vid]} has a source: nobody sets it"
            yield Problem("command", command.name, "parameters", why)
