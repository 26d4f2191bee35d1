"""What of a link outlives its program, and how it is saved as JSON.

A connection does not outlive it, nor does a running attempt. The breaker does, and T5: a program
that is started again must neither dial a tool whose breaker was open, nor dial earlier than T5
after the last attempt.

Two programs share no monotonic clock. So ages are saved, and the wall clock of both tells how much
older they are now. It is used for nothing else, and when it goes backwards, nothing has aged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Self

from hsms_engine.errors import RestoreError
from hsms_engine.protocol.routers import machine_for
from statecharts import SavedError, Snapshot
from statecharts.hsms import BREAKER
from statecharts.saving import each_once, read_flag, read_layout, read_number, shown

# Grows when the keys of a saved link, or their meaning, change.
LAYOUT = 1
# The longest text that is read, in characters or bytes; one that is saved has about 300.
LONGEST_TEXT = 4_096
# Stands where an event's name stands, in the step that records it. No chart takes it.
RESTORED = "restored"
# Longer than any timer; older ages are cut to it. In seconds.
OLDEST = 1e6
# The wall clock may be wrong, but not by thousands of years.
_LATEST = 1e11


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a link outlives its program. Ages are in seconds."""

    is_enabled: bool
    """Whether it makes attempts by itself. A link that is closed comes back enabled."""
    breaker: Snapshot
    """Under the threshold that was in force. A probe that ran is over with its program."""
    attempt_age: float | None
    """Since its latest attempt began, for T5; None: there was none."""
    open_age: float | None
    """Since the breaker opened; None: it is not open."""

    def aged(self, seconds: float) -> Self:
        """The same after ``seconds`` more."""

        def older(age: float | None) -> float | None:
            return None if age is None else min(age + seconds, OLDEST)

        return replace(self, attempt_age=older(self.attempt_age), open_age=older(self.open_age))


def write(kept: Kept, wall_time: float) -> dict[str, object]:
    """``kept`` as plain JSON values. ``wall_time``: seconds of the wall clock, now."""
    cut = kept.aged(0)
    return {
        "layout": LAYOUT,
        "saved_at": wall_time,
        "is_enabled": cut.is_enabled,
        "attempt_age": cut.attempt_age,
        "open_age": cut.open_age,
        "breaker": cut.breaker.machine.save(cut.breaker),
    }


def read(saved: object, wall_time: float, *, peer: str, threshold: int) -> Kept:
    """What ``write`` has written, with its ages now. ``peer`` is its name for messages.

    Best with the breaker's ``threshold`` in force, because its charts are there already.

    ``saved`` need not be trusted: it is the object, or its JSON as text or bytes. Raises
    ``RestoreError``, which names the key, its value and what is allowed, or says why it cannot be
    read as JSON.
    """
    try:
        match saved:
            case str() | bytes():
                saved = _parsed(saved)
            case _:
                pass
        return _read(saved, wall_time, threshold)
    except SavedError as error:
        raise RestoreError(f"{peer}: this cannot be restored: {error}") from None


def _parsed(text: str | bytes) -> object:
    if len(text) > LONGEST_TEXT:
        raise SavedError(f"{len(text)} characters or bytes are more than {LONGEST_TEXT}")
    try:
        parsed: object = json.loads(text, object_pairs_hook=each_once)
    except (ValueError, RecursionError) as error:
        raise SavedError(f"it is no JSON that is saved: {error}") from None
    return parsed


def _read(saved: object, wall_time: float, threshold: int) -> Kept:
    keys = ("saved_at", "is_enabled", "attempt_age", "open_age", "breaker")
    given = read_layout("link", saved, LAYOUT, keys)
    saved_at = read_number("link.saved_at", given["saved_at"], -_LATEST, _LATEST)
    breaker = machine_for(BREAKER, "threshold", threshold).restore(given["breaker"])
    open_age = _age("link.open_age", given["open_age"])
    if (open_age is None) == ("breaker_open" in breaker):
        raise SavedError(
            f"link.open_age={shown(open_age)} does not fit a breaker in {breaker.leaves}: it is "
            "a number exactly when the breaker is open, else null"
        )
    kept = Kept(
        read_flag("link.is_enabled", given["is_enabled"]),
        breaker,
        _age("link.attempt_age", given["attempt_age"]),
        open_age,
    )
    return kept.aged(max(0.0, wall_time - saved_at))


def _age(name: str, value: object) -> float | None:
    return None if value is None else read_number(name, value, 0, OLDEST)
