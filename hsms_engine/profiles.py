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

Invariants:

* A file is good as a whole: each profile and each link makes good settings, or the file is refused.
* Every error has the file and the line. ``tomllib`` gives the line of what is no TOML only. For all
  else the text is cut into its statements, and ``tomllib`` reads each alone, so there is no second
  idea of what a key is. Nothing is cut before there is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from os import PathLike, fspath, path
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from hsms_engine.errors import SettingsError
from hsms_engine.settings import OPTIONAL, PATHS, SEVERAL, SYSTEM, Settings, is_name
from hsms_engine.spelling import hint

LONGEST: Final = 1_000_000
"""The longest file that is read, in bytes. A device may have no end."""

_TABLES = ("defaults", "profile", "link")
_SETTINGS = tuple(field.name for field in fields(Settings))
# How the name of a profile ends that is another file.
_ENDING = ".toml"
_DEFAULTS_ONLY = "it has [defaults] only, and these are the profile"
_ENDS_SO = f"the name of another file ends in '{_ENDING}'"
_FILES_ONLY = f"[defaults] are built on another file only, as 'tool{_ENDING}'"
# The longest key of interest: table, name, setting.
_DEEPEST = 3

# Whatever may hold a line feed that ends no statement, and the line feed that may.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)
# A setting that is text, and a value without quotes.
_BARE = re.compile(
    r"(?:^|[\s.{])((?:local_|second_)?host|profile|text_encoding|tls_\w+)\s*=\s*[^\s\"'#]"
)
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")

# The names of tables and of the setting, as in ``("link", "etcher-1", "host")``.
_Key = tuple[str, ...]


def read(file: str | PathLike[str]) -> Profiles:
    """Read a file. Raises ``SettingsError``: file, line, what is wrong."""
    return Profiles(_load(fspath(file)))


def _load(name: str) -> _File:
    try:
        with Path(name).open("rb") as file:
            data = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        # A ValueError: a name with a null character.
        why = getattr(error, "strerror", None) or error
        raise SettingsError(f"cannot read {name}: {why}") from error
    if len(data) > LONGEST:
        raise SettingsError(f"{name}: longer than {LONGEST / 1e6:g} MB, the limit of such a file")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SettingsError(f"{name}:1: this is UTF-16, and TOML is UTF-8: save it as UTF-8")
    try:
        # An editor may have put a mark at the beginning.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{name}:{line}: not UTF-8: {error.reason}") from None
    # As ``tomllib`` does.
    text = text.replace("\r\n", "\n")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        line, why = _fault(text, error)
        raise SettingsError(f"{name}:{line}: not valid TOML: {why}") from None
    return _File(name, text, tables)


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """A file that is TOML: ``tables`` is what ``tomllib`` makes of ``text``."""

    name: str
    text: str
    tables: Mapping[str, Any]

    def refuse(self, key: _Key, why: str) -> NoReturn:
        raise SettingsError(f"{self.where(key)}: {why}")

    def where(self, key: _Key) -> str:
        """``file:line`` of a key that is in the file."""
        return f"{self.name}:{_lines(self.text)[key]}"

    def check(self, place: _Key, table: object) -> dict[str, Any]:
        """A table whose keys are known."""
        named = ".".join(place)
        if not isinstance(table, dict):
            self.refuse(place, f"{named!r} is no table: write [{named}]")
        known = ("profile", *_SETTINGS)
        for key, value in table.items():
            if key not in known:
                self.refuse((*place, key), f"unknown setting {key!r}; {hint(key, known)}")
            # Nothing in such a value is shown: it may be nested more deeply than Python can show.
            if key in SEVERAL and isinstance(value, list):
                if not all(isinstance(each, str) for each in value):
                    self.refuse((*place, key), f"{key!r} is no array of texts")
            elif isinstance(value, dict | list):
                self.refuse((*place, key), f"{key!r} is no single value")
        return table

    def beside(self, name: str) -> str:
        """A file that this one names."""
        return str(Path(self.name).parent / name)


