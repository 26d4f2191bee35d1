"""What may be the name of a tool, of an owner, or of the part of a store that one plant uses."""

from __future__ import annotations

import os
import re
from secrets import token_hex
from socket import gethostname

from hsms_engine.errors import LocalProtocolError, SettingsError

LONGEST_NAME, LONGEST_OWNER = 128, 200
LONGEST_SAVED = 4096
"""How many bytes an owner may leave for the next one."""

_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def tool_name(name: str) -> str:
    """The name, if it may be one."""
    return _text("the name of a tool", name, LONGEST_NAME)


def owner_name(owner: str | None) -> str:
    """The owner's name, if it may be one; without it one that no other has."""
    if owner is not None:
        return _text("the name of an owner", owner, LONGEST_OWNER)
    # The system may call itself anything.
    machine = "".join(each for each in gethostname() if each.isprintable())
    return f"{machine[:100]}:{os.getpid()}:{token_hex(3)}"


def identity(owner: str) -> str:
    """What a store knows an owner by: the name, and what no other owner of this name has."""
    return f"{owner}\n{token_hex(8)}"


def name_in(identity: str) -> str:
    """The owner's name, for people."""
    return identity.partition("\n")[0]


def expect_process(made_in: int, what: object) -> None:
    """Raise ``LocalProtocolError`` where a fork has made a second owner of the same name."""
    if made_in != os.getpid():
        raise LocalProtocolError(
            f"{what!r} was made in process {made_in} and is used in process {os.getpid()}: both "
            "would be the owner; make it after the fork"
        )


def prefix_text(text: str) -> str:
    """The prefix, if it may be one: what stands before all keys, in a program's settings too."""
    if not _PREFIX.fullmatch(text):
        raise SettingsError(
            f"the prefix {text!r} of the store: it has 1 to 64 of A-Z a-z 0-9 _ . : -"
        )
    return text


def checked_saved(saved: bytes) -> bytes:
    """What is left for the next owner, if it is not too much."""
    if len(saved) > LONGEST_SAVED:
        raise ValueError(f"{len(saved)} bytes are left for the next owner: {LONGEST_SAVED} at most")
    return saved


def _text(what: str, text: str, longest: int) -> str:
    if not text or text != text.strip() or not text.isprintable() or len(text) > longest:
        raise SettingsError(
            f"{what}, {text[: longest + 1]!r}: it has 1 to {longest} characters that can be "
            "printed, and no blank at either end"
        )
    return text
