"""What went wrong with a store, as one line for people.

``LeaseSetupError``: somebody must change something. ``LeaseError``: it may be over by itself.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

import trio
from coredis.exceptions import (
    AskError,
    AuthenticationFailureError,
    AuthenticationRequiredError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ProtocolError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
    UnknownCommandError,
    WrongTypeError,
)
from coredis.exceptions import ConnectionError as LostError

from hsms_engine.errors import LeaseError, LeaseSetupError
from hsms_engine.lease.replies import UnreadableError

_LONGEST = 200

# What an older server has in the text of an error of a script only.
_WORDS = {
    "WRONGTYPE": WrongTypeError,
    "NOPERM": AuthorizationError,
    "ACL failure": AuthorizationError,
    "The user executing the script can't": AuthorizationError,
    "READONLY": ReadOnlyError,
    "LOADING": BusyLoadingError,
}
_REPLICA = "is a replica, where nothing is written: it may be taking over"


def failure_of(store: str, error: BaseException) -> LeaseError:
    """What an error of coredis, or below it, comes to. ``store``: its address."""
    for each in _chain(error):
        match each:
            case LeaseError():
                # Several may have to raise it.
                return type(each)(*each.args)
            case UnreadableError():
                return LeaseSetupError(f"what answers at {store} is no store for leases: {each}")
            case ssl.SSLCertVerificationError(verify_message=why):
                return LeaseSetupError(f"the certificate of the store {store} is refused: {why}")
            case ssl.SSLError():
                why = getattr(each, "reason", None) or shown(each.strerror)
                return LeaseSetupError(f"no TLS with the store {store}: {why}")
            case RedisError() if (said := _said(store, each)) is not None:
                return said
            case trio.TooSlowError():
                return LeaseError(f"the store {store} does not answer")
            case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
                break
            case OSError(errno=number) if each.__cause__ is None:
                # The number of a name that is not found is no number of an error.
                why = os.strerror(number) if number and number > 0 else str(each.strerror or each)
                return LeaseError(f"the store {store} is not reached: {why}")
            case _:
                pass
    return LeaseError(f"the connection to the store {store} was lost")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _chain(each)
        error = error.__cause__


def _said(store: str, error: RedisError) -> LeaseError | None:
    """What the server says of itself; None when it has said nothing."""
    text = shown(error)
    kind = next((kind for word, kind in _WORDS.items() if word in text), type(error))
    if issubclass(kind, AuthenticationFailureError):
        return LeaseSetupError(f"the store {store} refuses the user or the password")
    if issubclass(kind, AuthenticationRequiredError):
        return LeaseSetupError(f"the store {store} wants a password, and none was given")
    if issubclass(kind, AuthorizationError):
        return LeaseSetupError(f"the store {store} does not permit what is needed: {text}")
    if issubclass(kind, WrongTypeError):
        return LeaseSetupError(
            f"the store {store} has something else under the keys of leases: choose another "
            "prefix, or delete it"
        )
    if issubclass(kind, ReadOnlyError):
        return LeaseError(f"the store {store} {_REPLICA}")
    if issubclass(kind, BusyLoadingError):
        return LeaseError(f"the store {store} is still loading its data")
    if issubclass(kind, MovedError):
        return LeaseSetupError(
            f"the store {store} is a node of a cluster without these keys: {text}"
        )
    if issubclass(kind, ClusterDownError | TryAgainError | AskError):
        return LeaseError(f"the cluster of the store {store} is not whole: {text}")
    if issubclass(kind, UnknownCommandError | ProtocolError):
        return LeaseSetupError(f"the store {store} is too old, 6.2 is needed: {text}")
    if text.startswith(("OOM", "MISCONF", "NOREPLICAS")):
        return LeaseError(f"the store {store} writes nothing at present: {text}")
    if "DB index" in text:
        return LeaseSetupError(f"the store {store} does not have this database: {text}")
    if issubclass(kind, LostError):
        return None
    return LeaseError(f"the store {store} answered with an error: {text}")


def replica(store: str) -> LeaseError:
    return LeaseError(f"the store {store} {_REPLICA}")


def shown(value: object) -> str:
    """At most a line of it, without control characters."""
    return "".join(each if each.isprintable() else "?" for each in str(value)[:_LONGEST])
