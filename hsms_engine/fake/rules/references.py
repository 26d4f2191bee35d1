"""What the texts of a rule refer to: ids and names of a model, and what a pattern has bound."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from hsms_engine.fake.model import Id, Model, Variable
from hsms_engine.fake.model.reading import likely_item
from hsms_engine.fake.rules.conditions import Kind, kind_of
from hsms_engine.message import Message
from hsms_engine.messages import find
from hsms_engine.secs2 import Integer, Item, L, Leaf, Plain, Real
from hsms_engine.sml import (
    Node,
    SmlError,
    Template,
    Uses,
    parse_item_template,
    parse_template,
    uses,
)
from hsms_engine.spelling import hint
from hsms_engine.toml_file import Problem, Table, TomlError

Key: TypeAlias = str | tuple[str | int, ...]

# A text in SML, and in it what looks like a reference.
_QUOTED: Final = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_REFERENCE: Final = re.compile(r"\$(?:(?P<name>[A-Za-z_]\w*)|\{(?P<variable>[^{}]*)\})", re.ASCII)


@dataclass(frozen=True, slots=True)
class References:
    """Reads what refers to something, and is the scope of a condition.

    Without a ``model`` nobody knows what is there, and without ``bound`` nobody knows what the
    pattern binds: then nothing is missing. ``doubt`` is that of ``read_rules``.
    """

    model: Model | None
    text_encoding: str | None
    doubt: Callable[[Problem], None] | None
    bound: Collection[str] | None = ()
    has_request: bool = False
    """Whether there is a message to refer to."""

    def variable(self, text: str) -> tuple[Id, Kind | None]:
        if self.model is None:
            return text, None
        vid = self.model.vid(text)
        value = self.model.variables[vid].value
        if isinstance(value, L):
            raise LookupError(
                f"{self.model.variables[vid]} is a list: a condition compares single values"
            )
        return vid, kind_of(value)

    def name(self, name: str) -> None:
        if self.bound is not None and name not in self.bound:
            raise LookupError(_unbound(name, self.bound, self.model))

    def id(self, table: Table, key: str, find: Callable[[Model, Id], Id]) -> Id:
        """The id of an event, an alarm or a variable that is written as an id or as a name."""
        value = table.value(key)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise table.error(key, f"{key} is an id, which is a number or a text")
        try:
            return value if self.model is None else find(self.model, value)
        except LookupError as error:
            raise table.error(key, str(error.args[0])) from None

    def template(self, table: Table, key: Key) -> Template:
        text = table.text(key)
        try:
            template = parse_template(text, self.text_encoding)
        except SmlError as error:
            raise sml_error(table, key, error) from None
        self._check_uses(table, key, template.uses)
        self._doubt_quoted(table, key)
        if self.doubt is not None and (why := _difference(template)):
            self.doubt(*table.error(key, why).problems)
        return template

    def node(self, table: Table, key: Key, variable: Variable | None) -> Node:
        text = table.text(key)
        try:
            node = parse_item_template(text, self.text_encoding)
        except SmlError as error:
            meant = likely_item(text, None if variable is None else variable.format)
            if meant is not None:
                why = f"a value as text is an item in SML: write '<{meant}>'"
                raise table.error(key, why) from None
            raise sml_error(table, key, error) from None
        self._check_uses(table, key, uses(node))
        self._doubt_quoted(table, key)
        if variable is not None and isinstance(node, L | Leaf):
            return fitted(table, key, variable, node)
        return node

    def _check_uses(self, table: Table, key: Key, found: Uses) -> None:
        """Whether what a template refers to is there."""
        if found.request and not self.has_request:
            raise self._reference_error(
                table, key, r"\$(?![A-Za-z_{])", "only a rule with 'on' has a message to refer to"
            )
        if self.bound is not None:
            for name in sorted(found.names.difference(self.bound)):
                why = _unbound(name, self.bound, self.model)
                raise self._reference_error(table, key, rf"\${name}(?![A-Za-z0-9_])", why)
        if self.model is None:
            return
        for variable in sorted(found.variables):
            try:
                self.model.vid(variable)
            except LookupError as error:
                pattern = re.escape(f"${{{variable}}}")
                raise self._reference_error(table, key, pattern, str(error.args[0])) from None

    def _doubt_quoted(self, table: Table, key: Key) -> None:
        """Whether a text in quotes has what would be a reference without them."""
        if self.doubt is None:
            return
        for quoted in _QUOTED.finditer(table.text(key)):
            for found in _REFERENCE.finditer(quoted[0]):
                name, variable = found["name"], found["variable"]
                if name is not None:
                    is_one = name in (self.bound or ())
                else:
                    is_one = self.model is not None and _has(self.model, variable)
                if is_one:
                    why = f"{found[0]} is in quotes, where it is text like any other"
                    offset = quoted.start() + found.start()
                    self.doubt(*table.error(key, why, offset=offset).problems)

    def _reference_error(self, table: Table, key: Key, pattern: str, why: str) -> TomlError:
        """A problem with a reference, at its place in the text."""
        found = re.search(pattern, table.text(key))
        return table.error(key, why, offset=0 if found is None else found.start())


def fitted(table: Table, key: Key, variable: Variable, value: Item | Plain) -> Item:
    try:
        return variable.fit(value)
    except ValueError as error:
        raise table.error(key, f"{error}{_advice(variable, value)}") from None


def _has(model: Model, variable: str) -> bool:
    try:
        model.vid(variable)
    except LookupError:
        return False
    return True


def _difference(template: Template) -> str | None:
    """How a message that refers to nothing differs first from what the catalogue has."""
    node = template.node
    function = find(template.name)
    if function is None or not (node is None or isinstance(node, L | Leaf)):
        return None
    message = Message(template.stream, template.function, template.wait, node)
    return next(function.differences(message), None)


def _advice(variable: Variable, value: Item | Plain) -> str:
    """What to write instead of a number in another format."""
    if not isinstance(value, Integer | Real) or len(value) != 1:
        return ""
    try:
        variable.fit(value.to_python())
    except ValueError:
        return ""
    return f"; a plain number takes its format: write {value.to_python()}"


def _unbound(name: str, bound: Collection[str], model: Model | None) -> str:
    if model is not None and _has(model, name):
        return f"nothing is bound to ${name}; the variable is ${{{name}}}"
    if not bound:
        return f"nothing is bound to ${name}: a pattern binds it, as on = 'S2F41 W ${name}'"
    return f"nothing is bound to ${name}; {hint(name, bound)}"


def sml_error(table: Table, key: Key, error: SmlError) -> TomlError:
    return table.error(key, error.problem, place=(error.line, error.column))
