"""Stream 1: what an equipment is and what state it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsms_engine.messages.data import (
    CEID,
    ERRCODE,
    ERRTEXT,
    SV,
    SVID,
    UNITS,
    VID,
    byte,
    code,
    identifier,
    octets,
    text,
    value,
)
from hsms_engine.messages.function import Function, field
from hsms_engine.messages.layout import many

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsms_engine.messages.fields import (
        BytesField,
        IdField,
        ListField,
        NumberField,
        OptionalTextField,
        RowsField,
    )
    from hsms_engine.messages.function import Field, Value

# So that the package has these names, and not those of the data items.
__all__ = [
    "S1F1", "S1F2", "S1F3", "S1F4", "S1F5", "S1F6", "S1F7", "S1F8", "S1F9", "S1F10", "S1F11",
    "S1F12", "S1F13", "S1F14", "S1F15", "S1F16", "S1F17", "S1F18", "S1F19", "S1F20", "S1F21",
    "S1F22", "S1F23", "S1F24",
]  # fmt: skip

ATTRDATA = value("ATTRDATA", "the value of an attribute")
ATTRID = identifier("ATTRID", "an attribute of an object")
CENAME = text("CENAME", "the name of an event")
COMMACK = code(
    "COMMACK", "whether communication is established", {0: "accepted", 1: "denied, try again"}
)
DVVALNAME = text("DVVALNAME", "the name of a data variable")
MDLN = text("MDLN", "the model of the equipment", 20)
OBJID = identifier("OBJID", "an object of a type")
OBJTYPE = identifier("OBJTYPE", "a type of objects")
OFLACK = code("OFLACK", "the answer to a wish to go off-line", {0: "off-line"})
ONLACK = code(
    "ONLACK",
    "the answer to a wish to go on-line",
    {0: "accepted", 1: "not allowed", 2: "already on-line"},
)
SFCD = byte("SFCD", "a form of status data, agreed on beforehand")
SOFTREV = text("SOFTREV", "the revision of its software", 20)
SVNAME = text("SVNAME", "the name of a status variable")
TSIP = octets("TSIP", "a byte for each input port: how far its transfer of material is")
TSOP = octets("TSOP", "a byte for each output port: how far its transfer of material is")


class S1F1(Function, by="both"):
    """Are You There: the other end answers, if it is there."""


class S1F2(Function, optional_from=0):
    """On Line Data: an equipment gives model and software revision, a host nothing."""

    mdln: OptionalTextField = field(MDLN, default=None)
    softrev: OptionalTextField = field(SOFTREV, default=None)


class S1F3(Function, by="host"):
    """Selected Equipment Status Request. No id asks for all status variables."""

    svids: ListField = field(many(SVID))

    def __init__(self, *svids: Value, text_encoding: str | None = None) -> None:
        self._fill((svids,), text_encoding)


class S1F4(Function):
    """Selected Equipment Status Data: one value for each id asked for, in that order.

    An empty list in the place of a value says that there is no such variable.
    """

    values: ListField = field(many(SV))

    def __init__(self, *values: Value, text_encoding: str | None = None) -> None:
        self._fill((values,), text_encoding)


class S1F5(Function, by="host"):
    """Formatted Status Request: status data in a form that was agreed on beforehand."""

    sfcd: NumberField = field(SFCD)


class S1F6(Function):
    """Formatted Status Data. No value says that there is no such form.

    Public documents differ in what a form contains: here it is a list of values.
    """

    values: ListField = field(many(SV))

    def __init__(self, *values: Value, text_encoding: str | None = None) -> None:
        self._fill((values,), text_encoding)


class S1F7(Function, by="host"):
    """Fixed Form Request: which variables a form of status data has."""

    sfcd: NumberField = field(SFCD)


class S1F8(Function):
    """Fixed Form Data: name and units of each variable of the form."""

    names: RowsField = field(many(SVNAME, UNITS))

    def __init__(self, *names: tuple[str, str], text_encoding: str | None = None) -> None:
        self._fill((names,), text_encoding)


class S1F9(Function, by="host"):
    """Material Transfer Status Request."""


class S1F10(Function):
    """Material Transfer Status Data: a byte for each port."""

    tsip: BytesField = field(TSIP)
    tsop: BytesField = field(TSOP)


class S1F11(Function, by="host"):
    """Status Variable Namelist Request. No id asks for all."""

    svids: ListField = field(many(SVID))

    def __init__(self, *svids: Value, text_encoding: str | None = None) -> None:
        self._fill((svids,), text_encoding)


class S1F12(Function):
    """Status Variable Namelist Reply: id, name and units of each variable."""

    names: RowsField = field(many(SVID, SVNAME, UNITS))

    def __init__(self, *names: tuple[Value, str, str], text_encoding: str | None = None) -> None:
        self._fill((names,), text_encoding)


class S1F13(Function, by="both", optional_from=0):
    """Establish Communications Request: an equipment says what it is, a host nothing."""

    mdln: OptionalTextField = field(MDLN, default=None)
    softrev: OptionalTextField = field(SOFTREV, default=None)


class S1F14(Function, optional_from=1):
    """Establish Communications Acknowledge: an equipment says what it is, a host nothing."""

    commack: NumberField = field(COMMACK, default=0)
    mdln: OptionalTextField = field(MDLN, default=None)
    softrev: OptionalTextField = field(SOFTREV, default=None)


class S1F15(Function, by="host"):
    """Request OFF-LINE."""


class S1F16(Function):
    """OFF-LINE Acknowledge."""

    oflack: NumberField = field(OFLACK, default=0)


class S1F17(Function, by="host"):
    """Request ON-LINE."""


class S1F18(Function):
    """ON-LINE Acknowledge."""

    onlack: NumberField = field(ONLACK, default=0)


class S1F19(Function, by="host"):
    """Get Attribute: these attributes of these objects. No object means all of that type.

    No attribute means all of them.
    """

    objtype: IdField = field(OBJTYPE)
    objids: ListField = field(many(OBJID), default=())
    attrids: ListField = field(many(ATTRID), default=())


class S1F20(Function):
    """Attribute Data: for each object a list of its values, and the errors."""

    objects: Field[Iterable[Iterable[Value]], list[list[Any]]] = field(many(many(ATTRDATA)))
    errors: RowsField = field(many(ERRCODE, ERRTEXT), default=())


class S1F21(Function, by="host"):
    """Data Variable Namelist Request. No id asks for all."""

    vids: ListField = field(many(VID))

    def __init__(self, *vids: Value, text_encoding: str | None = None) -> None:
        self._fill((vids,), text_encoding)


class S1F22(Function):
    """Data Variable Namelist: id, name and units of each variable."""

    names: RowsField = field(many(VID, DVVALNAME, UNITS))

    def __init__(self, *names: tuple[Value, str, str], text_encoding: str | None = None) -> None:
        self._fill((names,), text_encoding)


class S1F23(Function, by="host"):
    """Collection Event Namelist Request. No id asks for all."""

    ceids: ListField = field(many(CEID))

    def __init__(self, *ceids: Value, text_encoding: str | None = None) -> None:
        self._fill((ceids,), text_encoding)


class S1F24(Function):
    """Collection Event Namelist: id and name of each event, and the variables it may report."""

    names: RowsField = field(many(CEID, CENAME, many(VID)))

    def __init__(
        self, *names: tuple[Value, str, Iterable[Value]], text_encoding: str | None = None
    ) -> None:
        self._fill((names,), text_encoding)
