"""What goes into each kind of field and what comes out of it. Only type checkers import this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from hsms_engine.messages.function import Field, Groups, Pairs, Value
from hsms_engine.secs2 import Item

NumberField: TypeAlias = Field[int | Item, int]
OptionalNumberField: TypeAlias = Field[int | Item | None, int | None]
FlagField: TypeAlias = Field[bool | Item, bool]
TextField: TypeAlias = Field[str | Item, str]
OptionalTextField: TypeAlias = Field[str | Item | None, str | None]
BytesField: TypeAlias = Field[bytes | Item, bytes]
IdField: TypeAlias = Field[Value, str | int]
OptionalIdField: TypeAlias = Field[Value | None, str | int | None]
NameField: TypeAlias = Field[str | bytes | Item, str | bytes]
OptionalNameField: TypeAlias = Field[str | bytes | Item | None, str | bytes | None]
FreeField: TypeAlias = Field[Value, Any]
OptionalFreeField: TypeAlias = Field[Value | None, Any]
ListField: TypeAlias = Field[Iterable[Value], list[Any]]
PairsField: TypeAlias = Field[Pairs, list[tuple[Any, Any]]]
GroupsField: TypeAlias = Field[Groups, list[tuple[Any, list[Any]]]]
RowsField: TypeAlias = Field[Iterable[tuple[Any, ...]], list[tuple[Any, ...]]]
LimitsField: TypeAlias = Field[
    Mapping[Any, Groups | Pairs] | Iterable[tuple[Value, Groups | Pairs]],
    list[tuple[Any, list[tuple[Any, Any]]]],
]
