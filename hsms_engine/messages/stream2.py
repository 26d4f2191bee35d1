"""Stream 2: how an equipment is controlled and set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsms_engine.messages.data import (
    CEID,
    DATAID,
    DATALENGTH,
    LEAF,
    LIMIT,
    OTHER_ERROR,
    PPID,
    RPTID,
    SVID,
    TRID,
    UNITS,
    VID,
    byte,
    code,
    identifier,
    octets,
    text,
    value,
)
from hsms_engine.messages.function import Function, OptionalReply, field
from hsms_engine.messages.layout import Data, Fixed, many
from hsms_engine.secs2 import BOOLEAN, I1, U1, A, B, L

if TYPE_CHECKING:
    from hsms_engine.messages.fields import (
        BytesField,
        FlagField,
        GroupsField,
        IdField,
        LimitsField,
        ListField,
        NameField,
        NumberField,
        PairsField,
        RowsField,
        TextField,
    )
    from hsms_engine.messages.function import Value
    from hsms_engine.secs2 import Item

# So that the package has these names, and not those of the data items.
__all__ = [
    "S2F13", "S2F14", "S2F15", "S2F16", "S2F17", "S2F18", "S2F19", "S2F20", "S2F21", "S2F22",
    "S2F23", "S2F24", "S2F25", "S2F26", "S2F27", "S2F28", "S2F29", "S2F30", "S2F31", "S2F32",
    "S2F33", "S2F34", "S2F35", "S2F36", "S2F37", "S2F38", "S2F39", "S2F40", "S2F41", "S2F42",
    "S2F43", "S2F44", "S2F45", "S2F46", "S2F47", "S2F48", "S2F49", "S2F50",
]  # fmt: skip

ABS = octets("ABS", "any bytes")
CEED = Data("CEED", "whether events are enabled", (BOOLEAN,))
CEPACK = Data(
    "CEPACK",
    "what is wrong with a parameter; a list when the parameter is one",
    (U1, L),
    codes={
        0: "nothing",
        1: "no such name",
        2: "its value is not allowed",
        3: "its format is not allowed",
        4: "its name does not fit here",
    },
)
CEPVAL = value("CEPVAL", "the value of a parameter, or a list of parameters")
CMDA = Data(
    "CMDA",
    "the answer to a command",
    (U1, I1, B),
    codes={0: "done", 1: "no such command", 2: "not now"},
    others=OTHER_ERROR,
)
CPACK = code(
    "CPACK",
    "what is wrong with a parameter",
    {1: "no such name", 2: "its value is not allowed", 3: "its format is not allowed"},
)
CPNAME = identifier("CPNAME", "the name of a parameter")
CPVAL = value("CPVAL", "the value of a parameter", LEAF)
DRACK = code(
    "DRACK",
    "whether reports are defined",
    {
        0: "done",
        1: "denied, no space",
        2: "denied, wrong format",
        3: "denied, a RPTID is defined already",
        4: "denied, no such VID",
    },
    OTHER_ERROR,
)
DSPER = text("DSPER", "the time between two samples: hhmmss, or hhmmsscc with hundredths")
EAC = code(
    "EAC",
    "whether constants are set",
    {0: "done", 1: "denied, no such constant", 2: "denied, busy", 3: "denied, out of range"},
    OTHER_ERROR,
)
ECDEF = value("ECDEF", "the value that a constant has at first", LEAF)
ECID = identifier("ECID", "an equipment constant")
ECMAX = value("ECMAX", "the highest value of a constant", LEAF)
ECMIN = value("ECMIN", "the lowest value of a constant", LEAF)
ECNAME = text("ECNAME", "the name of a constant")
ECV = value("ECV", "the value of a constant")
ERACK = code(
    "ERACK", "whether events are enabled or disabled", {0: "done", 1: "denied, no such CEID"}
)
FCNID = Data("FCNID", "a function: its number", (U1,))
GRANT = code(
    "GRANT",
    "whether a long message may be sent",
    {0: "granted", 1: "busy, try again", 2: "no space", 3: "DATAID is in use"},
    OTHER_ERROR,
)
HCACK = code(
    "HCACK",
    "the answer to a command",
    {
        0: "done",
        1: "no such command",
        2: "not now",
        3: "a parameter is wrong",
        4: "will be done, an event tells when",
        5: "it is so already",
        6: "no such object",
    },
)
LIMITACK = code(
    "LIMITACK",
    "what is wrong with a limit",
    {
        0: "nothing",
        1: "no such LIMITID",
        2: "UPPERDB is above LIMITMAX",
        3: "LOWERDB is below LIMITMIN",
        4: "UPPERDB is below LOWERDB",
        5: "wrong format of UPPERDB or LOWERDB",
        6: "the text is no number",
        7: "the same limit twice",
    },
    OTHER_ERROR,
)
LIMITID = byte("LIMITID", "a limit of a variable, 1 to 7")
LIMITMAX = Data("LIMITMAX", "the highest limit that a variable may have", LIMIT)
LIMITMIN = Data("LIMITMIN", "the lowest limit that a variable may have", LIMIT)
LOC = byte("LOC", "a place for material")
LOWERDB = Data("LOWERDB", "the value below which a variable has left the limit", LIMIT)
LRACK = code(
    "LRACK",
    "whether reports are linked to events",
    {
        0: "done",
        1: "denied, no space",
        2: "denied, wrong format",
        3: "denied, a CEID is linked already",
        4: "denied, no such CEID",
        5: "denied, no such RPTID",
    },
    OTHER_ERROR,
)
LVACK = code(
    "LVACK",
    "what is wrong with the limits of a variable",
    {
        0: "nothing",
        1: "no such variable",
        2: "it can have no limits",
        3: "the same variable twice",
        4: "a limit is wrong, see LIMITACK",
    },
    OTHER_ERROR,
)
MID = Data("MID", "the name of material", (A, B), None, 80)
OBJSPEC = text("OBJSPEC", "which object: the names of the objects that it is in, and its own")
RAC = code("RAC", "the answer to a reset", {0: "will be done", 1: "denied"}, OTHER_ERROR)
RCMD = Data("RCMD", "the name or number of a command", (A, U1, I1))
REPGSZ = identifier("REPGSZ", "how many samples are sent together")
RIC = code("RIC", "what to begin again from", {1: "as after power-up"}, "another reset")
RSPACK = code(
    "RSPACK",
    "whether spooling is set up",
    {0: "done", 1: "denied: a stream or function is wrong, see STRACK"},
)
STRACK = code(
    "STRACK",
    "what is wrong with a stream",
    {
        1: "its messages cannot be spooled",
        2: "no such stream",
        3: "no such function",
        4: "a function is a secondary",
    },
)
STRID = Data("STRID", "a stream: its number", (U1,))
TIAACK = code(
    "TIAACK",
    "whether the trace is set up",
    {
        0: "done",
        1: "too many SVIDs",
        2: "no more traces",
        3: "wrong period",
        4: "no such SVID",
        5: "wrong REPGSZ",
    },
)
TIACK = code("TIACK", "whether the clock is set", {0: "done", 1: "not done"})
TIME = text("TIME", "YYYYMMDDhhmmsscc, the 12 digits YYMMDDhhmmss, or as ISO 8601 has it", 32)
TOTSMP = identifier("TOTSMP", "how many samples the trace has, 0 to end it")
UPPERDB = Data("UPPERDB", "the value above which a variable has passed the limit", LIMIT)
VLAACK = code(
    "VLAACK",
    "whether limits are set",
    {0: "done", 1: "denied: a limit is wrong, see LVACK", 2: "not now"},
    OTHER_ERROR,
)


class S2F13(Function, by="host"):
    """Equipment Constant Request. No id asks for all constants."""

    ecids: ListField = field(many(ECID))

    def __init__(self, *ecids: Value, text_encoding: str | None = None) -> None:
        self._fill((ecids,), text_encoding)


class S2F14(Function):
    """Equipment Constant Data: one value for each id asked for, in that order.

    An empty list in the place of a value says that there is no such constant.
    """

    values: ListField = field(many(ECV))

    def __init__(self, *values: Value, text_encoding: str | None = None) -> None:
        self._fill((values,), text_encoding)


class S2F15(Function, by="host"):
    """New Equipment Constant Send: ``{ecid: value}``, or pairs."""

    constants: PairsField = field(many(ECID, ECV))


class S2F16(Function):
    """New Equipment Constant Acknowledge. If it is denied, no constant is changed."""

    eac: NumberField = field(EAC, default=0)


class S2F17(Function, by="both"):
    """Date and Time Request."""


class S2F18(Function):
    """Date and Time Data."""

    time: TextField = field(TIME)


class S2F19(Function, by="host"):
    """Reset/Initialize Send: begin anew."""

    ric: NumberField = field(RIC)


class S2F20(Function):
    """Reset Acknowledge."""

    rac: NumberField = field(RAC, default=0)


class S2F21(OptionalReply, by="host"):
    """Remote Command Send: a command without parameters. S2F41 has taken its place."""

    rcmd: IdField = field(RCMD)


class S2F22(Function):
    """Remote Command Acknowledge."""

    cmda: NumberField = field(CMDA, default=0)


class S2F23(Function, by="host"):
    """Trace Initialize Send: read these variables again and again, and send them as S6F1."""

    trid: IdField = field(TRID)
    dsper: TextField = field(DSPER)
    totsmp: IdField = field(TOTSMP)
    repgsz: IdField = field(REPGSZ)
    svids: ListField = field(many(SVID))


class S2F24(Function):
    """Trace Initialize Acknowledge."""

    tiaack: NumberField = field(TIAACK, default=0)


class S2F25(Function, by="both"):
    """Loopback Diagnostic Request: these bytes come back."""

    data: BytesField = field(ABS)


class S2F26(Function):
    """Loopback Diagnostic Data: the bytes of the request."""

    data: BytesField = field(ABS)


class S2F27(Function, by="host"):
    """Initiate Processing Request: process material at a place with a process program.

    No material means whatever is there.
    """

    loc: NumberField = field(LOC)
    ppid: NameField = field(PPID)
    mids: ListField = field(many(MID), default=())


class S2F28(Function):
    """Initiate Processing Acknowledge."""

    cmda: NumberField = field(CMDA, default=0)


class S2F29(Function, by="host"):
    """Equipment Constant Namelist Request. No id asks for all."""

    ecids: ListField = field(many(ECID))

    def __init__(self, *ecids: Value, text_encoding: str | None = None) -> None:
        self._fill((ecids,), text_encoding)


class S2F30(Function):
    """Equipment Constant Namelist: id, name, lowest, highest and first value, and units."""

    constants: RowsField = field(many(ECID, ECNAME, ECMIN, ECMAX, ECDEF, UNITS))

    def __init__(
        self,
        *constants: tuple[Value, str, Value, Value, Value, str],
        text_encoding: str | None = None,
    ) -> None:
        self._fill((constants,), text_encoding)


class S2F31(Function, by="host"):
    """Date and Time Set Request."""

    time: TextField = field(TIME)


class S2F32(Function):
    """Date and Time Set Acknowledge."""

    tiack: NumberField = field(TIACK, default=0)


class S2F33(Function, by="host"):
    """Define Report: ``{rptid: [vid, ...]}``. No variable deletes the report, no report all."""

    dataid: IdField = field(DATAID)
    reports: GroupsField = field(many(RPTID, many(VID)))


class S2F34(Function):
    """Define Report Acknowledge. If it is denied, no report is changed."""

    drack: NumberField = field(DRACK, default=0)


class S2F35(Function, by="host"):
    """Link Event Report: ``{ceid: [rptid, ...]}``. No report unlinks the event from all."""

    dataid: IdField = field(DATAID)
    links: GroupsField = field(many(CEID, many(RPTID)))


class S2F36(Function):
    """Link Event Report Acknowledge. If it is denied, no link is changed."""

    lrack: NumberField = field(LRACK, default=0)


class S2F37(Function, by="host"):
    """Enable/Disable Event Report. No id means all events."""

    enable: FlagField = field(CEED)
    ceids: ListField = field(many(CEID))

    def __init__(
        self, enable: bool | Item, *ceids: Value, text_encoding: str | None = None
    ) -> None:
        self._fill((enable, ceids), text_encoding)


class S2F38(Function):
    """Enable/Disable Event Report Acknowledge."""

    erack: NumberField = field(ERACK, default=0)


class S2F39(Function, by="host"):
    """Multi-block Inquire: may a message of this many bytes be sent?"""

    dataid: IdField = field(DATAID)
    datalength: NumberField = field(DATALENGTH)


class S2F40(Function):
    """Multi-block Grant."""

    grant: NumberField = field(GRANT, default=0)


class S2F41(OptionalReply, by="host"):
    """Host Command Send: ``S2F41("START", {"PPID": "RECIPE1"})``."""

    rcmd: IdField = field(RCMD)
    parameters: PairsField = field(many(CPNAME, CPVAL), default=())


class S2F42(Function):
    """Host Command Acknowledge: whether it is done, and what is wrong with which parameter."""

    hcack: NumberField = field(HCACK, default=0)
    faults: PairsField = field(many(CPNAME, CPACK), default=())


class S2F43(Function, by="host"):
    """Reset Spooling Streams and Functions: which primaries are spooled, ``{strid: [fcnid, ...]}``.

    No function means all of the stream; no stream means that nothing is spooled.
    """

    streams: GroupsField = field(many(STRID, many(FCNID)))


class S2F44(Function):
    """Reset Spooling Acknowledge: for each wrong stream why, and which functions are wrong."""

    rspack: NumberField = field(RSPACK, default=0)
    faults: RowsField = field(many(STRID, STRACK, many(FCNID)), default=())


class S2F45(Function, by="host"):
    """Define Variable Limit Attributes: ``{vid: {limitid: (upperdb, lowerdb)}}``.

    None in the place of the two values removes the limit. No limit removes all of the variable, no
    variable those of all.
    """

    dataid: IdField = field(DATAID)
    variables: LimitsField = field(
        many(VID, many(LIMITID, Fixed((UPPERDB, LOWERDB), optional=True)))
    )


class S2F46(Function):
    """Variable Limit Attribute Acknowledge: ``[(vid, lvack, (limitid, limitack)), ...]``.

    None in the place of the last two: no limit of the variable is wrong.
    """

    vlaack: NumberField = field(VLAACK, default=0)
    faults: RowsField = field(
        many(VID, LVACK, Fixed((LIMITID, LIMITACK), optional=True)), default=()
    )


class S2F47(Function, by="host"):
    """Variable Limit Attribute Request. No id asks for all that have limits."""

    vids: ListField = field(many(VID))

    def __init__(self, *vids: Value, text_encoding: str | None = None) -> None:
        self._fill((vids,), text_encoding)


class S2F48(Function):
    """Variable Limit Attributes Send: ``(vid, (units, limitmin, limitmax, limits))`` for each.

    Each limit is ``(limitid, upperdb, lowerdb)``. None in the place of the four: it can have none.
    """

    variables: RowsField = field(
        many(
            VID,
            Fixed((UNITS, LIMITMIN, LIMITMAX, many(LIMITID, UPPERDB, LOWERDB)), optional=True),
        )
    )

    def __init__(
        self, *variables: tuple[Value, tuple[Any, ...] | None], text_encoding: str | None = None
    ) -> None:
        self._fill((variables,), text_encoding)


class S2F49(Function, by="host"):
    """Enhanced Remote Command: as S2F41, for an object, with parameters that may be lists."""

    dataid: IdField = field(DATAID)
    objspec: TextField = field(OBJSPEC)
    rcmd: IdField = field(RCMD)
    parameters: PairsField = field(many(CPNAME, CEPVAL), default=())


class S2F50(Function):
    """Enhanced Remote Command Acknowledge: as S2F42, with the codes of the parameters."""

    hcack: NumberField = field(HCACK, default=0)
    faults: PairsField = field(many(CPNAME, CEPACK), default=())
