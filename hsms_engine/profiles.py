"""The TOML file of links and profiles: settings under names, one format for all programs.

::

    [defaults]                  # of every link
    t6 = 3

    [profile.patient]           # settings that several links share
    t3 = 90

    [profile.far]
    profile = "patient"         # built on another
    connect_timeout = 20

    [link.etcher-1]
    profile = "far"
    host = "10.1.2.3"

    [link.stepper-2]
    profile = "stepper.toml"    # the [defaults] of another file, beside this one
    host = "10.1.2.4"

A link has its own settings, then those of its profile, then those of the profile on which that one
is built, then the defaults of the file, then ours. A profile that is not in the file, and whose
name ends in ``.toml``, is another file, which has ``[defaults]`` only: these are the profile. They
may be built on one more file, and so may those of this one. For a setting that may be None, 0 is
None; one of several texts is an array; the name of a file begins in the folder of the file in
which it stands.
A link without ``name`` has its name in the file, unless that cannot be one (``Settings.name``).

A table of settings in another file is what ``[defaults]`` are in this one (``settings_of``).

Invariants:

* A file is good as a whole: each profile and each link makes good settings, or the file is refused.
  Then all that is wrong with it is told.
* Every error has the file, the line and the column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from os import PathLike, path
from typing import Any, Final, NamedTuple

from hsms_engine.errors import SettingsError
from hsms_engine.file_kinds import TABLES, expect_kind
from hsms_engine.settings import OPTIONAL, PATHS, SEVERAL, SYSTEM, Settings, is_name
from hsms_engine.spelling import hint
from hsms_engine.toml_file import Document, Key, Problems, Table, TomlError, load, shown

_TABLES = TABLES["links"]
_SETTINGS = tuple(each.name for each in fields(Settings))
# How the name of a profile ends that is another file.
_ENDING = ".toml"
_DEFAULTS_ONLY = "it has [defaults] only, and these are the profile"
_ENDS_SO = f"the name of another file ends in '{_ENDING}'"

TEXTS: Final = (
    "profile", "name", "host", "local_host", "second_host", "text_encoding", *PATHS, "tls_name",
    "tls_key_password",
)  # fmt: skip
"""The keys of such a table whose values are texts."""


def read(file: str | PathLike[str]) -> Profiles:
    """Read a file. Raises ``SettingsError``: file, line, column, what is wrong."""
    try:
        return Profiles(load(file, texts=TEXTS))
    except TomlError as error:
        raise SettingsError("; ".join(map(str, error.problems))) from error


def settings_of(table: Table | None) -> Settings:
    """The settings that a table of any file has: what may stand in ``[defaults]``. None: ours.

    Raises ``TomlError``: everything that is wrong with them.
    """
    if table is None:
        return Settings()
    values = {key: table.value(key) for key in table}
    with Problems() as problems:
        own = _checked(table.document, table.path, values, problems)
        with problems.of_one():
            made = _Bases({}, problems).made(own)
    return made.settings


class Origin(NamedTuple):
    """Where the value of a setting is written, from which a link has it."""

    table: str
    """As in ``[link.etcher-1]``: ``link.etcher-1``."""
    file: str
    line: int
    """From 1."""
    column: int
    """From 1, in characters."""


class _Layer(NamedTuple):
    """One table of settings, which those before it win over."""

    document: Document
    place: Key
    table: Mapping[str, Any]

    @property
    def identity(self) -> tuple[str, Key]:
        """Two names may lead to one file."""
        return path.realpath(self.document.name), self.place

    @property
    def is_profile(self) -> bool:
        return self.place[0] == "profile"

    @property
    def name(self) -> str:
        """That of a profile, or of a file that is one."""
        return str(self.place[1]) if self.is_profile else self.document.name

    def error(self, key: str, problem: str, *, at_name: bool = False) -> TomlError:
        return self.document.error((*self.place, key), problem, at_name=at_name)

    def origin(self, key: str) -> Origin:
        """Where a setting that comes from this table is written."""
        # A link that has no name is named by its table.
        way = (*self.place, key) if key in self.table else self.place
        at = self.document.error(way, "", at_name=True)
        return Origin(".".join(map(str, self.place)), at.file, at.line, at.column)


class _Made(NamedTuple):
    """Settings, and from which table each comes; those that are not there are our defaults."""

    settings: Settings
    came: Mapping[str, _Layer]


class Profiles:
    """A file that has been read: ``links`` has the settings of each link, by its name."""

    def __init__(self, document: Document) -> None:
        """Raises ``TomlError``."""
        self._document = document
        self._tables = tables = document.values
        expect_kind(document.table, "links")
        made: dict[str, _Made] = {}
        with Problems() as problems:
            for key in tables:
                if key not in _TABLES:
                    problem = f"unknown table {key!r}; {hint(key, _TABLES)}"
                    problems.keep(document.error((key,), problem, at_name=True))
            defaults = _checked(document, ("defaults",), tables.get("defaults", {}), problems)
            bases = _Bases(self._named("profile", problems), problems)
            with problems.of_one():
                self._defaults = bases.made(defaults)
            for each in bases.profiles.values():
                with problems.of_one():
                    bases.made(each, defaults)
            for name, each in self._named("link", problems).items():
                with problems.of_one():
                    made[name] = bases.made(each, defaults, name)
        self._made: Final = made
        self.links: Final = {name: each.settings for name, each in made.items()}

    def link(self, name: str | None) -> Settings:
        """The settings of one link. Without a name: of the only link, or the defaults.

        Raises ``SettingsError`` when there is no such link, there are several to choose from, or
        the file has neither a link nor defaults.
        """
        return self._chosen(name).settings

    def origins(self, name: str | None) -> dict[str, Origin]:
        """Where the settings of ``link`` are written; those that are not there are our defaults.

        Raises ``SettingsError``, as ``link`` does.
        """
        return {key: layer.origin(key) for key, layer in self._chosen(name).came.items()}

    def _chosen(self, name: str | None) -> _Made:
        file = self._document.name
        match name, [*self.links]:
            case None, [] if "defaults" in self._tables:
                return self._defaults
            case None, []:
                raise SettingsError(
                    f"{file} has no link: write [link.NAME], or [defaults] for settings of no link"
                )
            case None, [only]:
                return self._made[only]
            case None, several:
                names = ", ".join(map(repr, several))
                raise SettingsError(f"{file} has several links, name one: {names}")
            case str(), _ if name in self.links:
                return self._made[name]
            case _:
                raise SettingsError(f"{file} has no link {name!r}; {hint(str(name), self.links)}")

    def _named(self, kind: str, problems: Problems) -> dict[str, _Layer]:
        """The profiles, or the links, by their names. The keys of each are known."""
        tables = self._tables.get(kind, {})
        if not isinstance(tables, dict):
            why = f"{kind!r} is no table: write [{kind}.NAME]"
            problems.keep(self._document.error((kind,), why))
            return {}
        return {
            name: _checked(self._document, (kind, name), table, problems)
            for name, table in tables.items()
        }


@dataclass(frozen=True, slots=True)
class _Bases:
    """What a table of settings may be built on: the profiles of its file, and other files."""

    profiles: Mapping[str, _Layer]
    _problems: Problems
    """Where those of other files are kept."""
    _others: dict[str, Document] = field(default_factory=dict)
    """By the names that lead to them from the file."""

    def made(self, own: _Layer, defaults: _Layer | None = None, link: str | None = None) -> _Made:
        """The settings of a table, and of what it is built on, and then of the defaults.

        ``link`` is the name of the link that has them.
        """
        layers = self._layers(own) + ([] if defaults is None else self._layers(defaults))
        came: dict[str, _Layer] = {}
        values: dict[str, Any] = {}
        for layer in reversed(layers):
            for key, value in layer.table.items():
                if key != "profile":
                    came[key] = layer
                    values[key] = _meant(layer.document, key, value)
        if link is not None and "name" not in values and is_name(link):
            came["name"] = own
            values["name"] = link
        try:
            return _Made(Settings().replace(**values), came)
        except SettingsError:
            found = [each for error in _problems(values, came) for each in error.problems]
            raise TomlError(found) from None

    def _layers(self, own: _Layer) -> list[_Layer]:
        """A table, what it is built on, what that is built on, and so on."""
        layers = [own]
        while "profile" in layers[-1].table:
            following = self._base(layers[-1])
            before = [each.identity for each in layers]
            if following.identity in before:
                around = [*layers[before.index(following.identity) :], following]
                # The same circle is told in the same way from wherever it is entered.
                first = around.index(min(around, key=lambda each: each.identity))
                around = [*around[first:], *around[1 : first + 1]]
                circle = " on ".join(each.name for each in around)
                raise around[-2].error("profile", f"a profile is built on itself: {circle}")
            layers.append(following)
        return layers

    def _base(self, layer: _Layer) -> _Layer:
        """What ``layer`` is built on."""
        name = layer.table["profile"]
        # Defaults belong to no link: what they are built on is not to depend on one.
        is_alone = len(layer.place) == 1
        known = {} if is_alone else self.profiles
        if not isinstance(name, str):
            raise layer.error("profile", f"unknown profile {shown(name)}; it is a name")
        if name in known:
            return known[name]
        if not name.endswith(_ENDING):
            why = f" ({_ENDS_SO}); {hint(name, known)}"
            if is_alone:
                why = f"; [{layer.place[0]}] are built on another file only, as 'tool{_ENDING}'"
            raise layer.error("profile", f"unknown profile {name!r}{why}")
        found = layer.document.beside(name)
        try:
            other = self._others.get(found) or load(found, texts=TEXTS)
        except TomlError as error:
            raise layer.error("profile", str(error)) from error
        self._others[found] = other
        for table in other.values:
            if table != "defaults":
                why = f"{table!r} in a file that is a profile: {_DEFAULTS_ONLY}"
                raise other.error((table,), why, at_name=True)
        if "defaults" not in other.values:
            raise layer.error("profile", f"{found} has no [defaults]: {_DEFAULTS_ONLY}")
        return _checked(other, ("defaults",), other.values["defaults"], self._problems)


def _checked(document: Document, place: Key, table: object, problems: Problems) -> _Layer:
    """A table, of which only what is known is taken; the rest is kept as problems."""
    if not isinstance(table, dict):
        named = ".".join(map(str, place))
        problems.keep(document.error(place, f"{named!r} is no table: write [{named}]"))
        return _Layer(document, place, {})
    known = ("profile", *_SETTINGS)
    taken: dict[str, Any] = {}
    for key, value in table.items():
        way = (*place, key)
        if key not in known:
            why = f"unknown setting {shown(key)}; {hint(key, known)}"
            problems.keep(document.error(way, why, at_name=True))
        elif key in SEVERAL and isinstance(value, list):
            if all(isinstance(each, str) for each in value):
                taken[key] = value
            else:
                problems.keep(document.error(way, f"{key!r} is no array of texts"))
        elif isinstance(value, dict | list):
            problems.keep(document.error(way, f"{key!r} is no single value"))
        else:
            taken[key] = value
    return _Layer(document, place, taken)


def _problems(values: Mapping[str, Any], came: Mapping[str, _Layer]) -> Iterator[TomlError]:
    """What is wrong with each value, at the place from which it comes."""
    is_short = values.get("allow_short_timers") is True
    for key, layer in came.items():
        alone: Any = {"allow_short_timers": is_short, key: values[key]}
        try:
            Settings().replace(**alone)
        except SettingsError as error:
            yield layer.error(key, str(error))


def _meant(document: Document, key: str, value: Any) -> Any:
    """The value of a setting that is written so in a file."""
    match value:
        case bool():
            return value
        case 0 if key in OPTIONAL:
            return None
        case list():
            return tuple(value)
        case str() if key in PATHS and value not in ("", SYSTEM):
            return document.beside(value)
        case _:
            return value
