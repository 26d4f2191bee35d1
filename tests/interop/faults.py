"""What other engines do wrong or cannot do, by name. Nothing else is excused.

A fault is recognised by what was on the wire and what the engine's process said, for the versions
that are pinned in ``engines``. One that comes and goes is tried again in a new process, so often at
most; one that always comes is what its cell of the table shows. What no row recognises has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.interop.engines import DRIVER, SECS4JS, SECSGEM, SECSGEMPRO, Engine


@dataclass(frozen=True, slots=True)
class Trouble:
    """A case that went another way: the error at our end, the messages, its standard error.

    In ``wire``, ``> S1F1`` was sent by us, and ``< S1F2`` came.
    """

    why: str
    wire: tuple[str, ...]
    said: str

    def between(self, first: str, last: str) -> Sequence[str] | None:
        """The messages after the last ``first`` and before the next ``last``; None without both."""
        if first not in self.wire:
            return None
        begin = len(self.wire) - self.wire[::-1].index(first)
        if last not in self.wire[begin:]:
            return None
        return self.wire[begin : self.wire.index(last, begin)]


@dataclass(frozen=True, slots=True)
class Fault:
    """``retries`` is how often in a row a case may be tried again; 0 when it always comes."""

    id: str
    engines: tuple[Engine, ...]
    what: str
    recognised: str
    matches: Callable[[Trouble], bool]
    retries: int


def _rejects_after_accepting(trouble: Trouble) -> bool:
    # It selected itself with this response, and we have deselected nothing since.
    between = trouble.between("< Select.rsp 0", "< Reject.req 4")
    return between is not None and all(name.startswith(">") for name in between)


def _never_selected(trouble: Trouble) -> bool:
    return (
        "it did not take the select" in trouble.why
        and ("< Select.rsp 0" in trouble.wire or "> Select.rsp 0" in trouble.wire)
        and "Invalid source state for transition 'select': NOT_CONNECTED" in trouble.said
    )


def _keeps_the_session(trouble: Trouble) -> bool:
    return (
        "still says that it is connected" in trouble.why
        and "> Separate.req" in trouble.wire
        and "Received Separate.req - closing connection" in trouble.said
        and "HSMS connection closed" not in trouble.said
    )


def _deselects_instead(trouble: Trouble) -> bool:
    return (
        "it closed without Separate.req" in trouble.why
        and trouble.between("< Deselect.req", "> Deselect.rsp 0") is not None
    )


FAULTS = (
    Fault(
        "rejects-after-accepting",
        (SECSGEM, SECSGEMPRO),
        "It sends Select.rsp 0 before its own state is SELECTED, and rejects data that comes "
        "between the two.",
        "Reject.req 4 comes after its Select.rsp 0, and nothing else of it between them",
        _rejects_after_accepting,
        10,
    ),
    Fault(
        "never-selected",
        (SECSGEM, SECSGEMPRO),
        "It reads from a new connection before its own state is CONNECTED. A select in that time "
        "is agreed on the wire, and its own state stays NOT CONNECTED.",
        "Select.rsp 0 was on the wire, and it logs `Invalid source state for transition 'select': "
        "NOT_CONNECTED`",
        _never_selected,
        10,
    ),
    Fault(
        "hangs-in-closing",
        (SECSGEM, SECSGEMPRO),
        "Disabled while its thread that connects or accepts is about to end, it waits for ever "
        "for that thread to take note.",
        "The thread is over, and the call has not returned",
        lambda trouble: "it waits for a thread that is over" in trouble.why,
        10,
    ),
    Fault(
        "keeps-the-session",
        (DRIVER,),
        "After Separate.req it closes TCP, and cancels its own task on the way: it goes on to say "
        "that it is connected and selected, and its callback for a lost connection is not called.",
        "It logs `Received Separate.req - closing connection`, never `HSMS connection closed`, and "
        "still says that it is connected",
        _keeps_the_session,
        0,
    ),
    Fault(
        "deselects-instead",
        (DRIVER,),
        "It has no Separate.req: it ends a connection with Deselect.req, and then closes TCP.",
        "Its Deselect.req was answered with 0, and TCP ended without Separate.req",
        _deselects_instead,
        0,
    ),
)

# By engine and case: why it is not tried.
CANNOT = {
    (SECS4JS, "their deselect, select again"): "It has no call that sends Deselect.req.",
}


def recognise(engine: Engine, trouble: Trouble) -> Fault | None:
    """The fault of an engine that has caused this, if it is a known one."""
    for fault in FAULTS:
        if engine in fault.engines and fault.matches(trouble):
            return fault
    return None
