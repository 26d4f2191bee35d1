"""Where the health of a program is told: a port of this machine, or a Unix socket.

People write ``9000``, ``127.0.0.1:9000``, ``[::1]:9000``, ``localhost:9000``, or a path that has a
``/``. No address of another machine is taken: whoever asks cannot dial a tool by mistake, and
nobody elsewhere is told.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import assert_never

from hsms_engine.driver.tcp import (
    DirectStream,
    Listener,
    address_text,
    connect_tcp,
    connect_unix,
    is_this_machine,
    listen_tcp,
    listen_unix,
)

_FORMS = "write a port, HOST:PORT of this machine (127.0.0.1:9000), or a path with a / (./health)"
# Only this user may ask.
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port of this machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return address_text((self.host, self.port))


@dataclass(frozen=True, slots=True)
class Path:
    """A Unix socket."""

    path: str

    def __str__(self) -> str:
        return self.path


Place = Port | Path
Where = int | str | os.PathLike[str]


def place_of(where: Where) -> Place:
    """The place that is written so. Raises ``ValueError`` when it is none."""
    # Not every caller uses a type checker.
    given: object = where
    match given:
        case int():
            text = str(given)
        case str():
            text = given
        case os.PathLike():
            text = os.fsdecode(given)
            # ``pathlib`` drops the "./" by which a path in this folder is known.
            text = text if "/" in text else f"./{text}"
        case _:
            raise ValueError(f"{where!r} is no place to tell health: {_FORMS}")
    if "\0" in text or not text.isprintable():
        raise ValueError(f"{text!r} is no place to tell health: it has a character not to be seen")
    if "/" in text:
        return Path(text)
    host, has_host, port = text.rpartition(":")
    is_bare = not (host.startswith("[") and host.endswith("]"))
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535
    if not is_port or (is_bare and ":" in host):
        raise ValueError(f"{text!r} is no place to tell health: {_FORMS}")
    if not has_host:
        return Port("127.0.0.1", int(port))
    bare = host if is_bare else host[1:-1]
    if not is_this_machine(bare):
        raise ValueError(
            f"{text!r} is not on this machine: health is told, and asked, on 127.0.0.1, ::1 or "
            "localhost only, so that no tool is dialled and nobody elsewhere is told"
        )
    return Port(bare, int(port))


async def listen(place: Place) -> Listener:
    """Listen there. Raises ``OSError``, with the place."""
    try:
        match place:
            case Port(host, port):
                return await listen_tcp(host, port)
            case Path(path):
                return await listen_unix(path, mode=_MODE)
            case _:
                assert_never(place)
    except OSError as error:
        raise _at("cannot tell health on", place, error) from error


async def connect(place: Place) -> DirectStream:
    """Connect to who listens there. Raises ``OSError``, with the place."""
    try:
        match place:
            case Port(host, port):
                return await connect_tcp(host, port)
            case Path(path):
                return await connect_unix(path)
            case _:
                assert_never(place)
    except (ConnectionRefusedError, FileNotFoundError) as error:
        why = f"nobody tells health on {place}: {error.strerror}; does the program run?"
        raise OSError(error.errno, why) from error
    except OSError as error:
        raise _at("cannot ask", place, error) from error


def _at(what: str, place: Place, error: OSError) -> OSError:
    return OSError(error.errno, f"{what} {place}: {error.strerror or error}")