class _Layer(NamedTuple):
    """One table of settings, which those before it win over."""

    file: _File
    place: _Key
    table: dict[str, Any]

    @property
    def identity(self) -> tuple[str, _Key]:
        """Two names may lead to one file."""
        return path.realpath(self.file.name), self.place

    @property
    def name(self) -> str:
        """That of a profile, or of a file that is one."""
        return self.file.name if self.place == ("defaults",) else self.place[1]


class Profiles:
    """A file that has been read: ``links`` has the settings of each link, by its name."""

    def __init__(self, file: _File) -> None:
        """Raises ``SettingsError``."""
        self._file = file
        self._name = file.name
        self._tables = tables = file.tables
        # The files that are profiles, by the names that lead to them from here.
        self._others: dict[str, _File] = {}
        for key in tables:
            if key not in _TABLES:
                file.refuse((key,), f"unknown table {key!r}; {hint(key, _TABLES)}")
        self._defaults = file.check(("defaults",), tables.get("defaults", {}))
        self._profiles = self._named("profile")
        self.defaults: Final = self._settings(("defaults",))
        for each in self._profiles:
            self._settings(("profile", each))
        self.links: Final = {each: self._settings(("link", each)) for each in self._named("link")}

    def link(self, name: str | None) -> Settings:
        """The settings of one link. Without a name: of the only link, or the defaults.

        Raises ``SettingsError`` when there is no such link, there are several to choose from, or
        the file has neither a link nor defaults.
        """
        match name, [*self.links]:
            case None, [] if "defaults" in self._tables:
                return self.defaults
            case None, []:
                raise SettingsError(
                    f"{self._name} has no link: write [link.NAME], or [defaults] for settings of "
                    "no link"
                )
            case None, [only]:
                return self.links[only]
            case None, several:
                names = ", ".join(map(repr, several))
                raise SettingsError(f"{self._name} has several links, name one: {names}")
            case str(), _ if name in self.links:
                return self.links[name]
            case _:
                raise SettingsError(
                    f"{self._name} has no link {name!r}; {hint(str(name), self.links)}"
                )

    def _named(self, kind: str) -> dict[str, dict[str, Any]]:
        """The profiles, or the links, by their names. The keys of each are known."""
        tables = self._tables.get(kind, {})
        if not isinstance(tables, dict):
            self._file.refuse((kind,), f"{kind!r} is no table: write [{kind}.NAME]")
        return {name: self._file.check((kind, name), table) for name, table in tables.items()}

    def _settings(self, place: _Key) -> Settings:
        """The settings of a profile, a link or the defaults."""
        layers = self._layers(("defaults",), self._defaults)
        if place != ("defaults",):
            layers = [*self._layers(place, self._tables[place[0]][place[1]]), *layers]
        came: dict[str, _Layer] = {}
        values: dict[str, Any] = {}
        for layer in reversed(layers):
            for key, value in layer.table.items():
                if key != "profile":
                    came[key] = layer
                    values[key] = _meant(layer.file, key, value)
        if place[0] == "link" and "name" not in values and is_name(place[1]):
            values["name"] = place[1]
        try:
            return Settings().replace(**values)
        except SettingsError as error:
            raise SettingsError("; ".join(self._problems(values, came))) from error

    def _problems(self, values: Mapping[str, Any], came: Mapping[str, _Layer]) -> Iterator[str]:
        """What is wrong with each value, with the line from which it comes."""
        is_short = values.get("allow_short_timers") is True
        for key, layer in came.items():
            value = values[key]
            alone: Any = {"allow_short_timers": is_short, key: value}
            try:
                Settings().replace(**alone)
            except SettingsError as error:
                yield f"{layer.file.where((*layer.place, key))}: {error}"

    def _layers(self, place: _Key, table: dict[str, Any]) -> list[_Layer]:
        """A table, what it is built on, what that is built on, and so on."""
        layers = [_Layer(self._file, place, table)]
        while "profile" in layers[-1].table:
            following = self._base(layers[-1])
            before = [each.identity for each in layers]
            if following.identity in before:
                around = [*layers[before.index(following.identity) :], following]
                circle = " on ".join(each.name for each in around)
                at = layers[-1]
                at.file.refuse((*at.place, "profile"), f"a profile is built on itself: {circle}")
            layers.append(following)
        return layers

    def _base(self, layer: _Layer) -> _Layer:
        """What ``layer`` is built on."""
        file, key, name = layer.file, (*layer.place, "profile"), layer.table["profile"]
        # The defaults belong to no link: what they are built on is not to depend on one.
        known = self._profiles if layer.place != ("defaults",) else {}
        if not isinstance(name, str):
            file.refuse(key, f"unknown profile {name!r}; it is a name")
        if name in known:
            return _Layer(file, ("profile", name), known[name])
        if not name.endswith(_ENDING):
            is_defaults = layer.place == ("defaults",)
            why = f"; {_FILES_ONLY}" if is_defaults else f" ({_ENDS_SO}); {hint(name, known)}"
            file.refuse(key, f"unknown profile {name!r}{why}")
        found = file.beside(name)
        try:
            other = self._others.get(found) or _load(found)
        except SettingsError as error:
            raise SettingsError(f"{file.where(key)}: {error}") from error
        self._others[found] = other
        for table in other.tables:
            if table != "defaults":
                other.refuse((table,), f"{table!r} in a file that is a profile: {_DEFAULTS_ONLY}")
        if "defaults" not in other.tables:
            raise SettingsError(f"{file.where(key)}: {found} has no [defaults]: {_DEFAULTS_ONLY}")
        place = ("defaults",)
        return _Layer(other, place, other.check(place, other.tables["defaults"]))


