"""Errors are sorted by what the caller can still do, and say what happened in words and numbers."""

from __future__ import annotations

import copy
import errno
import pickle
import socket

import pytest
import trio

from hsms_engine import (
    AbortedError,
    CircuitOpenError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HsmsError,
    LeaseError,
    LeaseSetupError,
    LinkDownError,
    LocalProtocolError,
    NotTaken,
    OwnerUnknownError,
    RejectedError,
    RemoteProtocolError,
    ReplyTimeoutError,
    RestoreError,
    SelectRefusedError,
    SettingsError,
    StreamNineError,
    TransactionError,
)
from hsms_engine.wire import FrameLengthError, control_frame

KINDS: list[type[HsmsError]] = [
    LocalProtocolError,
    SettingsError,
    RestoreError,
    TransactionError,
    ConnectError,
    ConnectionLostError,
    ClosedError,
    LinkDownError,
    OwnerUnknownError,
    LeaseError,
]
ONE_OF_EACH: list[HsmsError] = [
    LocalProtocolError("no"),
    SettingsError("t3=0"),
    RestoreError("link.layout=2"),
    ReplyTimeoutError("T3", (NotTaken(1, 2, False, 0, 7),)),
    StreamNineError("S9F5", 5),
    RejectedError("rejected", 4),
    AbortedError("S1F0"),
    ConnectError("not connected", "refused", "tcp connect"),
    SelectRefusedError("not selected", "status 2", 2),
    CircuitOpenError("open", 12.5),
    LinkDownError("down", 3.0),
    OwnerUnknownError("T1: nobody", "a:1", 7.5),
    LeaseError("the store is away"),
    LeaseSetupError("the store wants a password"),
    ConnectionLostError("lost", "the peer separated"),
    RemoteProtocolError("lost", "length 9"),
    ClosedError("closed"),
]


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_every_error_is_of_exactly_one_kind(error: HsmsError) -> None:
    assert len([kind for kind in KINDS if isinstance(error, kind)]) == 1


def test_the_tree_is_the_one_promised() -> None:
    for error in (ReplyTimeoutError, RejectedError, AbortedError, StreamNineError):
        assert issubclass(error, TransactionError)
    for refused in (SelectRefusedError, CircuitOpenError):
        assert issubclass(refused, ConnectError)
    assert issubclass(RemoteProtocolError, ConnectionLostError)
    assert not issubclass(ClosedError, ConnectionLostError)
    assert issubclass(SettingsError, ValueError)
    assert issubclass(RestoreError, ValueError)


def test_errors_carry_what_a_program_decides_by() -> None:
    assert RejectedError("", 4).reason == 4
    assert StreamNineError("", 5).function == 5
    assert SelectRefusedError("", "", 3).status == 3
    assert SelectRefusedError("", "", 3).phase == "select"
    assert CircuitOpenError("", 2.5).retry_after == 2.5
    assert CircuitOpenError("", 2.5).phase == "tcp connect"
    assert LinkDownError("", 7).retry_after == 7
    assert ConnectionLostError("", "why").reason == "why"
    assert ConnectError("", "why", "select").cause == "why"


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_an_error_survives_copying_and_pickling(error: HsmsError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


@pytest.mark.parametrize(
    "cause",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        socket.gaierror(-2, "Name or service not known"),
        trio.BrokenResourceError("broken"),
        FrameLengthError(9, b"\0\0\0\x09", 100, [control_frame(5, 1)]),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_the_cause_survives_copying_and_pickling(cause: Exception) -> None:
    error = ConnectionLostError("lost", "why")
    error.__cause__ = cause
    assert copy.copy(error).__cause__ is cause
    for twin in (copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin.__cause__) is type(cause)
        assert str(twin.__cause__) == str(cause)
        assert vars(twin.__cause__) == vars(cause)


def test_a_copy_without_a_cause_hides_nothing_either() -> None:
    twin = copy.copy(ClosedError("closed"))
    assert twin.__cause__ is None
    assert not twin.__suppress_context__
