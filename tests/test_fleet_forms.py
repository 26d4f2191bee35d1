"""What stands in the streams of a fleet: it is written and read, and nothing of it is trusted."""

from __future__ import annotations

import math

import pytest
import trio

from hsms_engine import (
    AbortedError,
    ClosedError,
    ConnectionLostError,
    DefectError,
    HsmsError,
    LinkDownError,
    LocalProtocolError,
    Message,
    OwnerUnknownError,
    RejectedError,
    RemoteProtocolError,
    ReplyTimeoutError,
    SettingsError,
    StreamNineError,
    TransactionError,
    WrongLoopError,
)
from hsms_engine.fleet import FleetClient, open_fleet_client
from hsms_engine.fleet.forms import (
    Asked,
    UnreadableError,
    read_asked,
    read_outcome,
    write_asked,
    write_outcome,
)
from tests.support.shop import shop

S1F1, S2F41 = Message(1, 1, wait=True), Message(2, 41, wait=True, item="GO")


def test_it_belongs_to_a_task_of_trio() -> None:
    async def make() -> FleetClient:
        async with (
            shop(1) as floor,
            open_fleet_client(floor.store, streams=floor.streams) as client,
        ):
            with pytest.raises(OwnerUnknownError):
                await client.request("T1", S1F1)
        with pytest.raises(ClosedError, match=r"^the client of the fleet is closed"):
            await client.request("T1", S1F1)
        return client

    client = trio.run(make)
    with pytest.raises(WrongLoopError):
        client.request("T1", S1F1).send(None)


@pytest.mark.parametrize(
    "error",
    [
        TransactionError("a"),
        ReplyTimeoutError("b"),
        RejectedError("c", 3),
        AbortedError("d"),
        StreamNineError("e", 5),
        LocalProtocolError("f"),
        LinkDownError("g", 2.5),
        LinkDownError("h", math.inf),
        ConnectionLostError("i", "why"),
        RemoteProtocolError("j", "why"),
        ClosedError("k"),
        DefectError("l"),
    ],
)
def test_an_error_is_the_same_on_the_other_side(error: HsmsError) -> None:
    number, read = read_outcome(write_outcome(7, error))
    assert number == 7
    assert type(read) is type(error)
    assert str(read) == str(error)
    for name in ("reason", "function", "retry_after"):
        assert getattr(read, name, None) == getattr(error, name, None)


def test_an_error_of_another_kind_is_that_of_one_request() -> None:
    _, read = read_outcome(write_outcome(1, SettingsError("x" * 5_000)))
    assert type(read) is TransactionError
    assert len(str(read)) == 4_096
    _, read = read_outcome({b"number": b"1", b"error": b"Strange", b"text": b"t"})
    assert type(read) is TransactionError


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (b"[]", "values is no object of JSON"),
        (b"{", "values is no JSON: "),
        (b'{"reason": NaN}', "values is no JSON: NaN is no number"),
        (b'{"reason": 256}', "reason of an error is not in 0..255"),
        (b'{"reason": 1.5}', "reason of an error is not in 0..255"),
        (b"{}", "reason of an error is not in 0..255"),
    ],
)
def test_an_answer_that_is_none_is_told(values: bytes, told: str) -> None:
    given = {b"number": b"1", b"error": b"RejectedError", b"text": b"t", b"values": values}
    with pytest.raises(UnreadableError) as raised:
        read_outcome(given)
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize("value", [b'"now"', b"-1", b"1e300", b"true"])
def test_a_time_to_the_next_attempt_that_is_none_is_told(value: bytes) -> None:
    values = b'{"retry_after": ' + value + b"}"
    given = {b"number": b"1", b"error": b"LinkDownError", b"text": b"t", b"values": values}
    with pytest.raises(UnreadableError, match=r"^retry_after of an error is no time in seconds$"):
        read_outcome(given)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({b"epoch": b"0"}, "epoch is 0, not in 1..9223372036854775807"),
        ({b"epoch": b"-1"}, "epoch is b'-1', no whole number"),
        ({b"epoch": b"9" * 30}, "epoch is b'99999999999999999999', no whole number"),
        ({b"epoch": "\u0661".encode()}, "epoch is b'\\xd9\\xa1', no whole number"),
        ({b"number": b""}, "number is b'', no whole number"),
        ({b"caller": b"a.b/c"}, "caller is 'a.b/c', which is no name"),
        ({b"caller": b"x" * 5_000}, "caller has 5000 bytes, more than 4096"),
        ({b"caller": b"\xff"}, "caller is not UTF-8"),
        ({b"wait": b"0"}, "S2F41 wants no reply"),
        ({b"wait": b"2"}, "wait is 2, not in 0..1"),
        ({b"stream": b"128"}, "stream is 128, not in 0..127"),
        ({b"function": b"256"}, "function is 256, not in 0..255"),
        ({b"function": b"42"}, "S2F42 is a secondary (even function): it cannot ask for a reply"),
        ({b"session": b"65536"}, "session is 65536, not in 0..65535"),
        ({b"encoding": b"utf-16"}, "'utf-16' is no superset of ASCII"),
        ({b"within": b"86400001"}, "within is 86400001, not in 0..86400000"),
    ],
)
def test_a_request_that_is_none_is_told(change: dict[bytes, bytes], told: str) -> None:
    good = write_asked(Asked(1, "caller-x", 1, 1.5, S2F41))
    assert read_asked(good) == Asked(1, "caller-x", 1, 1.5, S2F41)
    with pytest.raises(UnreadableError) as raised:
        read_asked(good | change)
    assert told in str(raised.value)


@pytest.mark.parametrize("missing", [b"epoch", b"caller", b"number", b"within", b"body", b"wait"])
def test_a_request_without_a_field_is_told(missing: bytes) -> None:
    given = write_asked(Asked(1, "caller-x", 1, 1.5, S2F41))
    del given[missing]
    with pytest.raises(UnreadableError, match=rf"^{missing.decode()} is missing$"):
        read_asked(given)