def _meant(file: _File, key: str, value: Any) -> Any:
    """The value of a setting that is written so in ``file``."""
    match value:
        case bool():
            return value
        case 0 if key in OPTIONAL:
            return None
        case list():
            return tuple(value)
        case str() if key in PATHS and value not in ("", SYSTEM):
            return file.beside(value)
        case _:
            return value


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements of a TOML text, each with the number of its first line."""
    begin, line, depth = 0, 1, 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case "\n" if depth == 0:
                statement = text[begin : token.end()].lstrip(" \t")
                if not statement.startswith(("\n", "#")):
                    yield line, statement
                line += text.count("\n", begin, token.end())
                begin = token.end()
    yield line, text[begin:].lstrip(" \t")


def _lines(text: str) -> dict[_Key, int]:
    """The line on which each key of a TOML text first stands."""
    found: dict[_Key, int] = {}

    def note(table: object, above: _Key, line: int) -> _Key:
        """Note the keys of a table and of those in it. Returns the last one."""
        last = above
        if isinstance(table, dict) and len(above) < _DEEPEST:
            for key, value in table.items():
                found.setdefault((*above, key), line)
                last = note(value, (*above, key), line)
        return last

    header: _Key = ()
    for line, statement in _statements(text):
        if statement.startswith("["):
            # As an array of tables it would be read the same: the names are what counts.
            header = note(tomllib.loads(statement), (), line)
        else:
            note(tomllib.loads(statement), header, line)
    return found


def _fault(text: str, error: Exception) -> tuple[int, str]:
    """The line and the problem of a text that is no TOML."""
    if place := _PLACE.search(str(error)):
        line = int(place[1]) if place[1] else text.count("\n") + 1
        why = str(error)[: place.start()]
        if bare := _BARE.search(text.split("\n")[line - 1]):
            why += f"; {bare[1]} is text, and text needs quotes"
        return line, why
    # tomllib tells no place of a number that is too long, and of what is nested too deeply.
    first = next((line for line, each in _statements(text) if not _is_toml(each)), 1)
    why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return first, why


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
