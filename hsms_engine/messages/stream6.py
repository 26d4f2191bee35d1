"""Stream 6: data that an equipment collects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsms_engine.messages.data import (
    CEID,
    DATAID,
    DATALENGTH,
    ERRCODE,
    ERRTEXT,
    OTHER_ERROR,
    RPTID,
    SV,
    TRID,
    VID,
    V,
    byte,
    code,
    identifier,
    number,
    text,
    value,
)
from hsms_engine.messages.function import Function, OptionalReply, field
from hsms_engine.messages.layout import Data, fixed, many, optional
from hsms_engine.secs2 import U1

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsms_engine.messages.fields import (
        GroupsField,
        IdField,
        ListField,
        NumberField,
        OptionalNumberField,
        PairsField,
        TextField,
    )
    from hsms_engine.messages.function import Field, Groups, Value

# So that the package has these names, and not those of the data items.
__all__ = [
    "S6F1", "S6F2", "S6F3", "S6F4", "S6F5", "S6F6", "S6F7", "S6F8", "S6F9", "S6F10", "S6F11",
    "S6F12", "S6F13", "S6F14", "S6F15", "S6F16", "S6F17", "S6F18", "S6F19", "S6F20", "S6F21",
    "S6F22", "S6F23", "S6F24", "S6F25", "S6F26", "S6F27", "S6F28", "S6F29", "S6F30",
]  # fmt: skip

ACKC6 = code("ACKC6", "whether it is accepted", {0: "accepted"}, "an error, not accepted")
DSID = identifier("DSID", "a set of data")
DVNAME = identifier("DVNAME", "a data variable")
DVVAL = value("DVVAL", "the value of a data variable")
GRANT6 = code(
    "GRANT6",
    "whether a long message may be sent",
    {0: "granted", 1: "busy, try again", 2: "not wanted"},
    OTHER_ERROR,
)
LINKID = number("LINKID", "which request it belongs to, 0 for the last message of it")
OPID = number("OPID", "the number of an operation")
PFCD = byte("PFCD", "a form of data, agreed on beforehand")
RCPATTRDATA = value("RCPATTRDATA", "the value of an attribute of a recipe")
RCPATTRID = text("RCPATTRID", "an attribute of a recipe")
RCPSPEC = text("RCPSPEC", "which recipe")
RMACK = Data(
    "RMACK",
    "how the operation ended",
    (U1,),
    codes={0: "done", 1: "cannot be done", 2: "done, with errors", 3: "will be done"},
    others=OTHER_ERROR,
)
RMCHGSTAT = Data("RMCHGSTAT", "what happened to a recipe", (U1,))
RSDA = code(
    "RSDA",
    "the answer about spooled messages",
    {0: "done", 1: "busy, try again", 2: "none is spooled"},
)
RSDC = Data("RSDC", "what to do with spooled messages", (U1,), codes={0: "send", 1: "delete"})
SMPLN = number("SMPLN", "the number of the sample")
STIME = text("STIME", "when the sample was taken, as TIME", 32)

REPORTS = many(RPTID, many(V))
ANNOTATED_REPORTS = many(RPTID, many(VID, V))
SETS = many(DSID, many(DVNAME, DVVAL))


class S6F1(OptionalReply, by="equipment"):
    """Trace Data Send: the values of a trace that S2F23 began."""

    trid: IdField = field(TRID)
    smpln: NumberField = field(SMPLN)
    stime: TextField = field(STIME)
    values: ListField = field(many(SV))


class S6F2(Function):
    """Trace Data Acknowledge."""

    ackc6: NumberField = field(ACKC6, default=0)


class S6F3(OptionalReply, by="equipment"):
    """Discrete Variable Data Send: ``{dsid: [(dvname, dvval), ...]}``."""

    dataid: IdField = field(DATAID)
    ceid: IdField = field(CEID)
    sets: GroupsField = field(SETS)


class S6F4(Function):
    """Discrete Variable Data Acknowledge."""

    ackc6: NumberField = field(ACKC6, default=0)


class S6F5(Function, by="equipment"):
    """Multi-block Data Send Inquire: may a message of this many bytes be sent?"""

    dataid: IdField = field(DATAID)
    datalength: NumberField = field(DATALENGTH)


class S6F6(Function):
    """Multi-block Grant."""

    grant6: NumberField = field(GRANT6, default=0)


class S6F7(Function, by="host"):
    """Data Transfer Request: the data of that number."""

    dataid: IdField = field(DATAID)


class S6F8(Function):
    """Data Transfer Data: as S6F3."""

    dataid: IdField = field(DATAID)
    ceid: IdField = field(CEID)
    sets: GroupsField = field(SETS)


class S6F9(OptionalReply, by="equipment"):
    """Formatted Variable Send: ``{dsid: [dvval, ...]}`` in a form that was agreed on."""

    pfcd: NumberField = field(PFCD)
    dataid: IdField = field(DATAID)
    ceid: IdField = field(CEID)
    sets: GroupsField = field(many(DSID, many(DVVAL)))


class S6F10(Function):
    """Formatted Variable Acknowledge."""

    ackc6: NumberField = field(ACKC6, default=0)


class S6F11(OptionalReply, by="equipment"):
    """Event Report Send: ``{rptid: [value, ...]}``."""

    dataid: IdField = field(DATAID)
    ceid: IdField = field(CEID)
    reports: GroupsField = field(REPORTS)


class S6F12(Function):
    """Event Report Acknowledge."""

    ackc6: NumberField = field(ACKC6, default=0)


class S6F13(OptionalReply, by="equipment"):
    """Annotated Event Report Send: ``{rptid: [(vid, value), ...]}``."""

    dataid: IdField = field(DATAID)
    ceid: IdField = field(CEID)
    reports: GroupsField = field(ANNOTATED_REPORTS)


class S6F14(Function):
    """Annotated Event Report Acknowledge."""

    ackc6: NumberField = field(ACKC6, default=0)


class S6F15(Function, by="host"):
    """Event Report Request: the reports linked to an event, now."""

    ceid: IdField = field(CEID)


class S6F16(Function):
    """Event Report Data: as S6F11."""

    dataid: IdField = field(DATAID)
    ceid: IdField = field(CEID)
    reports: GroupsField = field(REPORTS)


class S6F17(Function, by="host"):
    """Annotated Event Report Request: the reports linked to an event, now, with ids."""

    ceid: IdField = field(CEID)


class S6F18(Function):
    """Annotated Event Report Data: as S6F13."""

    dataid: IdField = field(DATAID)
    ceid: IdField = field(CEID)
    reports: GroupsField = field(ANNOTATED_REPORTS)


class S6F19(Function, by="host"):
    """Individual Report Request: a report, now."""

    rptid: IdField = field(RPTID)


class S6F20(Function):
    """Individual Report Data: the values of the report, in its order."""

    values: ListField = field(many(V))

    def __init__(self, *values: Value, text_encoding: str | None = None) -> None:
        self._fill((values,), text_encoding)


class S6F21(Function, by="host"):
    """Annotated Individual Report Request: a report, now, with ids."""

    rptid: IdField = field(RPTID)


class S6F22(Function):
    """Annotated Individual Report Data: ``{vid: value}``, or pairs."""

    values: PairsField = field(many(VID, V))


class S6F23(Function, by="host"):
    """Request Spooled Data: send or delete what was spooled."""

    rsdc: NumberField = field(RSDC)


class S6F24(Function):
    """Request Spooled Data Acknowledge."""

    rsda: NumberField = field(RSDA, default=0)


class S6F25(OptionalReply, by="both"):
    """Notification Report Send: how an operation with recipes has ended.

    ``outcome`` is ``(rmack, [(errcode, errtext), ...])``. Few public documents show this function:
    compare it with those of your equipment.
    """

    dataid: IdField = field(DATAID)
    opid: NumberField = field(OPID)
    linkid: NumberField = field(LINKID)
    rcpspec: TextField = field(RCPSPEC)
    rmchgstat: NumberField = field(RMCHGSTAT)
    attributes: PairsField = field(many(RCPATTRID, RCPATTRDATA))
    outcome: Field[tuple[int, Iterable[tuple[int, str]]], tuple[int, list[tuple[int, str]]]] = (
        field(fixed(RMACK, many(ERRCODE, ERRTEXT)))
    )


class S6F26(Function):
    """Notification Report Send Acknowledge."""

    ackc6: NumberField = field(ACKC6, default=0)


class S6F27(OptionalReply, by="equipment"):
    """Trace Report Send: for each sample ``[(rptid, [value, ...]), ...]``.

    Few public documents show this function: compare it with those of your equipment.
    """

    dataid: IdField = field(DATAID)
    trid: IdField = field(TRID)
    samples: Field[Iterable[Groups], list[list[tuple[Any, list[Any]]]]] = field(many(REPORTS))


class S6F28(Function):
    """Trace Report Send Acknowledge: the trace it was."""

    trid: IdField = field(TRID)


class S6F29(Function, by="host"):
    """Trace Report Request: the reports of a trace, now."""

    trid: IdField = field(TRID)


class S6F30(Function):
    """Trace Report Data: ``{rptid: [value, ...]}``, and what went wrong, None if nothing did.

    Few public documents show this function: compare it with those of your equipment.
    """

    trid: IdField = field(TRID)
    reports: GroupsField = field(REPORTS)
    errcode: OptionalNumberField = field(optional(ERRCODE), default=None)
